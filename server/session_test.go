package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
	"kvstore/server/command"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// pipe is a connection without a socket, whose loop is whoever calls turn.
type pipe struct {
	session resp.Session
	posted  chan resp.Work
	sent    []byte
	pending int // what the client has not taken
	closing bool
	aborted bool
	paused  bool
}

func (p *pipe) Touch()                            {}
func (p *pipe) Hold() bool                        { return false }
func (p *pipe) Send(b []byte)                     { p.sent = append(p.sent, b...) }
func (p *pipe) Pending() int                      { return p.pending }
func (p *pipe) Pause()                            { p.paused = true }
func (p *pipe) Resume()                           { p.paused = false }
func (p *pipe) Close()                            { p.closing = true }
func (p *pipe) Abort()                            { p.aborted = true }
func (p *pipe) PostIn(_ *resp.Batch, w resp.Work) { p.Post(w) }

func (p *pipe) Post(w resp.Work)     { p.posted <- w }
func (p *pipe) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (p *pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }

// turn runs what was posted and ends the turn.
func (p *pipe) turn() {
	for {
		select {
		case w := <-p.posted:
			w.Run()
			continue
		default:
		}
		break
	}
	p.session.Seal()
	p.session.Flush()
}

// send is a turn in which the client sends in. It returns what the client got.
func (p *pipe) send(in string) string {
	p.session.Receive([]byte(in))
	return p.take()
}

// take is a turn in which the client sends nothing.
func (p *pipe) take() string {
	p.turn()
	p.turn() // Flush may have posted
	out := string(p.sent)
	p.sent = p.sent[:0]
	return out
}

// open makes a server without sockets and one connection to it.
func open(t testing.TB, f *fakeCluster, o Options, extra ...*command.Command) (*Server, *pipe) {
	t.Helper()
	if o.Env == nil {
		o.Env = &command.Env{}
	}
	o.Env.Cluster = f
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.begin()
	t.Cleanup(func() {
		s.stop()
		s.workers.close()
		s.keeper.Wait()
	})
	return s, connect(s)
}

func connect(s *Server) *pipe {
	p := &pipe{posted: make(chan resp.Work, 1<<16)}
	p.session = s.Open(p)
	return p
}

func cmd(args ...string) string {
	out := redcon.AppendArray(nil, len(args))
	for _, a := range args {
		out = redcon.AppendBulkString(out, a)
	}
	return string(out)
}

