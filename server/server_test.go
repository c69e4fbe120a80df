package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
	"kvstore/server/command"
)

// serve starts a server on a socket and stops it with the test.
func serve(t testing.TB, f *fakeCluster, o Options) *Server {
	t.Helper()
	if o.Env == nil {
		o.Env = &command.Env{}
	}
	o.Env.Cluster = f
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return s
}

// client is a connection that fails the test instead of returning errors.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func dial(t testing.TB, s *Server) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) expect(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		c.t.Fatalf("got %q, %v; want %q", got[:n], err, want)
	}
}

func (c *client) ask(text, want string) {
	c.t.Helper()
	c.send(text)
	c.expect(want)
}

// expectClosed expects the connection to end after what is still to be read.
func (c *client) expectClosed() (rest []byte) {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		c.t.Fatal("the connection is still open")
	}
	return rest
}

// both runs a test on event loops and on the portable sockets.
func both(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("loops", func(t *testing.T) { test(t, Options{Loops: 2}) })
	t.Run("portable", func(t *testing.T) { test(t, Options{Portable: true}) })
}

func TestServeMany(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		f := newFake()
		s := serve(t, f, o)
		var wg sync.WaitGroup
		for i := range 20 {
			c := dial(t, s)
			wg.Go(func() {
				for j := range 50 {
					key, value := fmt.Sprint("k", i), fmt.Sprintf("%0*d", 1+j*20, j)
					want := "+OK\r\n" + fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
					if _, err := io.WriteString(c, cmd("SET", key, value)+cmd("GET", key)); err != nil {
						t.Error(err)
						return
					}
					got := make([]byte, len(want))
					if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
						t.Errorf("client %d: %.60q, %v", i, got, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if n := s.stats.Processed.Load(); n != 2000 {
			t.Errorf("%d commands counted", n)
		}
	})
}

// Completions come from other goroutines, in another order than the requests.
func TestParkedRequests(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		f := newFake()
		f.hold = func(*coordinator.Request) bool { return true }
		f.came = make(chan struct{}, 1000)
		s := serve(t, f, o)
		c := dial(t, s)
		c.send(cmd("SET", "a", "1") + cmd("SET", "b", "2") + cmd("NOPE") + cmd("MGET", "c", "d"))
		<-f.came
		<-f.came
		f.release(1)
		f.release(0)
		c.expect("+OK\r\n+OK\r\n-ERR unknown command 'NOPE', with args beginning with: \r\n")
		<-f.came
		<-f.came
		f.release(1)
		f.release(0)
		c.expect("*2\r\n$-1\r\n$-1\r\n")
	})
}

func TestHalfSentAndMalformed(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := serve(t, newFake(), o)
		for _, one := range []string{cmd("SET", "a", "1"), "set a 1\r\n"} {
			c := dial(t, s)
			for i := range len(one) {
				c.send(one[i : i+1])
			}
			c.expect("+OK\r\n")
			c.send(one[:len(one)-3]) // and is gone
			c.Close()
		}
		for _, bad := range []string{"*1000000000\r\n", "*3\r\n$3\r\nSET\r\n$999999999999\r\n", "*1\r\n$-5\r\n", strings.Repeat("A", 64<<10+1), "\"\r\n"} {
			c := dial(t, s)
			c.send(bad)
			if rest := c.expectClosed(); !bytes.HasPrefix(rest, []byte("-ERR Protocol error: ")) {
				t.Errorf("%.30q: %q", bad, rest)
			}
		}
	})
}

// A frame that announces much and sends little takes little memory.
func TestHugeFramesCostNothingUntilTheyCome(t *testing.T) {
	s := serve(t, newFake(), Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		dial(t, s).send("*1000000\r\n$536870912\r\nabc")
	}
	probe := dial(t, s)
	probe.ask(cmd("GET", "a"), "$-1\r\n")
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("100 announcements took %d bytes", grown)
	}
}

func TestNeverReadingClient(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := serve(t, newFake(), o)
		c := dial(t, s)
		c.ask(cmd("SET", "a", strings.Repeat("v", 100_000)), "+OK\r\n")
		many := strings.Repeat(cmd("GET", "a"), 10_000) // a gigabyte of replies
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range 20 {
				if _, err := io.WriteString(c, many); err != nil {
					return
				}
			}
		}()
		other := dial(t, s)
		largest := 0
		for range 200 {
			other.ask(cmd("GET", "none"), "$-1\r\n")
			for _, info := range s.List() {
				largest = max(largest, info.OutputBytes+info.QueryBytes)
			}
		}
		if largest > 4<<20 {
			t.Errorf("%d bytes held for a client that does not read", largest)
		}
		c.Close()
		<-sent
	})
}

// A client that reads slowly gets everything.
func TestSlowReader(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := serve(t, newFake(), o)
		c := dial(t, s)
		value := strings.Repeat("v", 100_000)
		c.ask(cmd("SET", "a", value), "+OK\r\n")
		const n = 300
		go io.WriteString(c, strings.Repeat(cmd("GET", "a"), n))
		want := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
		for range n {
			c.expect(want)
		}
		c.ask(cmd("GET", "none"), "$-1\r\n")
	})
}

