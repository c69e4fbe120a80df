package resp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Loops are event loops that connections of different owners share: those that
// Listen accepts, when Options.On names the loops, and those given to Watch. So
// one turn serves all of them.
type Loops struct {
	all  []*eventLoop
	next atomic.Uint32 // whose turn it is to get a connection
	wg   sync.WaitGroup
}

// NewLoops starts n event loops, one per two processors if n is 0. Where this
// system has none it returns nil.
func NewLoops(n int) (*Loops, error) {
	l := &Loops{}
	for range loopsFor(n) {
		e, err := newEventLoop()
		if err != nil {
			for _, made := range l.all {
				made.free()
			}
			return nil, fmt.Errorf("make an event loop: %w", err)
		}
		l.all = append(l.all, e)
	}
	for _, e := range l.all {
		l.wg.Go(e.serve)
	}
	return l, nil
}

// Close ends the loops and what is left on them. l may be nil.
func (l *Loops) Close() {
	if l == nil {
		return
	}
	for _, e := range l.all {
		e.post((*endLoop)(e))
	}
	l.wg.Wait()
}

// pick returns the loop for the next connection.
func (l *Loops) pick() *eventLoop { return l.all[l.next.Add(1)%uint32(len(l.all))] }

// Watch lets a loop read from a connection. nc is of no use to the caller any
// more, also when there is an error. Streams of a loop that have received in
// the same turn share an EndBatch, which is that of any of them; it is not
// called when the loop has clients too, whose Events.EndTurn then has to do.
func (l *Loops) Watch(nc net.Conn, s Stream) error {
	c := &streamConn{loop: l.pick(), stream: s}
	var err error
	if c.fd, err = descriptorOf(nc); err != nil {
		return err
	}
	return c.loop.take(c)
}

// loopEngine runs clients' connections on loops.
type loopEngine struct {
	*Loops
	events   Events
	patience time.Duration // Options.Stuck
	own      bool          // nobody else uses the loops
}

func newEngine(o Options, events Events) (engine, error) {
	l := &loopEngine{Loops: o.On, events: events, patience: o.Stuck}
	if l.Loops == nil {
		var err error
		if l.Loops, err = NewLoops(o.Loops); err != nil {
			return nil, err
		}
		l.own = true
	}
	l.each(func(e *eventLoop) { e.events, e.patience = l.events, l.patience })
	return l, nil
}

// each runs fn on every loop and waits until it has run.
func (l *loopEngine) each(fn func(e *eventLoop)) {
	for _, e := range l.all {
		w := &onLoop{run: func() { fn(e) }, done: make(chan struct{})}
		e.post(w)
		select {
		case <-w.done:
		case <-e.done:
		}
	}
}

// onLoop is something done on a loop while somebody waits for it.
type onLoop struct {
	run  func()
	done chan struct{} // closed by Run
}

func (w *onLoop) Run() {
	w.run()
	close(w.done)
}

func (l *loopEngine) adopt(nc net.Conn) error {
	c := &loopConn{loop: l.pick(), local: nc.LocalAddr(), remote: nc.RemoteAddr()}
	var err error
	if c.fd, err = descriptorOf(nc); err != nil {
		return err
	}
	return c.loop.take(c)
}

func (l *loopEngine) close() error {
	if l.own {
		l.Close()
		return nil
	}
	l.each(func(e *eventLoop) {
		for _, s := range e.sockets {
			if c, ok := s.(*loopConn); ok {
				c.end(nil)
			}
		}
		e.events = nil
	})
	return nil
}

// descriptorOf takes a socket away from package net, whose poller would be
// woken by all that arrives on it.
func descriptorOf(nc net.Conn) (fd int, err error) {
	defer nc.Close() // its descriptor; the socket lives on in the copy
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("a connection without a descriptor: %T", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = errors.Join(raw.Control(func(of uintptr) {
		fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0)
	}), os.NewSyscallError("dup", err))
	return fd, err
}
