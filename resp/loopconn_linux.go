package resp

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// loopConn is a client's connection on an event loop.
type loopConn struct {
	loop          *eventLoop
	fd            int
	session       Session
	local, remote net.Addr

	unsent  []byte // what the socket did not take; unsent[:sent] it has taken since
	sent    int
	wanted  uint32 // the events that epoll reports
	touched bool   // in loop.touched
	holds   bool   // in loop.holding
	held    bool   // Hold was true for the last Seal
	timed   bool   // in loop.timed
	paused  bool
	ending  bool // the client sends no more
	closing bool // Close was called
	finish  bool // and all replies were sent or are in unsent
	closed  bool
	broken  error     // why the socket takes no more
	moved   time.Time // when the time that timed is about began
	holding time.Time // since when Hold was true for each Seal
}

func (c *loopConn) descriptor() int { return c.fd }

func (c *loopConn) open() {
	c.wanted = unix.EPOLLIN
	c.session = c.loop.events.Open(c)
}

func (c *loopConn) LocalAddr() net.Addr     { return c.local }
func (c *loopConn) RemoteAddr() net.Addr    { return c.remote }
func (c *loopConn) Pending() int            { return len(c.unsent) - c.sent }
func (c *loopConn) Post(w Work)             { c.loop.post(w) }
func (c *loopConn) PostIn(b *Batch, w Work) { c.loop.postIn(b, w) }
func (c *loopConn) Abort()                  { c.loop.post((*abortWork)(c)) }

// abortWork ends a connection on its loop.
type abortWork loopConn

func (w *abortWork) Run() { (*loopConn)(w).end(nil) }

func (c *loopConn) Touch() {
	if !c.touched {
		c.touched = true
		c.loop.touched = append(c.loop.touched, c)
	}
}

func (c *loopConn) Hold() bool {
	if c.closing || c.ending {
		return false
	}
	now := time.Now()
	if c.holding.IsZero() {
		c.holding = now
		if !c.holds {
			c.holds = true
			c.loop.holding = append(c.loop.holding, c)
		}
	}
	c.held = now.Sub(c.holding) < holdTime
	return c.held
}

// ready reads and writes what can be.
func (c *loopConn) ready(events uint32) {
	if events&unix.EPOLLOUT != 0 {
		c.writable()
	}
	switch {
	case c.closed:
	case c.wanted&unix.EPOLLIN != 0 && events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		c.read()
	case events&(unix.EPOLLHUP|unix.EPOLLERR) != 0: // reported whether wanted or not
		c.end(c.trouble())
	}
}

// trouble is why a socket is of no use any more.
func (c *loopConn) trouble() error {
	if c.broken != nil {
		return c.broken
	}
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case code != 0:
		return os.NewSyscallError("read", unix.Errno(code))
	}
	return io.EOF
}

func (c *loopConn) read() {
	n, err := readNow(c.fd, c.loop.buffer[:c.loop.share])
	switch {
	case n > 0:
		c.loop.heard += n
		c.session.Receive(c.loop.buffer[:n])
		c.Touch()
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		c.end(os.NewSyscallError("read", err))
	default:
		// The client may have closed only its half, and still read.
		c.ending = true
		c.want()
		c.limit()
		c.session.Ended()
		c.Touch()
	}
}

// want tells epoll which events to report now.
func (c *loopConn) want() {
	var wanted uint32
	if !c.paused && !c.ending {
		wanted = unix.EPOLLIN
	}
	if c.Pending() > 0 {
		wanted |= unix.EPOLLOUT
	}
	if wanted != c.wanted && !c.closed {
		c.wanted = wanted
		// It cannot fail for a descriptor that is watched.
		_ = c.loop.control(unix.EPOLL_CTL_MOD, c.fd, wanted)
	}
}

func (c *loopConn) Pause() {
	c.paused = true
	c.want()
}

func (c *loopConn) Resume() {
	c.paused = false
	c.want()
}

func (c *loopConn) Send(b []byte) {
	if c.closed || c.broken != nil {
		return
	}
	if c.Pending() == 0 {
		if c.ending { // an answer is progress
			c.moved = time.Now()
		}
		if b = b[c.write(b):]; len(b) == 0 || c.broken != nil {
			return
		}
		c.limit()
	}
	c.unsent = append(c.unsent, b...)
	c.want()
}

// write returns how much of b the socket takes.
func (c *loopConn) write(b []byte) (taken int) {
	for taken < len(b) {
		n, err := writeNow(c.fd, b[taken:])
		switch {
		case n > 0:
			taken += n
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return taken
		default:
			c.broken = os.NewSyscallError("write", err)
			return taken
		}
	}
	return taken
}

// keptUnsent is how large a buffer of unsent bytes may be to be kept for more.
const keptUnsent = 64 << 10

// writable goes on sending what the socket did not take.
func (c *loopConn) writable() {
	n := c.write(c.unsent[c.sent:])
	c.loop.heard += n
	if c.broken != nil {
		c.end(c.broken)
		return
	}
	if n > 0 {
		c.sent, c.moved = c.sent+n, time.Now()
	}
	if c.Pending() > 0 {
		return
	}
	if c.unsent, c.sent = c.unsent[:0], 0; cap(c.unsent) > keptUnsent {
		c.unsent = nil
	}
	c.want()
	if c.finish {
		c.end(c.reason())
	} else {
		c.session.Drained()
	}
}

// limit begins the time after which a connection is closed if nothing moves.
func (c *loopConn) limit() {
	c.moved = time.Now()
	if !c.timed {
		c.timed = true
		c.loop.timed = append(c.loop.timed, c)
	}
}

// inTime reports whether a connection goes on having a time limit. One whose
// time is over it ends.
func (c *loopConn) inTime(now time.Time) bool {
	limit := c.loop.patience
	if c.closing || c.ending {
		limit = min(limit, lingerTime)
	}
	switch {
	case c.closed, c.Pending() == 0 && !c.ending:
		c.timed = false
	case now.Sub(c.moved) <= limit:
		return true
	case c.Pending() == 0: // a client that is gone, and asked for what takes long
		c.end(io.EOF)
	default:
		c.end(ErrStuck)
	}
	return false
}

func (c *loopConn) Close() {
	c.closing = true
	c.Touch()
}

func (c *loopConn) seal() {
	c.touched, c.held = false, false
	if !c.closed {
		c.session.Seal()
	}
	if !c.held {
		c.holding = time.Time{}
	}
}

func (c *loopConn) flush(err error) {
	if c.closed {
		return
	}
	if err != nil {
		c.end(fmt.Errorf("commit: %w", err))
		return
	}
	c.session.Flush()
	c.finish = c.closing && !c.touched
	if c.broken != nil || c.finish && c.Pending() == 0 {
		c.end(c.reason())
	}
}

// reason is what Closed is told when everything was sent, or cannot be.
func (c *loopConn) reason() error {
	if c.broken == nil && c.ending {
		return io.EOF
	}
	return c.broken
}

// end closes the connection now.
func (c *loopConn) end(err error) {
	if c.closed {
		return
	}
	c.closed = true
	c.loop.forget(c.fd)
	c.unsent = nil
	c.sent = 0
	c.session.Closed(err)
}
