package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// peer is a node to be connected to: for each class a goroutine that dials, serves the connection, and dials again.
type peer struct {
	t      *Transport
	id     ring.NodeID
	cancel context.CancelFunc
	// sending is what Send uses. Foreground is stored by the goroutine that tells of PeerUp, just before.
	sending [classes]atomic.Pointer[link]
	rtt     atomic.Int64
	version [classes]atomic.Uint32 // spoken on the last connection
	kick    [classes]chan struct{} // of capacity 1: do not wait for the next attempt

	mu     sync.Mutex
	addr   string
	out    [classes]*link
	reason error // of the last loss
}

// startPeer makes a peer and its goroutines. The caller holds t.mu.
func (t *Transport) startPeer(want Peer) *peer {
	p := &peer{t: t, id: want.ID, addr: want.Addr}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(t.ctx)
	for c := range Class(classes) {
		p.kick[c] = make(chan struct{}, 1)
		t.wg.Go(func() { p.run(ctx, c) })
	}
	return p
}

func (p *peer) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// setAddr reports whether the address changed.
func (p *peer) setAddr(addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.addr != addr
	p.addr = addr
	return changed
}

// reconnect gives up the connections there are.
func (p *peer) reconnect(reason error) {
	p.mu.Lock()
	out := p.out
	p.mu.Unlock()
	for _, l := range out {
		if l != nil {
			l.fail(reason)
		}
	}
	p.wakeUp()
}

func (p *peer) wakeUp() {
	for _, k := range p.kick {
		select {
		case k <- struct{}{}:
		default:
		}
	}
}

// run keeps one connection up until ctx ends.
func (p *peer) run(ctx context.Context, class Class) {
	log := p.t.log.With().Stringer("peer", p.id).Logger()
	backoff, said := p.t.o.BackoffMin, ""
	for ctx.Err() == nil {
		conn, r, version, err := p.t.dial(ctx, p.address(), hello{role: rolePeer, expected: p.id, class: class})
		if err == nil {
			p.version[class].Store(uint32(version))
			log.Debug().Uint8("class", uint8(class)).Stringer("addr", conn.RemoteAddr()).Msg("connected to peer")
			began := time.Now()
			err = p.serve(ctx, class, conn, r)
			if time.Since(began) > p.t.o.BackoffMax {
				backoff = p.t.o.BackoffMin
			}
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrDisplaced) || errors.Is(err, ErrHeld) || errors.Is(err, ErrNoPart) {
			p.t.o.Displaced(p.id, err)
		}
		// The same trouble again and again is said once.
		if text := err.Error(); text != said {
			said = text
			log.Warn().Uint8("class", uint8(class)).Str("addr", p.address()).Err(err).Msg("no connection to peer")
		}
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2+1)):
			backoff = min(2*backoff, p.t.o.BackoffMax)
		case <-p.kick[class]:
		case <-ctx.Done():
		}
	}
}

// dial connects and shakes hands; version is what both sides speak.
func (t *Transport) dial(ctx context.Context, addr string, h hello) (_ net.Conn, _ *wire.Reader, version uint16, _ error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.HandshakeTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, 0, err // names operation and address already
	}
	if t.o.TLS != nil {
		c := t.o.TLS.Clone()
		if c.ServerName == "" {
			c.ServerName, _, _ = net.SplitHostPort(addr) // dialed just now, so it splits
		}
		conn = tls.Client(conn, c)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	r := wire.NewReader(conn, strangerLimit, strangerLimit)
	version, err = t.greet(conn, r, h)
	if !stop() {
		err = ctx.Err() // also when all went well just then: the deadline has been set, or will be
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, 0, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	return conn, r, version, nil
}

// bulkPings is how many times rarer Pings are on bulk connections, whose silence only ends them.
const bulkPings = 4

// serve uses a connection until it is lost, and returns why.
func (p *peer) serve(ctx context.Context, class Class, conn net.Conn, r *wire.Reader) error {
	l := newLink(conn, &p.t.o)
	stop := context.AfterFunc(ctx, func() { l.fail(ErrClosed) })
	defer stop()
	var lastPong, pinged atomic.Int64
	lastPong.Store(monotonic())
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(l.writer)
	wg.Go(func() { l.fail(p.readPongs(class, r, &lastPong, &pinged)) })
	p.t.addLink(l)
	defer p.t.removeLink(l)
	p.connected(class, l)
	defer p.disconnected(class, l)
	every := p.t.o.PingEvery
	if class == Bulk {
		every *= bulkPings
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		// The Ping waits behind everything that waits. When too much does, the socket is full, and progress shows that
		// the peer lives; the next tick tries again.
		first := pinged.CompareAndSwap(0, monotonic())
		if err := l.send(&wire.Message{Kind: wire.Ping, ID: seq, Epoch: p.t.o.Epoch()}); err != nil && first {
			pinged.Store(0)
		}
		p.t.Flush()
		select {
		case <-l.done:
			return l.reason()
		case <-tick.C:
		}
		heard := time.Duration(lastPong.Load())
		if at, stalled := l.stalledSince(); stalled {
			heard = max(heard, at)
		}
		if silent := time.Duration(monotonic()) - heard; silent > p.t.o.Silence {
			l.fail(fmt.Errorf("nothing heard for %v", silent.Round(time.Millisecond)))
		}
	}
}

// readPongs reads the little that comes back on a dialed connection.
func (p *peer) readPongs(class Class, r *wire.Reader, lastPong, pinged *atomic.Int64) error {
	for {
		if _, err := receiveOne(r, wire.Pong); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		now := monotonic()
		lastPong.Store(now)
		// pinged is the time of the oldest Ping without a Pong, and this is its Pong.
		if at := pinged.Swap(0); at != 0 && class == Foreground {
			p.rtt.Store(now - at)
			p.t.o.RTT(p.id, time.Duration(now-at))
		}
	}
}

// connected and disconnected note what stands. Bulk is usable at once, the foreground when PeerUp is told.
func (p *peer) connected(class Class, l *link) {
	p.mu.Lock()
	p.out[class] = l
	p.mu.Unlock()
	if class == Bulk {
		p.sending[Bulk].Store(l)
	}
	p.t.news.post(p.id)
}

func (p *peer) disconnected(class Class, l *link) {
	p.sending[class].CompareAndSwap(l, nil)
	p.mu.Lock()
	p.out[class] = nil
	if class == Foreground {
		p.reason = l.reason()
	}
	p.mu.Unlock()
	p.rtt.Store(0)
	if class == Foreground {
		p.t.news.post(p.id)
	}
}
