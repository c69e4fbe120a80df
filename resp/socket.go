package resp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"time"

	"github.com/rs/zerolog"
)

// Session is the server's side of one connection. Its loop calls all methods,
// one at a time; Closed is the last.
type Session interface {
	// Receive is given what was read. in is valid during the call.
	Receive(in []byte)
	// Seal ends a turn: replies appended until now belong to it.
	Seal()
	// Flush hands the sealed replies to Conn.Send.
	Flush()
	// Drained tells that what Send could not send at once is sent. Unlike after
	// Receive, the session calls Touch itself if that makes it go on.
	Drained()
	// Ended tells that the client sends no more, though it may still read: the
	// session calls Conn.Close once all that was asked is answered.
	Ended()
	// Closed tells that the connection is gone. err is nil if this side closed
	// it, and io.EOF if the client ended it.
	Closed(err error)
}

// Events is the server as its sockets see it.
type Events interface {
	// Refuse is asked before a connection is taken. A text that is not empty
	// is sent instead, and the connection closed. The acceptor calls it.
	Refuse() (text string)
	// Open makes the session of a connection, on its loop.
	Open(c Conn) Session
	// EndTurn commits and sends what a turn produced for the log and for other
	// nodes, and reports whether replies may leave; otherwise OnCommitted calls
	// fn when they may, or returns true if that is so already.
	EndTurn() (committed bool)
	OnCommitted(fn func(error)) (committed bool)
}

// Work is something to be done on a connection's loop.
type Work interface{ Run() }

// Conn is one connection. Except where noted its methods are for its session.
type Conn interface {
	// Touch asks for Seal and Flush at the end of this turn.
	Touch()
	// Hold is for Seal: it reports whether what is not sealed now may wait for what
	// belongs to it. If so, Seal is called again within holdTime, and then it may not.
	Hold() bool
	// Send sends b, which it does not keep. What the socket does not take is
	// buffered; Drained follows when it has gone.
	Send(b []byte)
	// Pending is the number of bytes so buffered.
	Pending() int
	// Pause stops reading, Resume goes on. Up to one read may still arrive.
	Pause()
	Resume()
	// Close closes the connection at the end of a turn once everything is
	// sent, or after some seconds if the client does not read it.
	Close()
	// Abort closes the connection soon, whatever is unsent. Anyone may call it.
	Abort()
	// Post has w run on the connection's loop, in order with other work posted
	// to it, and a turn ended after it. Anyone may call it, also after the
	// connection has closed. Work posted while a loop is busy costs no wake-up.
	Post(w Work)
	// PostIn is Post that leaves the waking of the loop to b's End.
	PostIn(b *Batch, w Work)
	// LocalAddr and RemoteAddr are for anyone.
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// Options of Listen.
type Options struct {
	Addr     string      // host:port, port 0 for any
	TLS      *tls.Config // nil for plain TCP
	Portable bool        // a goroutine per connection even where event loops exist
	Loops    int         // event loops; default: one per two processors
	On       *Loops      // event loops to use, which are not closed; nil: own ones
	// Stuck is how long a client may leave replies unread without taking a
	// single byte before its connection is closed; default StuckTime.
	Stuck  time.Duration
	Logger zerolog.Logger
}

// Times that bound how long a peer may keep a connection in a state.
const (
	keepAlive      = 300 * time.Second // as Redis: tcp-keepalive
	lingerTime     = 5 * time.Second   // for the last bytes to or from a connection that ends
	handshakeTime  = 10 * time.Second
	refuseTime     = 100 * time.Millisecond
	acceptPause    = 20 * time.Millisecond // while the process has no descriptors left
	portableBuffer = 8 << 10
	// holdTime is how long replies wait for others to the same packet: longer than
	// an answer of another node takes, and little for a client.
	holdTime = time.Millisecond
)

// StuckTime is the default of Options.Stuck: Redis's client-output-buffer-limit
// is as patient.
const StuckTime = 60 * time.Second

// ErrStuck is the reason given to Closed when a client took nothing for so long.
var ErrStuck = errors.New("the client does not read its replies")

// noContext is for calls that want a context where there is nothing to wait for.
func noContext() context.Context { return context.Background() }

// Sockets are a listener and the connections accepted by it.
type Sockets struct {
	listener net.Listener
	events   Events
	logger   zerolog.Logger
	engine   engine
	accepted chan struct{} // closed by the acceptor when it ends
}

// engine runs connections.
type engine interface {
	// adopt makes nc one of the engine's connections, or closes it.
	adopt(nc net.Conn) error
	// close ends all connections and waits for the engine's goroutines.
	close() error
}

// Listen opens the listener and begins to accept.
func Listen(o Options, events Events) (*Sockets, error) {
	config := net.ListenConfig{KeepAlive: keepAlive}
	listener, err := config.Listen(noContext(), "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	if o.Stuck <= 0 {
		o.Stuck = StuckTime
	}
	s := &Sockets{listener: listener, events: events, logger: o.Logger, accepted: make(chan struct{})}
	if o.TLS != nil || o.Portable {
		s.engine = newPortable(o, events)
	} else if s.engine, err = newEngine(o, events); err != nil {
		listener.Close()
		return nil, err
	}
	go func() {
		defer close(s.accepted)
		s.accept()
	}()
	return s, nil
}

// loopsFor returns how many event loops there are to be, of which n were asked for.
func loopsFor(n int) int {
	if n > 0 {
		return n
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

// Addr is where the listener listens.
func (s *Sockets) Addr() net.Addr { return s.listener.Addr() }

// StopAccepting closes the listener; connections go on.
func (s *Sockets) StopAccepting() {
	s.listener.Close()
	<-s.accepted
}

// Close closes the listener and every connection and waits until all is over.
func (s *Sockets) Close() error {
	s.StopAccepting()
	return s.engine.close()
}

// accept takes connections until the listener is closed. Running out of file
// descriptors is a state that passes: it waits and goes on.
func (s *Sockets) accept() {
	starved := false
	for {
		nc, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if !starved {
				s.logger.Warn().Err(err).Msg("cannot accept connections")
			}
			starved = true
			time.Sleep(acceptPause)
			continue
		}
		starved = false
		if text := s.events.Refuse(); text != "" {
			refuse(nc, text)
			continue
		}
		if err := s.engine.adopt(nc); err != nil {
			s.logger.Warn().Err(err).Stringer("client", nc.RemoteAddr()).Msg("cannot take connection")
		}
	}
}

// refuse sends text to a stranger, who must take it at once.
func refuse(nc net.Conn, text string) {
	nc.SetWriteDeadline(time.Now().Add(refuseTime))
	nc.Write([]byte("-" + text + "\r\n"))
	nc.Close()
}
