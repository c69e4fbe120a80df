package resp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// loops runs connections on gnet's event loops. Listening stays ours: gnet
// ends its whole engine when accept fails for want of file descriptors, and
// cannot stop accepting while it goes on serving.
type loops struct {
	gnet.BuiltinEventEngine
	events   Events
	patience time.Duration // Options.Stuck
	client   *gnet.Client
	byLoop   sync.Map // gnet.EventLoop to *eventLoop, added to by each loop's first connection

	// gate is held shared to wake a loop, and alone to say that there are none
	// any more: gnet would write to descriptors that it has closed.
	gate  sync.RWMutex
	ended bool // guarded by gate
}

// eventLoop is the turn of one of gnet's loops.
//
// gnet runs a loop's tasks after all sockets one epoll_wait returned, if a
// task's wake-up was among them. So the task that ends a turn is queued by the
// first socket that has work: the epoll_wait after the current batch returns
// at once with that wake-up and whatever sockets became ready meanwhile, those
// are served, and then the turn ends for all of them.
type eventLoop struct {
	turn
	loop    gnet.EventLoop
	owner   *loops
	epoll   int         // the loop's epoll descriptor
	stuck   []*loopConn // with bytes unsent
	probing bool        // a drainProbe is on its way
	wait    time.Duration
}

func newEngine(o Options, events Events) (engine, error) {
	l := &loops{events: events, patience: o.Stuck}
	client, err := gnet.NewClient(l,
		gnet.WithNumEventLoop(o.Loops),
		gnet.WithLogger(gnetLogger{o.Logger}),
		gnet.WithTCPNoDelay(gnet.TCPNoDelay))
	if err != nil {
		return nil, err
	}
	l.client = client
	return l, client.Start()
}

func (l *loops) adopt(nc net.Conn) error {
	c := &loopConn{}
	if _, err := l.client.EnrollContext(nc, c); err != nil {
		return err
	}
	return c.refused // EnrollContext waits for OnOpen
}

func (l *loops) close() error {
	l.gate.Lock()
	l.ended = true
	l.gate.Unlock()
	return l.client.Stop()
}

// OnOpen makes the session of a connection that EnrollContext brought.
func (l *loops) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	c := gc.Context().(*loopConn)
	c.gc = gc
	loop, err := l.loopOf(gc)
	if err != nil {
		c.refused = err
		return nil, gnet.Close
	}
	c.loop = loop
	c.session = l.events.Open(c)
	loop.schedule()
	return nil, gnet.None
}

// OnTraffic hands over what was read; all of it is taken.
func (l *loops) OnTraffic(gc gnet.Conn) gnet.Action {
	c := gc.Context().(*loopConn)
	in, err := gc.Next(-1)
	if err != nil || c.closed {
		return gnet.None
	}
	if c.paused { // gnet listens again once it has written what was unsent
		c.listen()
	}
	c.session.Receive(in)
	c.Touch()
	c.loop.schedule()
	return gnet.None
}

// OnClose tells the session, whoever closed.
func (l *loops) OnClose(gc gnet.Conn, err error) gnet.Action {
	c := gc.Context().(*loopConn)
	if c.session == nil || c.closed {
		return gnet.None
	}
	if c.touched && errors.Is(err, io.EOF) && c.loop.events.EndTurn() {
		// The client may have closed only its half, and gnet closes the whole
		// connection then; what was answered goes out before.
		c.session.Seal()
		c.session.Flush()
	}
	c.closed = true
	if c.reason != nil {
		err = c.reason
	}
	c.session.Closed(err)
	return gnet.None
}

// loopOf finds or makes the eventLoop of a connection's loop.
func (l *loops) loopOf(gc gnet.Conn) (*eventLoop, error) {
	if known, ok := l.byLoop.Load(gc.EventLoop()); ok {
		return known.(*eventLoop), nil
	}
	epoll, err := epollOf(gc)
	if err != nil {
		return nil, err
	}
	e := &eventLoop{loop: gc.EventLoop(), owner: l, epoll: epoll, wait: minDrainProbe}
	e.events, e.wake = l.events, e.trigger
	l.byLoop.Store(e.loop, e)
	return e, nil
}

// epollOf finds the epoll descriptor a connection is watched by. gnet does not
// offer to stop reading from a connection, without which a client that sends
// faster than it is served would fill the memory; the descriptor is what
// epoll_ctl needs for it. gnet's version is pinned and a test pauses.
func epollOf(gc gnet.Conn) (fd int, err error) {
	v := reflect.ValueOf(gc)
	for _, field := range []string{"loop", "poller"} {
		if v = reflect.Indirect(v); v.Kind() == reflect.Struct {
			v = v.FieldByName(field)
		}
	}
	if v = reflect.Indirect(v); v.Kind() == reflect.Struct {
		if v = v.FieldByName("fd"); v.CanInt() {
			return int(v.Int()), nil
		}
	}
	return 0, errors.New("find the epoll descriptor of a gnet connection: another gnet than this was written for")
}

// trigger queues Run on the loop.
func (e *eventLoop) trigger() {
	e.owner.gate.RLock()
	defer e.owner.gate.RUnlock()
	if !e.owner.ended {
		_ = e.loop.Execute(noContext(), e) // fails only when the engine has ended
	}
}

// Run ends a turn; gnet calls it on the loop.
func (e *eventLoop) Run(context.Context) error {
	e.run()
	return nil
}

