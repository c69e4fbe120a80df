package resp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// echo is a server that sends back what it gets, with a few words that make it
// do something else.
type echo struct {
	mu       sync.Mutex
	waiters  []func(error) // guarded by mu
	waited   chan struct{} // a token for each waiter
	full     atomic.Bool
	uncommit atomic.Bool
	turns    atomic.Int64
	watches  bool // the sockets notice the end of a connection that is not read
	sessions chan *echoSession
	ended    chan error
}

func newEcho() *echo {
	return &echo{sessions: make(chan *echoSession, 100), ended: make(chan error, 100), waited: make(chan struct{}, 100)}
}

func (e *echo) Refuse() string {
	if e.full.Load() {
		return "ERR full"
	}
	return ""
}

func (e *echo) Open(c Conn) Session {
	s := &echoSession{echo: e, conn: c, drained: make(chan struct{}, 1000)}
	e.sessions <- s
	return s
}

func (e *echo) EndTurn() bool {
	e.turns.Add(1)
	return !e.uncommit.Load()
}

func (e *echo) OnCommitted(fn func(error)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiters = append(e.waiters, fn)
	e.waited <- struct{}{}
	return false
}

func (e *echo) commit(err error) {
	e.mu.Lock()
	waiters := e.waiters
	e.waiters = nil
	e.mu.Unlock()
	for _, fn := range waiters {
		fn(err)
	}
}

type echoSession struct {
	echo     *echo
	conn     Conn
	out      []byte
	sealed   int
	waiting  bool // for the reply to "slow"
	holds    bool // "hold": its replies wait for as long as they may
	ended    bool
	drained  chan struct{}
	received atomic.Int64
}

func (s *echoSession) Receive(in []byte) {
	s.received.Add(int64(len(in)))
	switch {
	case bytes.HasPrefix(in, []byte("large")):
		s.out = append(s.out, bytes.Repeat([]byte("x"), 20<<20)...)
	case bytes.HasPrefix(in, []byte("later")):
		s.conn.Post(workFunc(func() { s.out = append(s.out, "done"...); s.conn.Touch() }))
	case bytes.HasPrefix(in, []byte("slow")):
		s.waiting = true
	case bytes.HasPrefix(in, []byte("hold")):
		s.holds = true
		s.out = append(s.out, in...)
	case bytes.HasPrefix(in, []byte("pause")):
		s.conn.Pause()
		s.out = append(s.out, "paused"...)
	default:
		s.out = append(s.out, in...)
	}
	if bytes.HasSuffix(in, []byte("quit")) {
		s.conn.Close()
	}
}

func (s *echoSession) Seal() {
	s.sealed = len(s.out)
	if s.holds && s.sealed > 0 && s.conn.Hold() {
		s.sealed = 0
	}
}

func (s *echoSession) Flush() {
	if s.sealed > 0 {
		s.conn.Send(s.out[:s.sealed])
		s.out = append(s.out[:0], s.out[s.sealed:]...)
		s.sealed = 0
	}
}

func (s *echoSession) Ended() {
	if s.ended = true; !s.waiting {
		s.conn.Close()
	}
}

// answer is the reply to "slow".
func (s *echoSession) answer() {
	s.waiting = false
	s.out = append(s.out, "at last"...)
	if s.conn.Touch(); s.ended {
		s.conn.Close()
	}
}

func (s *echoSession) Drained()         { s.drained <- struct{}{} }
func (s *echoSession) Closed(err error) { s.echo.ended <- err }

type workFunc func()

func (f workFunc) Run() { f() }

// patience is how long the tests' sockets wait for a client that reads nothing:
// longer than a client can be kept from its processor.
const patience = time.Minute

// contract runs a test against every kind of socket.
func contract(t *testing.T, test func(t *testing.T, e *echo, dial func() net.Conn)) {
	t.Helper()
	contractWithin(t, patience, test)
}

// contractWithin is contract with sockets of another patience.
func contractWithin(t *testing.T, patience time.Duration, test func(t *testing.T, e *echo, dial func() net.Conn)) {
	config := selfSigned(t)
	for name, o := range map[string]Options{
		"loops": {Loops: 1}, "two loops": {Loops: 2}, "portable": {Portable: true}, "tls": {TLS: config},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEcho()
			e.watches = !o.Portable && o.TLS == nil && runtime.GOOS == "linux"
			o.Addr, o.Stuck = "127.0.0.1:0", patience
			s, err := Listen(o, e)
			if err != nil {
				t.Fatal(err)
			}
			test(t, e, func() net.Conn {
				t.Helper()
				c, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if o.TLS != nil {
					c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				}
				c.SetDeadline(time.Now().Add(patience))
				t.Cleanup(func() { c.Close() })
				return c
			})
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func selfSigned(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// ask sends a message and expects exactly want back.
func ask(t *testing.T, c net.Conn, message, want string) {
	t.Helper()
	if _, err := io.WriteString(c, message); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q: got %q, %v", message, got, err)
	}
}

// over expects that the other side has closed.
func over(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Fatalf("the connection is open: read %d bytes", n)
	} else if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Fatal("the connection is still open")
	}
}

func TestEcho(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		a, b := dial(), dial()
		ask(t, a, "one", "one")
		ask(t, b, "two", "two")
		ask(t, a, "later", "done")
		ask(t, b, strings.Repeat("y", 100_000), strings.Repeat("y", 100_000))
		a.Close()
		if err := <-e.ended; err == nil {
			t.Error("a client's close came without a reason")
		}
		if e.turns.Load() == 0 {
			t.Error("no turn was ended")
		}
	})
}

