package resp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// portable runs connections with two goroutines each on package net: one
// reads, one writes and does posted work. It is used for TLS and where there
// are no event loops. Each connection is a loop of its own.
type portable struct {
	events   Events
	config   *tls.Config
	patience time.Duration // Options.Stuck

	mu     sync.Mutex
	conns  map[*portableConn]struct{} // guarded by mu
	closed bool                       // guarded by mu
	wg     sync.WaitGroup
}

func newPortable(o Options, events Events) *portable {
	return &portable{events: events, config: o.TLS, patience: o.Stuck, conns: map[*portableConn]struct{}{}}
}

func (p *portable) adopt(nc net.Conn) error {
	c := &portableConn{nc: nc, patience: p.patience, signal: make(chan struct{}, 1)}
	if p.config != nil {
		c.nc = tls.Server(nc, p.config)
	}
	c.resumed.L = &c.mu
	c.turn.events, c.turn.wake = p.events, c.nudge
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nc.Close()
	}
	p.conns[c] = struct{}{}
	p.wg.Go(func() {
		c.serve()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	})
	return nil
}

func (p *portable) close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Abort()
	}
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}

// portableConn is a connection and its loop. Whoever holds mu is the loop.
type portableConn struct {
	nc       net.Conn
	patience time.Duration
	signal   chan struct{} // from nudge, to the writer; never closed

	mu       sync.Mutex
	resumed  sync.Cond
	turn     turn    // run under mu
	session  Session // used under mu
	out      []byte  // to be sent
	inFlight int     // being sent
	touched  bool
	paused   bool
	closing  bool // Close was called
	finish   bool // and all replies are in out: close when it is empty
	closed   bool
	reason   error
}

// serve reads until the connection ends.
func (c *portableConn) serve() {
	if t, ok := c.nc.(*tls.Conn); ok {
		t.SetDeadline(time.Now().Add(handshakeTime))
		if t.Handshake() != nil { // a stranger who does not speak TLS
			c.nc.Close()
			return
		}
		t.SetDeadline(time.Time{})
	}
	c.mu.Lock()
	c.session = c.turn.events.Open(c)
	c.turn.run()
	c.mu.Unlock()
	var writer sync.WaitGroup
	writer.Go(c.write)

	err := c.read()

	c.mu.Lock()
	if errors.Is(err, io.EOF) && !c.closed {
		// The client may have closed only its half, and still read.
		late := time.AfterFunc(lingerTime, c.Abort)
		c.session.Ended()
		c.Touch()
		c.turn.run()
		c.mu.Unlock()
		writer.Wait()
		late.Stop()
		c.mu.Lock()
		c.reason = err
	}
	c.nc.Close()
	c.closed = true
	if c.reason != nil {
		err = c.reason
	}
	c.session.Closed(err)
	c.mu.Unlock()
	c.nudge()
	writer.Wait()
}

func (c *portableConn) read() error {
	buffer := make([]byte, portableBuffer)
	for {
		n, err := c.nc.Read(buffer)
		if n > 0 {
			c.receive(buffer[:n])
		}
		if err != nil {
			return err
		}
	}
}

// receive is one turn.
func (c *portableConn) receive(in []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.paused && !c.closed {
		c.resumed.Wait()
	}
	if c.closed {
		return
	}
	c.session.Receive(in)
	c.Touch()
	c.turn.run()
}

// write ends turns that others began and sends what turns have left to send.
func (c *portableConn) write() {
	var spare []byte
	for range c.signal {
		c.mu.Lock()
		if c.turn.scheduled.Load() {
			c.turn.run()
		}
		for len(c.out) > 0 && !c.closed {
			batch := c.out
			c.out, c.inFlight = spare[:0], len(batch)
			c.mu.Unlock()
			err := c.send(batch)
			c.mu.Lock()
			c.inFlight = 0
			if spare = batch; cap(spare) > 8*portableBuffer {
				spare = nil
			}
			if err != nil {
				c.end(err)
			} else if len(c.out) == 0 {
				if c.session.Drained(); c.touched {
					c.turn.run()
				}
			}
		}
		done := c.closed
		if c.finish && len(c.out) == 0 {
			c.end(nil)
			done = true
		}
		c.mu.Unlock()
		if done {
			return
		}
	}
}

// send writes b in pieces, each of which must be taken in time.
func (c *portableConn) send(b []byte) error {
	for len(b) > 0 {
		piece := b[:min(len(b), 8*portableBuffer)]
		c.nc.SetWriteDeadline(time.Now().Add(c.patience))
		if _, err := c.nc.Write(piece); err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				err = ErrStuck
			}
			return err
		}
		b = b[len(piece):]
	}
	return nil
}

// end makes both goroutines finish. mu is held.
func (c *portableConn) end(reason error) {
	if c.closed {
		return
	}
	c.closed = true
	if c.reason = reason; reason == nil {
		c.reason = net.ErrClosed
	}
	c.resumed.Broadcast()
	c.nc.Close()
}

func (c *portableConn) nudge() {
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

func (c *portableConn) LocalAddr() net.Addr     { return c.nc.LocalAddr() }
func (c *portableConn) RemoteAddr() net.Addr    { return c.nc.RemoteAddr() }
func (c *portableConn) Pending() int            { return len(c.out) + c.inFlight }
func (c *portableConn) Post(w Work)             { c.turn.post(w) }
func (c *portableConn) PostIn(b *Batch, w Work) { c.turn.postIn(b, w) }
func (c *portableConn) Pause()                  { c.paused = true }

// Hold implements Conn: there is nobody to come back for what waits.
func (c *portableConn) Hold() bool { return false }

func (c *portableConn) Touch() {
	if !c.touched {
		c.touched = true
		c.turn.touched = append(c.turn.touched, c)
	}
}

func (c *portableConn) Send(b []byte) {
	if !c.closed {
		c.out = append(c.out, b...)
		c.nudge()
	}
}

func (c *portableConn) Resume() {
	c.paused = false
	c.resumed.Broadcast()
}

func (c *portableConn) Close() {
	c.closing = true
	c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
	c.Touch()
	c.nudge()
}

func (c *portableConn) Abort() {
	c.nc.Close()
	c.turn.post(abortPortable{c})
}

// abortPortable frees a reader that is paused.
type abortPortable struct{ c *portableConn }

func (w abortPortable) Run() { w.c.end(nil) }

func (c *portableConn) seal() {
	c.touched = false
	if !c.closed {
		c.session.Seal()
	}
}

func (c *portableConn) flush(err error) {
	switch {
	case c.closed:
	case err != nil:
		c.end(fmt.Errorf("commit: %w", err))
	default:
		c.session.Flush()
		c.finish = c.closing && !c.touched
		c.nudge()
	}
}
