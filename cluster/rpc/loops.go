package rpc

import (
	"net"
)

// Loops are event loops that read connections of peers along with those of clients, so that one turn serves both. Package
// resp has them.
type Loops interface {
	// Watch has a loop read conn for s until the connection ends. conn is of no use to the caller any more, also when there is
	// an error; then s is not called.
	Watch(conn net.Conn, s Stream) error
}

// Stream is what a connection is read for. A loop calls all methods, one at a time. Open is the first, Closed the last. Open and
// Receive say whether they began a batch, and an error of theirs ends the connection. EndBatch ends the batches that this stream
// and others of the loop began; the loop may have a way of its own to do that.
type Stream interface {
	Open(c Watched) (began bool, err error)
	Receive(in []byte) (began bool, err error)
	EndBatch()
	Closed(err error)
}

// Watched is a connection as its Stream sees it. Send sends a few bytes without waiting, or is an error. Abort closes the
// connection soon; anyone may call it.
type Watched interface {
	Send(b []byte) error
	Abort()
}

// watch has the connection of a peer read by a loop, and waits for its end.
func (t *Transport) watch(in *inbound) error {
	s := &stream{t: t, in: in, ended: make(chan error, 1)}
	if err := t.o.Loops.Watch(in.conn, s); err != nil {
		return err
	}
	return <-s.ended
}

// stream is an accepted connection of a peer on an event loop.
type stream struct {
	t     *Transport
	in    *inbound
	b     batch
	ended chan error // takes one reason
}

// Open also handles what arrived right behind the handshake.
func (s *stream) Open(c Watched) (began bool, err error) {
	s.in.watched(c)
	return s.batch()
}

func (s *stream) Receive(in []byte) (began bool, err error) {
	s.in.reader.Lend(in)
	return s.batch()
}

func (s *stream) batch() (began bool, err error) {
	s.in.reads.Add(1)
	n, err := s.t.receiveBatch(s.in, &s.b, nil)
	s.in.reader.Keep()
	s.b.trim()
	return n > 0, err
}

func (s *stream) EndBatch() { s.t.o.Handler.EndBatch() }

func (s *stream) Closed(err error) {
	if err == nil {
		err = net.ErrClosed
	}
	s.ended <- err
}