func TestWhatIsHeldLeavesBeforeLong(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		a, b := dial(), dial()
		for range 5 {
			ask(t, a, "hold one", "hold one")
			ask(t, b, "hold two", "hold two")
		}
		io.WriteString(b, "hold for nobody")
		b.Close()
		<-e.ended
		ask(t, a, "three", "three")
	})
}

func TestCloseSendsEverything(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		ask(t, c, "large quit", strings.Repeat("x", 20<<20))
		over(t, c)
		<-e.ended
	})
}

func TestDrained(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		io.WriteString(c, "large")
		s := <-e.sessions
		got, err := io.ReadAll(io.LimitReader(c, 20<<20))
		if err != nil || len(got) != 20<<20 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		<-s.drained
		ask(t, c, "on", "on")
	})
}

func TestPauseStopsReading(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		ask(t, c, "pause", "paused")
		s := <-e.sessions
		// More than the sockets' buffers and one read can hold.
		const much = 64 << 20
		sent := make(chan int)
		go func() {
			n, _ := c.Write(make([]byte, much))
			sent <- n
		}()
		other := dial()
		for range 50 { // the server works and does not read from c
			ask(t, other, "other", "other")
		}
		if n := s.received.Load(); n > 1<<20 {
			t.Errorf("%d bytes received while paused", n)
		}
		s.conn.Abort()
		if n := <-sent; n == much {
			t.Error("everything was taken from a connection that is not read")
		}
		<-e.ended
	})
}

func TestResume(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		ask(t, c, "pause", "paused")
		s := <-e.sessions
		s.conn.Post(workFunc(s.conn.Resume))
		ask(t, c, "again", "again")
	})
}

func TestRepliesWaitForTheCommit(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		ask(t, c, "before", "before")
		e.uncommit.Store(true)
		io.WriteString(c, "x")
		<-e.waited
		s := <-e.sessions
		flushed := make(chan bool)
		s.conn.Post(workFunc(func() { flushed <- s.sealed == 0 }))
		if <-flushed {
			t.Fatal("a reply left before the commit")
		}
		e.commit(nil)
		ask(t, c, "", "x")
		io.WriteString(c, "y")
		<-e.waited
		e.commit(errors.New("disk gone"))
		over(t, c)
		if err := <-e.ended; err == nil || !strings.Contains(err.Error(), "disk gone") {
			t.Errorf("closed because of %v", err)
		}
	})
}

func TestHalfClosedClientIsAnswered(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		io.WriteString(c, "last words")
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != "last words" {
			t.Errorf("%q, %v", got, err)
		}
		<-e.ended
	})
}

func TestHalfClosedClientIsAnsweredLater(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		io.WriteString(c, "slow")
		s := <-e.sessions
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		other := dial()
		for range 10 {
			ask(t, other, "other", "other")
		}
		s.conn.Post(workFunc(s.answer))
		if got, err := io.ReadAll(c); err != nil || string(got) != "at last" {
			t.Errorf("%q, %v", got, err)
		}
		if err := <-e.ended; !errors.Is(err, io.EOF) {
			t.Errorf("closed because of %v", err)
		}
	})
}

func TestClientThatBreaksOffIsClosed(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		for _, message := range []string{"hello", "pause", "large"} {
			c := dial()
			io.WriteString(c, message)
			s := <-e.sessions
			for s.received.Load() == 0 {
				runtime.Gosched()
			}
			if tc, ok := c.(*tls.Conn); ok {
				c = tc.NetConn()
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			if message == "pause" && !e.watches {
				s.conn.Abort() // nobody looks at a connection that is not read
			}
			if err := <-e.ended; err == nil {
				t.Errorf("%s: a client's end came without a reason", message)
			}
		}
	})
}

func TestRefusal(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		e.full.Store(true)
		c := dial()
		if tc, ok := c.(*tls.Conn); ok {
			c = tc.NetConn() // the refusal is not worth a handshake
		}
		if got, _ := io.ReadAll(c); string(got) != "-ERR full\r\n" {
			t.Errorf("%q", got)
		}
		e.full.Store(false)
		ask(t, dial(), "in", "in")
	})
}

func TestPostAfterClose(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		ask(t, c, "one quit", "one quit")
		over(t, c)
		<-e.ended
		s := <-e.sessions
		for range 100 {
			s.conn.Post(workFunc(func() { s.conn.Touch() }))
			s.conn.Abort()
		}
	})
}

func TestPostsShareWakeUps(t *testing.T) {
	contract(t, func(t *testing.T, e *echo, dial func() net.Conn) {
		c := dial()
		ask(t, c, "one", "one")
		s := <-e.sessions
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 250 {
					s.conn.Post(workFunc(func() { s.out = append(s.out, '.'); s.conn.Touch() }))
				}
			})
		}
		wg.Wait()
		ask(t, c, "", strings.Repeat(".", 1000))
	})
}

func TestStuckClientIsClosed(t *testing.T) {
	contractWithin(t, 300*time.Millisecond, func(t *testing.T, e *echo, dial func() net.Conn) {
		io.WriteString(dial(), "large")
		if err := <-e.ended; !errors.Is(err, ErrStuck) {
			t.Errorf("closed because of %v", err)
		}
	})
}

func TestAddressInUse(t *testing.T) {
	first, err := Listen(Options{Addr: "127.0.0.1:0"}, newEcho())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := Listen(Options{Addr: first.Addr().String()}, newEcho()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listen twice: %v", err)
	}
}