func TestConversation(t *testing.T) {
	_, p := open(t, newFake(), Options{})
	for _, c := range []struct{ in, want string }{
		{cmd("SET", "a", "1"), "+OK\r\n"},
		{cmd("get", "a"), "$1\r\n1\r\n"},
		{cmd("GET", "none"), "$-1\r\n"},
		{"set b \"x y\"\r\nGET b\r\n", "+OK\r\n$3\r\nx y\r\n"},
		{cmd("MSET", "c", "3", "d", "4") + cmd("MGET", "c", "d", "none"), "+OK\r\n*3\r\n$1\r\n3\r\n$1\r\n4\r\n$-1\r\n"},
		{cmd("DEL", "c", "none"), ":1\r\n"},
		{cmd("foo", "a", "b"), "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n"},
		{cmd("GET"), "-ERR wrong number of arguments for 'get' command\r\n"},
		{cmd("COMMAND", "COUNT")[:14], ""},
		{cmd("COMMAND", "NOPE")[14:], "-ERR unknown subcommand 'NOPE'. Try COMMAND HELP.\r\n"},
		{"\r\n\r\n*0\r\n", ""},
	} {
		if got := p.send(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	if p.closing || p.aborted {
		t.Error("the connection was closed")
	}
}

func TestProtocolErrorsEndTheConnection(t *testing.T) {
	for in, want := range map[string]string{
		"*x\r\n":                         "-ERR Protocol error: invalid multibulk length\r\n",
		cmd("SET", "a", "1") + "*1\r\nx": "+OK\r\n-ERR Protocol error: expected '$', got 'x'\r\n",
		"get \"a\r\n" + cmd("GET", "a"):  "-ERR Protocol error: unbalanced quotes in request\r\n",
	} {
		_, p := open(t, newFake(), Options{})
		if got := p.send(in); got != want || !p.closing {
			t.Errorf("%q: %q, closing %v", in, got, p.closing)
		}
		if got := p.send(cmd("GET", "a")); got != "" {
			t.Errorf("%q: a dead connection answered %q", in, got)
		}
	}
}

func TestStrangers(t *testing.T) {
	password := "secret"
	env := &command.Env{Password: func() string { return password }}
	_, p := open(t, newFake(), Options{Env: env})
	if got := p.send(cmd("GET", "a")); got != "-NOAUTH Authentication required.\r\n" {
		t.Errorf("GET before AUTH: %q", got)
	}
	if got := p.send("*1000000000\r\n"); got != "-ERR Protocol error: unauthenticated multibulk length\r\n" || !p.closing {
		t.Errorf("endless frame before AUTH: %q", got)
	}
	_, p = open(t, newFake(), Options{Env: env})
	large := cmd("SET", "a", strings.Repeat("v", 20_000)) + cmd("GET", "b")
	if got := p.send(cmd("AUTH", "wrong") + cmd("AUTH", "secret") + large); got != "-WRONGPASS invalid username-password pair or user is disabled.\r\n+OK\r\n+OK\r\n$-1\r\n" {
		t.Errorf("AUTH: %q", got)
	}
	_, p = open(t, newFake(), Options{Env: env})
	if got := p.send(large); got != "-ERR Protocol error: unauthenticated bulk length\r\n" {
		t.Errorf("a large value before AUTH: %q", got)
	}
}

func TestReplyModes(t *testing.T) {
	f := newFake()
	hold := false
	f.hold = func(*coordinator.Request) bool { return hold }
	_, p := open(t, f, Options{})
	reply := func(mode string) string { return cmd("CLIENT", "REPLY", mode) }
	get := cmd("GET", "a")
	for _, c := range []struct{ in, want string }{
		{reply("SKIP") + get + get, "$-1\r\n"},
		{reply("SKIP") + cmd("NOPE") + get, "$-1\r\n"},
		{reply("SKIP") + cmd("MGET", "a", "b") + get, "$-1\r\n"},
		{reply("SKIP") + cmd("PING") + get, "$-1\r\n"},
		{reply("SKIP") + reply("SKIP") + get + get, "$-1\r\n"},
		{reply("OFF") + get + cmd("PING") + cmd("NOPE"), ""},
		{reply("OFF") + get + reply("ON") + get, "+OK\r\n$-1\r\n"},
	} {
		for _, hold = range []bool{false, true} {
			got := p.send(c.in)
			for f.waitingRequests() > 0 {
				f.release(0)
				got += p.take()
			}
			if got != c.want {
				t.Errorf("hold %v %q: %q, want %q", hold, c.in, got, c.want)
			}
		}
	}
}

func TestLocalCommandsBehindParkedOnes(t *testing.T) {
	f := newFake()
	f.hold = func(*coordinator.Request) bool { return true }
	_, p := open(t, f, Options{})
	if got := p.send(cmd("SET", "a", "1") + cmd("PING") + cmd("SELECT", "3") + cmd("SET", "a", "2") + cmd("QUIT") + cmd("PING")); got != "" {
		t.Errorf("answered %q before the first command is", got)
	}
	f.release(1)
	if got := p.take(); got != "" || p.closing {
		t.Errorf("answered %q out of order", got)
	}
	f.release(0)
	if got := p.take(); got != "+OK\r\n+PONG\r\n+OK\r\n+OK\r\n+OK\r\n" || !p.closing {
		t.Errorf("got %q, closing %v", got, p.closing)
	}
	if string(*f.data["\x00a"]) != "1" || string(*f.data["\x03a"]) != "2" {
		t.Error("SELECT did not take effect where it stood")
	}
}

func TestQuorumCall(t *testing.T) {
	f := newFake()
	var levels []coordinator.Levels
	f.hold = func(r *coordinator.Request) bool { levels = append(levels, r.Levels); return false }
	_, p := open(t, f, Options{})
	if got := p.send(cmd("QUORUM", "CALL", "all", "-", "GET", "a") + cmd("GET", "a") + cmd("QUORUM", "CALL", "-", "two", "MSET", "a", "1")); got != "$-1\r\n$-1\r\n+OK\r\n" {
		t.Errorf("%q", got)
	}
	if len(levels) != 3 || levels[0].R != coordinator.All || levels[1].R != 0 || levels[2].W != coordinator.Two {
		t.Errorf("levels %v", levels)
	}
	if got := p.send(cmd("QUORUM", "CALL", "many", "-", "GET", "a")); !strings.HasPrefix(got, "-ERR") || strings.Count(got, "\r\n") != 1 {
		t.Errorf("a bad level: %q", got)
	}
}

// Commands complete in a random order, on another goroutine's behalf; replies
// come in order, and every reply is what a client alone with the database,
// sending one command after the other, would have got.
func TestPipelineModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		f := newFake()
		f.hold = func(*coordinator.Request) bool { return r.IntN(3) > 0 }
		_, p := open(t, f, Options{MaxParked: 1 + r.IntN(40)})
		var in, want strings.Builder
		model := map[string]string{}
		for i := range 200 {
			key := fmt.Sprint("k", r.IntN(8))
			switch r.IntN(8) {
			case 0, 1, 2:
				model[key] = fmt.Sprint(i)
				in.WriteString(cmd("SET", key, model[key]))
				want.WriteString("+OK\r\n")
			case 3, 4, 5:
				in.WriteString(cmd("GET", key))
				want.Write(bulk(model, key))
			case 6:
				other := fmt.Sprint("k", r.IntN(8))
				in.WriteString(cmd("MGET", key, other))
				want.WriteString("*2\r\n" + string(bulk(model, key)) + string(bulk(model, other)))
			case 7:
				in.WriteString(cmd("NOSUCH"))
				want.WriteString("-ERR unknown command 'NOSUCH', with args beginning with: \r\n")
			}
		}
		var got strings.Builder
		for rest := in.String(); len(rest) > 0 || f.waitingRequests() > 0; {
			if n := min(len(rest), r.IntN(300)); n > 0 {
				got.WriteString(p.send(rest[:n]))
				rest = rest[n:]
			}
			for range r.IntN(4) {
				if n := f.waitingRequests(); n > 0 {
					f.release(pickInOrder(r, f))
				}
			}
			got.WriteString(p.take())
		}
		if got.String() != want.String() {
			t.Fatalf("seed %d:\n got %q\nwant %q", seed, got.String(), want.String())
		}
	}
}

