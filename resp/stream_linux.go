package resp

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// streamConn is a connection on an event loop that is read for a Stream.
type streamConn struct {
	loop   *eventLoop
	fd     int
	stream Stream
	closed bool
}

func (c *streamConn) descriptor() int { return c.fd }

func (c *streamConn) open() {
	c.received(c.stream.Open(c))
}

// received notes what the stream made of what it got.
func (c *streamConn) received(began bool, err error) {
	if began {
		c.loop.streamed = c.stream
	}
	if err != nil {
		c.end(err)
	}
}

func (c *streamConn) ready(uint32) {
	n, err := readNow(c.fd, c.loop.buffer)
	switch {
	case n > 0:
		c.loop.heard += n
		c.received(c.stream.Receive(c.loop.buffer[:n]))
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		c.end(os.NewSyscallError("read", err))
	default:
		c.end(io.EOF)
	}
}

func (c *streamConn) Send(b []byte) error {
	for len(b) > 0 && !c.closed {
		n, err := writeNow(c.fd, b)
		switch {
		case n > 0:
			b = b[n:]
		case err == unix.EAGAIN:
			return errFull
		case err != unix.EINTR:
			return os.NewSyscallError("write", err)
		}
	}
	return nil
}

func (c *streamConn) Abort() { c.loop.post((*abortStream)(c)) }

// abortStream ends a stream on its loop.
type abortStream streamConn

func (w *abortStream) Run() { (*streamConn)(w).end(nil) }

func (c *streamConn) end(err error) {
	if c.closed {
		return
	}
	c.closed = true
	c.loop.forget(c.fd)
	c.stream.Closed(err)
}
