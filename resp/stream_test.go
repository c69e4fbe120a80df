package resp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// echoStream is a peer that sends back what it gets, in a turn's batch.
type echoStream struct {
	conn  Watched
	ended chan error
	// batches counts turns, which the stream's own EndBatch ends.
	batches atomic.Int64
}

func (s *echoStream) Open(c Watched) (bool, error) {
	s.conn = c
	return true, c.Send([]byte("welcome "))
}

func (s *echoStream) Receive(in []byte) (bool, error) {
	switch {
	case bytes.Equal(in, []byte("bad")):
		return false, errors.New("bad words")
	case bytes.Equal(in, []byte("flood")):
		for {
			if err := s.conn.Send(make([]byte, 1<<20)); err != nil {
				return false, err
			}
		}
	}
	return true, s.conn.Send(in)
}

func (s *echoStream) EndBatch()        { s.batches.Add(1) }
func (s *echoStream) Closed(err error) { s.ended <- err }

// watched is both ends of a connection that loops read for a stream.
func watched(t *testing.T, l *Loops) (*echoStream, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := &echoStream{ended: make(chan error, 1)}
	if err := l.Watch(accepted, s); err != nil {
		t.Fatal(err)
	}
	ask(t, c, "", "welcome ")
	return s, c
}

// someLoops returns loops for a test, nil where there are none.
func someLoops(t *testing.T) *Loops {
	l, err := NewLoops(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestStreams(t *testing.T) {
	l := someLoops(t)
	if l == nil {
		return
	}
	for name, c := range map[string]struct {
		end  func(s *echoStream, c net.Conn)
		want string
	}{
		"the other side closes":    {func(_ *echoStream, c net.Conn) { c.Close() }, io.EOF.Error()},
		"the stream objects":       {func(_ *echoStream, c net.Conn) { io.WriteString(c, "bad") }, "bad words"},
		"the socket takes no more": {func(_ *echoStream, c net.Conn) { io.WriteString(c, "flood") }, errFull.Error()},
		"abort":                    {func(s *echoStream, _ net.Conn) { s.conn.Abort(); s.conn.Abort() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, conn := watched(t, l)
			ask(t, conn, "hello", "hello")
			ask(t, conn, strings.Repeat("z", 100_000), strings.Repeat("z", 100_000))
			c.end(s, conn)
			err := <-s.ended
			if err == nil && c.want != "" || err != nil && err.Error() != c.want {
				t.Errorf("ended with %v", err)
			}
			if s.batches.Load() == 0 {
				t.Error("no batch was ended")
			}
		})
	}
}

// TestClientsAndStreamsShareLoops: turns are the server's while there is one,
// and streams outlive it.
func TestClientsAndStreamsShareLoops(t *testing.T) {
	l := someLoops(t)
	if l == nil {
		return
	}
	s, peer := watched(t, l)
	for range 2 {
		e := newEcho()
		sockets, err := Listen(Options{Addr: "127.0.0.1:0", On: l}, e)
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", sockets.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ask(t, client, "one", "one")
		turns := e.turns.Load()
		ask(t, peer, "two", "two")
		// The peer may have its answer before the turn ends, and what the client asks meanwhile would be of that turn.
		for end := time.Now().Add(30 * time.Second); e.turns.Load() == turns; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a stream's turn was not the server's")
			}
		}
		ask(t, client, "later", "done")
		if err := sockets.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-e.ended; err != nil {
			t.Errorf("the client's connection ended with %v", err)
		}
		over(t, client)
		ask(t, peer, "three", "three")
	}
	l.Close()
	if err := <-s.ended; err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	over(t, peer)
	if s.batches.Load() == 0 {
		t.Error("no batch was the stream's")
	}
}
