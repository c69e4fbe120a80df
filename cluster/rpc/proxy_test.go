package rpc_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes TCP connections on, until it is frozen: then it keeps them open and passes nothing.
type proxy struct {
	frozen   atomic.Bool
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		here, err := p.listener.Accept()
		if err != nil {
			return
		}
		there, err := net.Dial("tcp", p.target)
		if err != nil {
			here.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, here, there)
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(here, there) })
		p.wg.Go(func() { p.pass(there, here) })
	}
}

func (p *proxy) pass(from, to net.Conn) {
	// Whichever side ends takes the other with it, unless all is frozen: then the other side is not told.
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if p.frozen.Load() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}