// probe looks after connections with unsent bytes until there are none.
func (e *eventLoop) probe() {
	if e.probing || len(e.stuck) == 0 {
		return
	}
	e.probing = true
	time.AfterFunc(e.wait, func() { e.post((*drainProbe)(e)) })
}

// drainProbe is how a loop learns that gnet has written what a socket did not
// take at once, for which gnet has no event. It comes soon at first and slower
// while nothing moves.
type drainProbe eventLoop

func (p *drainProbe) Run() {
	e := (*eventLoop)(p)
	e.probing = false
	now := time.Now()
	before := e.stuck
	e.stuck = nil
	moved := false
	for _, c := range before {
		if c.closed {
			continue
		}
		left := c.gc.OutboundBuffered()
		switch {
		case left == 0:
			moved, c.stuck = true, false
			c.drained()
			continue
		case left < c.left:
			moved, c.moved = true, now
		case now.Sub(c.moved) > e.owner.patience, c.closing && now.Sub(c.moved) > lingerTime:
			c.reason = ErrStuck
			c.drop()
			continue
		}
		c.left = left
		e.stuck = append(e.stuck, c)
	}
	if e.wait = min(2*e.wait, maxDrainProbe); moved {
		e.wait = minDrainProbe
	}
	e.probe()
}

// loopConn is a connection on an event loop.
type loopConn struct {
	gc      gnet.Conn
	loop    *eventLoop
	session Session
	refused error // why OnOpen did not take it
	reason  error // why this side closed it, for Closed
	touched bool
	paused  bool
	closing bool // Close was called
	finish  bool // and all replies were sent or are with gnet
	closed  bool
	stuck   bool      // in loop.stuck
	left    int       // what was unsent at the last probe
	moved   time.Time // when that last shrank
}

func (c *loopConn) LocalAddr() net.Addr     { return c.gc.LocalAddr() }
func (c *loopConn) RemoteAddr() net.Addr    { return c.gc.RemoteAddr() }
func (c *loopConn) Pending() int            { return c.gc.OutboundBuffered() }
func (c *loopConn) Post(w Work)             { c.loop.post(w) }
func (c *loopConn) PostIn(b *Batch, w Work) { c.loop.postIn(b, w) }
func (c *loopConn) Abort()                  { c.loop.post((*abortWork)(c)) }

func (c *loopConn) Touch() {
	if !c.touched {
		c.touched = true
		c.loop.touched = append(c.loop.touched, c)
	}
}

func (c *loopConn) Send(b []byte) {
	if c.closed {
		return
	}
	if _, err := c.gc.Write(b); err != nil || c.closed { // gnet closed it
		return
	}
	c.left = c.gc.OutboundBuffered()
	if c.left == 0 {
		return
	}
	if c.paused {
		c.listen()
	}
	if !c.stuck {
		c.stuck, c.moved = true, time.Now()
		c.loop.stuck = append(c.loop.stuck, c)
		c.loop.wait = minDrainProbe
		c.loop.probe()
	}
}

func (c *loopConn) drained() {
	if c.finish {
		c.drop()
		return
	}
	c.session.Drained()
}

func (c *loopConn) Pause() {
	c.paused = true
	c.listen()
}

func (c *loopConn) Resume() {
	c.paused = false
	c.listen()
}

// listen tells epoll which events are wanted, with the same sets gnet uses.
func (c *loopConn) listen() {
	if c.closed {
		return
	}
	var want uint32
	if !c.paused {
		want = unix.EPOLLIN | unix.EPOLLPRI
	}
	if c.gc.OutboundBuffered() > 0 {
		want |= unix.EPOLLOUT
	}
	// It fails only for a connection about to be found closed.
	_ = unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_MOD, c.gc.Fd(), &unix.EpollEvent{Fd: int32(c.gc.Fd()), Events: want})
}

func (c *loopConn) Close() {
	c.closing = true
	c.Touch()
}

func (c *loopConn) seal() {
	c.touched = false
	if !c.closed {
		c.session.Seal()
	}
}

func (c *loopConn) flush(err error) {
	if c.closed {
		return
	}
	if err != nil {
		c.reason = fmt.Errorf("commit: %w", err)
		c.drop()
		return
	}
	c.session.Flush()
	if c.finish = c.closing && !c.touched; c.finish && !c.stuck {
		c.drop()
	}
}

// drop closes the connection now. It is called from the loop's tasks only:
// gnet goes on using a connection after OnTraffic.
func (c *loopConn) drop() {
	if !c.closed {
		_ = c.gc.EventLoop().Close(c.gc) // the error is of a socket that is gone anyway
	}
}

// abortWork drops a connection on its loop.
type abortWork loopConn

func (w *abortWork) Run() { (*loopConn)(w).drop() }

// gnetLogger passes on what gnet has to say.
type gnetLogger struct{ logger zerolog.Logger }

func (l gnetLogger) Debugf(format string, args ...any) {}
func (l gnetLogger) Infof(format string, args ...any)  {}
func (l gnetLogger) Warnf(format string, args ...any)  { l.logger.Debug().Msgf(format, args...) }
func (l gnetLogger) Errorf(format string, args ...any) { l.logger.Warn().Msgf(format, args...) }
func (l gnetLogger) Fatalf(format string, args ...any) { l.logger.Error().Msgf(format, args...) }