func TestMaxClients(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		o.MaxClients = 2
		s := serve(t, newFake(), o)
		a, b := dial(t, s), dial(t, s)
		a.ask(cmd("GET", "a"), "$-1\r\n")
		b.ask(cmd("GET", "a"), "$-1\r\n")
		if rest := dial(t, s).expectClosed(); string(rest) != "-"+resp.ErrTextMaxClients+"\r\n" {
			t.Errorf("%q", rest)
		}
		if n := s.stats.Rejected.Load(); n != 1 {
			t.Errorf("%d rejections counted", n)
		}
	})
}

func TestIdleTimeoutAndKill(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		o.IdleTimeout = 100 * time.Millisecond
		s := serve(t, newFake(), o)
		c := dial(t, s)
		c.ask(cmd("GET", "a"), "$-1\r\n")
		c.expectClosed()
	})
	both(t, func(t *testing.T, o Options) {
		s := serve(t, newFake(), o)
		c := dial(t, s)
		c.ask(cmd("GET", "a"), "$-1\r\n")
		infos := s.List()
		if len(infos) != 1 || infos[0].Addr != c.Conn.LocalAddr().String() || !s.Kill(infos[0].ID) || s.Kill(999) {
			t.Errorf("%+v", infos)
		}
		c.expectClosed()
	})
}

func TestShutdownAnswersWhatRuns(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		f := newFake()
		f.hold = func(*coordinator.Request) bool { return true }
		f.came = make(chan struct{}, 10)
		s := serve(t, f, o)
		idle, busy := dial(t, s), dial(t, s)
		busy.send(cmd("SET", "a", "1") + cmd("SET", "b", "2"))
		<-f.came
		<-f.came
		ended := make(chan error)
		go func() { ended <- s.Shutdown(t.Context()) }()
		if rest := idle.expectClosed(); len(rest) > 0 {
			t.Errorf("the idle client got %q", rest)
		}
		if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
			t.Error("the listener is open")
		}
		f.release(0)
		f.release(0)
		if rest := busy.expectClosed(); string(rest) != "+OK\r\n+OK\r\n" {
			t.Errorf("the busy client got %q", rest)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("the second time: %v", err)
		}
	})
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		f := newFake()
		f.hold = func(*coordinator.Request) bool { return true }
		f.came = make(chan struct{}, 10)
		s := serve(t, f, o)
		c := dial(t, s)
		c.send(cmd("SET", "a", "1"))
		<-f.came
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("shutdown: %v", err)
		}
		if rest := c.expectClosed(); len(rest) > 0 {
			t.Errorf("got %q", rest)
		}
		f.release(0) // comes to a connection and a loop that are gone
	})
}

func TestStart(t *testing.T) {
	s := serve(t, newFake(), Options{})
	second, err := New(Options{Addr: s.Addr().String(), Env: &command.Env{Cluster: newFake()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an address in use: %v", err)
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown of a server that never ran: %v", err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a server without a cluster")
	}
}

func TestRepliesWaitForTheLog(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		f := newFake()
		f.uncommitted = true
		s := serve(t, f, o)
		c := dial(t, s)
		c.send(cmd("SET", "a", "1"))
		for waiting := 0; waiting == 0; runtime.Gosched() {
			f.mu.Lock()
			waiting = len(f.waiters)
			f.mu.Unlock()
		}
		if n := c.r.Buffered(); n > 0 {
			t.Errorf("%d bytes came early", n)
		}
		f.mu.Lock()
		f.uncommitted = false
		f.mu.Unlock()
		f.commit(nil)
		c.expect("+OK\r\n")
	})
}

// Thousands of idle connections hold no buffers.
func TestIdleConnectionsAreCheap(t *testing.T) {
	n := 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n = min(n, (int(limit.Cur)-200)/2) // both ends are this process's
	s := serve(t, newFake(), Options{MaxClients: n + 1})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	ping := []byte(cmd("GET", "a"))
	for _, c := range conns {
		c.Write(ping)
	}
	answer := make([]byte, 5)
	for _, c := range conns {
		if _, err := io.ReadFull(c, answer); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapInuse) - int64(before.HeapInuse)) / int64(n)
	t.Logf("%d connections, %d bytes each, the client's end included", n, each)
	if each > 6<<10 {
		t.Errorf("an idle connection takes %d bytes", each)
	}
}

func TestWorkers(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		f := newFake()
		f.came = make(chan struct{}, 100)
		f.hold = func(r *coordinator.Request) bool { return true }
		o.Workers, o.Waiting = 1, 1
		s := serve(t, f, o)
		first, second, third := dial(t, s), dial(t, s), dial(t, s)
		first.send(cmd("RENAME", "a", "b") + cmd("GET", "c"))
		<-f.came // a worker has begun it
		second.send(cmd("RENAME", "a", "b"))
		for { // until it is in the queue
			if _, blocked := s.Count(); blocked == 2 {
				break
			}
			runtime.Gosched()
		}
		third.ask(cmd("RENAME", "a", "b")+"nope\r\n", "-OVERLOADED too many requests are waiting, try again later\r\n-ERR unknown command 'nope', with args beginning with: \r\n")
		f.mu.Lock()
		f.hold = nil
		f.mu.Unlock()
		f.release(0)
		first.expect("-ERR no such key\r\n$-1\r\n")
		second.expect("-ERR no such key\r\n")
	})
}