// pickInOrder picks a held request that is the oldest of its key: between
// nodes, requests for one key keep their order.
func pickInOrder(r *rand.Rand, f *fakeCluster) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := r.IntN(len(f.held))
	for j, h := range f.held[:i] {
		if bytes.Equal(h.Key, f.held[i].Key) {
			return j
		}
	}
	return i
}

func bulk(model map[string]string, key string) []byte {
	if v, ok := model[key]; ok {
		return redcon.AppendBulkString(nil, v)
	}
	return redcon.AppendNull(nil)
}

func TestClosedWhileParked(t *testing.T) {
	f := newFake()
	f.hold = func(*coordinator.Request) bool { return true }
	s, p := open(t, f, Options{})
	p.send(cmd("SET", "a", "1") + cmd("MGET", "b", "c"))
	p.session.Closed(nil)
	for f.waitingRequests() > 0 {
		f.release(0)
	}
	for len(p.posted) > 0 {
		(<-p.posted).Run()
	}
	if n, _ := s.Count(); n != 0 || len(p.sent) > 0 {
		t.Errorf("%d clients, sent %q", n, p.sent)
	}
}

// TestEndedWhileParked: what a client has asked before it ended its half is
// answered, also what waits behind a parked command; then the connection closes.
func TestEndedWhileParked(t *testing.T) {
	f := newFake()
	f.hold = func(*coordinator.Request) bool { return true }
	_, p := open(t, f, Options{MaxParked: 1})
	if got := p.send(cmd("SET", "a", "1") + cmd("GET", "a") + "*1\r\n"); got != "" {
		t.Fatalf("replies %q to commands that wait", got)
	}
	p.session.Ended()
	for i, want := range []string{"+OK\r\n", "$1\r\n1\r\n"} {
		if p.take(); p.closing {
			t.Fatalf("closed with %d commands to answer", 2-i)
		}
		f.release(0)
		if got := p.take(); got != want {
			t.Errorf("reply %q, want %q", got, want)
		}
	}
	if !p.closing {
		t.Error("the connection stays open when all is answered")
	}

	_, idle := open(t, newFake(), Options{})
	if idle.session.Ended(); !idle.closing {
		t.Error("a connection that waits for nothing stays open")
	}
}

