package rpc

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kvstore/cluster/wire"
)

const (
	// keepBuffer is the largest sending buffer a link keeps when it is idle.
	keepBuffer = 1 << 20
	// writeChunk is what the writer goroutine hands to a blocking write at once: between chunks it notes its progress.
	writeChunk = 256 << 10
	// flushRounds is how often one Flush serves others that flush the same link meanwhile before it leaves the work to the
	// writer goroutine: a turn must end.
	flushRounds = 4
)

// link is the sending half of a connection: what waits for it, and the one flush at a time that writes it.
//
// A flush owns the link from claim to release. The owner is a goroutine in Transport.Flush, or the link's writer goroutine,
// to which a flush that would block passes it by a send on work.
type link struct {
	conn        net.Conn
	raw         syscall.RawConn // nil when writes cannot be tried without blocking (TLS)
	beforeFlush func() error
	maxBytes    int
	maxMessages int

	// dirty says that something is pending, so that Flush passes by idle links without their lock.
	dirty atomic.Bool
	// moved is when bytes last left for a full socket, in nanoseconds of monotonic; 0 while the socket takes everything.
	moved atomic.Int64
	// work is sent by the owner that passes ownership to the writer goroutine; never closed.
	work chan struct{}
	// done is closed by the first fail.
	done chan struct{}

	mu             sync.Mutex
	pending        wire.Builder // since the last claim
	flying         int          // bytes claimed and not yet written
	flyingMessages int
	owned          bool
	again          bool // a flush came while the link was owned
	lost           error

	// The owner's.
	out    wire.Builder
	rest   []byte // what of out has not been written
	try    func(fd uintptr) bool
	tryErr error
}

func newLink(conn net.Conn, o *Options) *link {
	l := &link{
		conn: conn, beforeFlush: o.BeforeFlush, maxBytes: o.MaxPendingBytes, maxMessages: o.MaxPendingMessages,
		work: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.try = l.tryWrite
	if c, ok := conn.(syscall.Conn); ok && canTryWrite {
		if raw, err := c.SyscallConn(); err == nil {
			l.raw = raw
		}
	}
	return l
}

// send encodes m behind what is pending.
func (l *link) send(m *wire.Message) error {
	size := wire.Bound(m)
	if size > wire.MaxMessage {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	l.mu.Lock()
	if l.lost != nil {
		l.mu.Unlock()
		return ErrUnreachable
	}
	queued := l.pending.Len() + l.flying
	if queued > l.maxBytes || queued+size > l.maxBytes && size <= l.maxBytes ||
		l.pending.Count()+l.flyingMessages >= l.maxMessages {
		l.mu.Unlock()
		return ErrOverloaded
	}
	l.pending.AddBound(m, size)
	if m.Flags&wire.Later == 0 || m.Kind == wire.Replicate || l.pending.Count() >= maxLater {
		l.dirty.Store(true)
	}
	l.mu.Unlock()
	return nil
}

// maxLater is how many messages that may wait for others make a flush worth while. Fewer leave with the next message that
// may not wait, at the latest the next Ping.
const maxLater = 64

// claim makes the caller the owner of the link and of what is pending. False: there is nothing, or the owner will see to it.
func (l *link) claim() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owned {
		l.again = true
		return false
	}
	return l.take()
}

// take moves what is pending to the owner. The caller holds mu.
func (l *link) take() bool {
	l.again = false
	if l.pending.Count() == 0 || l.lost != nil {
		l.owned = false
		return false
	}
	l.owned = true
	l.out, l.pending = l.pending, l.out
	l.flying, l.flyingMessages = l.out.Len(), l.out.Count()
	l.dirty.Store(false)
	return true
}

// release ends the ownership of what was written. True: more was flushed meanwhile, the caller now owns that.
func (l *link) release() bool {
	l.out.Reset(keepBuffer)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying, l.flyingMessages = 0, 0
	if l.again {
		return l.take()
	}
	l.owned = false
	return false
}

// flush writes what the caller claimed as far as the socket takes it. True: more was flushed meanwhile and the caller owns it,
// to be written after another BeforeFlush.
func (l *link) flush() bool {
	l.rest = l.out.Seal()
	if l.raw != nil {
		if err := l.raw.Write(l.try); err != nil {
			l.tryErr = err
		}
		if l.tryErr != nil {
			l.fail(fmt.Errorf("write: %w", l.tryErr))
			return false
		}
		if len(l.rest) == 0 {
			return l.release()
		}
	}
	l.handOver()
	return false
}

// handOver passes ownership to the writer goroutine. Anything in out that is not in rest has been written.
func (l *link) handOver() {
	l.moved.Store(monotonic())
	l.work <- struct{}{}
}

// writer finishes what flushes could not, until the link is lost.
func (l *link) writer() {
	for {
		select {
		case <-l.work:
		case <-l.done:
			return
		}
		for {
			if len(l.rest) == 0 { // handed over before BeforeFlush
				if err := l.beforeFlush(); err != nil {
					l.fail(fmt.Errorf("commit before sending: %w", err))
					return
				}
				l.rest = l.out.Seal()
			}
			if err := l.writeRest(); err != nil {
				l.fail(fmt.Errorf("write: %w", err))
				return
			}
			if !l.release() {
				break
			}
		}
	}
}

// writeRest writes everything, waiting for the socket, and notes progress on the way.
func (l *link) writeRest() error {
	for len(l.rest) > 0 {
		n, err := l.conn.Write(l.rest[:min(len(l.rest), writeChunk)])
		if err != nil {
			return err
		}
		l.rest = l.rest[n:]
		l.moved.Store(monotonic())
	}
	l.moved.Store(0)
	return nil
}

// fail closes the connection and gives up what waits for it. Only the first reason counts.
func (l *link) fail(reason error) {
	l.mu.Lock()
	first := l.lost == nil
	if first {
		l.lost = reason
		close(l.done)
	}
	l.mu.Unlock()
	if first {
		// What closing says is of no interest: the connection is gone either way.
		_ = l.conn.Close()
	}
}

// reason returns why the link was lost.
func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// stalledSince returns when a full socket last took bytes, ok=false when the socket is not full.
func (l *link) stalledSince() (at time.Duration, ok bool) {
	ns := l.moved.Load()
	return time.Duration(ns), ns != 0
}

// isClosed tells errors of a connection that this side closed.
func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