// TestFewAreParkedWhileBusy: a client that does not wait for its replies has few
// commands under way while the cluster is busy, and keeps the rest; all are answered.
func TestFewAreParkedWhileBusy(t *testing.T) {
	f := newFake()
	f.hold = func(*coordinator.Request) bool { return true }
	s, p := open(t, f, Options{})
	busy := true
	s.busy = func() bool { return busy }
	const many = 300
	var all, want string
	for i := range many {
		all += cmd("SET", "k"+strconv.Itoa(i), "v")
		want += "+OK\r\n"
	}
	if got := p.send(all); got != "" || len(f.held) != busyParked {
		t.Fatalf("%d under way, replies %q", len(f.held), got)
	}
	var got string
	for range busyParked / 2 {
		f.release(0)
		got += p.take()
	}
	if len(f.held) != busyParked {
		t.Fatalf("%d under way after half of them were answered", len(f.held))
	}
	busy = false
	for len(f.held) > 0 {
		f.release(0)
		got += p.take()
	}
	if got != want {
		t.Fatalf("replies %q", got)
	}
}

func TestOutputStopsDispatching(t *testing.T) {
	s, p := open(t, newFake(), Options{OutputPause: 1000, OutputLimit: 5000})
	p.send(cmd("SET", "a", strings.Repeat("v", 300)))
	many := strings.Repeat(cmd("GET", "a"), 100)
	p.session.Receive([]byte(many))
	p.session.Seal()
	p.session.Flush()
	if n := len(p.sent); n < 1000 || n > 2000 {
		t.Errorf("%d bytes answered before anything was read, want a little over the pause", n)
	}
	p.pending = 2000
	p.turn()
	before := len(p.sent)
	p.session.Receive(bytes.Repeat([]byte(many), 40))
	p.turn()
	if len(p.sent) != before || !p.paused {
		t.Errorf("answered %d bytes more to a client that does not read; paused %v", len(p.sent)-before, p.paused)
	}
	p.pending = 0
	p.session.Drained()
	for range 1100 {
		p.turn()
	}
	if want := 5 + 0 + 100*41*len("$300\r\n\r\n"+strings.Repeat("v", 300)); len(p.sent)+5 != want || p.paused {
		t.Errorf("%d bytes answered in the end, want %d; paused %v", len(p.sent)+5, want, p.paused)
	}
	p.pending = 6000
	p.session.Receive([]byte(cmd("GET", "a")))
	p.turn()
	if p.aborted {
		t.Error("closed while nothing more was to be sent")
	}
	s.all()[0].output().b = append(s.all()[0].output().b, "more"...)
	p.turn()
	if !p.aborted || s.SlowReaders() != 1 {
		t.Errorf("a client with too much unread lives on; %d counted", s.SlowReaders())
	}
}

func TestBuffersAreReturned(t *testing.T) {
	s, p := open(t, newFake(), Options{})
	n := s.all()[0]
	large := cmd("SET", "a", strings.Repeat("v", 1<<20))
	for len(large) > 0 {
		k := min(len(large), 40_000)
		p.send(large[:k])
		large = large[k:]
	}
	p.send(strings.Repeat(cmd("MGET", "a", "b", "c"), 3))
	p.take()
	p.take()
	if n.in != nil || n.out != nil || cap(n.args) > keptArgs {
		t.Errorf("an idle session holds in %v out %v, room for %d arguments", n.in != nil, n.out != nil, cap(n.args))
	}
	for _, a := range n.args[:cap(n.args)] {
		if a != nil {
			t.Error("an idle session holds on to input")
		}
	}
}

func BenchmarkSession(b *testing.B) {
	for _, depth := range []int{1, 16} {
		for name, one := range map[string]string{"set": cmd("SET", "key:000000012345", strings.Repeat("x", 64)), "get": cmd("GET", "key:000000012345")} {
			b.Run(fmt.Sprintf("%s/P%d", name, depth), func(b *testing.B) {
				_, p := open(b, newFake(), Options{})
				p.send(cmd("SET", "key:000000012345", strings.Repeat("x", 64)))
				in := []byte(strings.Repeat(one, depth))
				b.ReportAllocs()
				for b.Loop() {
					p.session.Receive(in)
					p.session.Seal()
					p.session.Flush()
					p.sent = p.sent[:0]
				}
			})
		}
	}
}
