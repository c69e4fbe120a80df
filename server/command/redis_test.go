package command

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// realRedis is a connection to a redis-server that lives as long as the test.
type realRedis struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// startRedis returns nil where redis-server is not installed, which is a
// failure in continuous integration.
func startRedis(t *testing.T) *realRedis {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Log("redis-server is not installed: nothing to compare with")
		return nil
	}
	dir, err := os.MkdirTemp("", "redis") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	log, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "eady to accept connections") {
	}
	drained := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, log)
		close(drained)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
	})
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &realRedis{t: t, conn: conn, in: bufio.NewReader(conn)}
}

func (r *realRedis) do(args ...string) *reply {
	r.t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := r.conn.Write(b.Bytes()); err != nil {
		r.t.Fatal(err)
	}
	p, err := readReply(r.in)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// reply is a reply taken apart.
type reply struct {
	kind byte
	text string // of a bulk string its bytes, otherwise the line
	list []*reply
}

func readReply(in *bufio.Reader) (*reply, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	r := &reply{kind: line[0], text: strings.TrimSuffix(line[1:], "\r\n")}
	n, _ := strconv.Atoi(r.text)
	switch r.kind {
	case '$', '=':
		if n < 0 {
			return r, nil
		}
		body := make([]byte, n+2)
		_, err = io.ReadFull(in, body)
		r.text = string(body[:n])
		return r, err
	case '%':
		n *= 2
	case '*', '~':
	default:
		return r, nil
	}
	for range n {
		e, err := readReply(in)
		if err != nil {
			return nil, err
		}
		r.list = append(r.list, e)
	}
	return r, nil
}

func parseReply(t testing.TB, raw string) *reply {
	in := bufio.NewReader(strings.NewReader(raw))
	r, err := readReply(in)
	if err != nil {
		t.Fatalf("reply %q: %v", raw, err)
	}
	if in.Buffered() > 0 {
		t.Fatalf("something follows the reply in %q", raw)
	}
	return r
}

func (r *reply) String() string {
	if r.list == nil {
		return string(r.kind) + r.text
	}
	return string(r.kind) + fmt.Sprint(r.list)
}

// equalReplies compares the replies to a command, as far as they must be equal.
func equalReplies(command string, a, b *reply) bool {
	switch strings.ToLower(command) {
	case "ttl", "pttl", "expiretime", "pexpiretime":
		// The two read their clocks at different times.
		x, errX := strconv.ParseInt(a.text, 10, 64)
		y, errY := strconv.ParseInt(b.text, 10, 64)
		if errX == nil && errY == nil && x > 0 && y > 0 {
			return max(x-y, y-x) < 5000
		}
	case "randomkey":
		return a.kind == b.kind
	case "keys":
		a.sort()
		b.sort()
	case "scan":
		if len(a.list) == 2 && len(b.list) == 2 {
			a.list[1].sort()
			b.list[1].sort()
		}
	}
	return a.String() == b.String()
}

func (r *reply) sort() {
	slices.SortFunc(r.list, func(a, b *reply) int { return strings.Compare(a.text, b.text) })
}

// grammar makes random calls of the commands of the strings and keys families.
type grammar struct{ *rand.Rand }

func (g grammar) pick(words ...string) string { return words[g.IntN(len(words))] }

func (g grammar) key() string { return g.pick("a", "b", "c", "{t}1", "{t}2", "") }

func (g grammar) value() string {
	return g.pick("", "v", "Hello, world", "0", "1", "-1", "41", "007", "+5", " 1", "1.5", "-0", "5.0e3", "1e400", "inf", "0x10", ".5",
		"3.0", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "99999999999999999999", "a\x00\r\n\xff", "NX")
}

func (g grammar) integer() string {
	return g.pick("0", "1", "-1", "2", "5", "-5", "100", "-100", "x", "", "1.0", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "-0", "01")
}

// time is a number of seconds or milliseconds that leaves the key alone during
// the test, is over at once, or is nonsense.
func (g grammar) time() string {
	if g.IntN(4) > 0 {
		return strconv.Itoa(1_000_000 + g.IntN(1_000_000_000))
	}
	return g.pick("0", "-1", "x", "", "9223372036854775807", "9223372036854775", "9223372036854775808", "-9223372036854775808")
}

// at is a Unix time that is long ago or far ahead in either unit.
func (g grammar) at() string {
	if g.IntN(4) > 0 {
		return strconv.Itoa(4_000_000_000_000 + g.IntN(1_000_000_000))
	}
	return g.pick("1", "0", "-1", "x", "9223372036854775807", "1000", "1700000000")
}

func (g grammar) setOption() []string {
	switch g.IntN(9) {
	case 0:
		return []string{g.pick("EX", "px"), g.time()}
	case 1:
		return []string{g.pick("EXAT", "PXAT"), g.at()}
	case 2:
		return []string{"KEEPTTL"}
	case 3:
		return []string{g.pick("PERSIST", "persist")}
	case 4, 5:
		return []string{"GET"}
	case 6:
		return []string{g.pick("what", "EX", "PXAT", "")}
	}
	return []string{g.pick("NX", "xx")}
}

func (g grammar) options(n int, option func() []string) (all []string) {
	for range g.IntN(n + 1) {
		all = append(all, option()...)
	}
	return all
}

func (g grammar) call() []string {
	name := g.pick("get", "SET", "set", "set", "setnx", "setex", "psetex", "getset", "getdel", "getex", "mget", "mset", "msetnx", "strlen",
		"append", "getrange", "substr", "setrange", "incr", "decr", "incrby", "decrby", "incrbyfloat", "del", "unlink", "exists", "touch",
		"type", "ttl", "pttl", "expiretime", "pexpiretime", "expire", "pexpire", "expireat", "pexpireat", "persist", "rename", "renamenx",
		"copy", "keys", "scan", "randomkey", "nosuch")
	call := append([]string{name}, g.arguments(strings.ToLower(name))...)
	switch g.IntN(40) { // now and then a wrong number of arguments
	case 0:
		return call[:1+g.IntN(len(call))]
	case 1:
		return append(call, g.pick("", "x", "GET"))
	}
	return call
}

func (g grammar) arguments(name string) []string {
	switch name {
	case "set":
		return append([]string{g.key(), g.value()}, g.options(3, g.setOption)...)
	case "getex":
		return append([]string{g.key()}, g.options(2, g.setOption)...)
	case "setnx", "getset", "append":
		return []string{g.key(), g.value()}
	case "incrbyfloat":
		return []string{g.key(), g.value()}
	case "setex", "psetex":
		return []string{g.key(), g.time(), g.value()}
	case "mget", "del", "unlink", "exists", "touch":
		return append([]string{g.key()}, g.options(3, func() []string { return []string{g.key()} })...)
	case "mset", "msetnx":
		return append([]string{g.key(), g.value()}, g.options(2, func() []string { return []string{g.key(), g.value()} })...)
	case "getrange", "substr":
		return []string{g.key(), g.integer(), g.integer()}
	case "setrange":
		return []string{g.key(), g.pick("0", "1", "5", "-1", "x", "9223372036854775807", "536870912"), g.pick("", "v", "xyz")}
	case "incrby", "decrby":
		return []string{g.key(), g.integer()}
	case "expire", "pexpire":
		return append([]string{g.key(), g.time()}, g.options(2, g.condition)...)
	case "expireat", "pexpireat":
		return append([]string{g.key(), g.at()}, g.options(2, g.condition)...)
	case "rename", "renamenx":
		return []string{g.key(), g.key()}
	case "copy":
		return append([]string{g.key(), g.key()}, g.options(2, func() []string {
			return [][]string{{"REPLACE"}, {"replace"}, {"DB", "0"}, {"DB", "1"}, {"db", g.integer()}, {"DB"}, {"what"}}[g.IntN(7)]
		})...)
	case "keys":
		return []string{g.pattern()}
	case "scan":
		return append([]string{g.pick("0", "0", "0", "x", "-x", "99999999999999999999")}, g.options(3, func() []string {
			return [][]string{{"MATCH", g.pattern()}, {"COUNT", "100"}, {"COUNT", g.pick("x", "0", "-1")}, {"TYPE", g.pick("string", "list", "STRING")},
				{"COUNT"}, {"what", "1"}}[g.IntN(6)]
		})...)
	case "randomkey":
		return nil
	}
	return []string{g.key()}
}

func (g grammar) condition() []string { return []string{g.pick("NX", "xx", "GT", "lt", "what")} }

func (g grammar) pattern() string {
	return g.pick("*", "a", "?", "[ab]", "[^a]*", "{t}*", "*1", "", "[", "[a", "\\a", "[a-c]", "[c-a]", "\\", "**?")
}

// The same random calls to a real Redis and to the operations here have the
// same replies.
func TestAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	if redis == nil {
		return
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("KVSTORE_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("KVSTORE_TEST_SEED=%d", seed)
	g := grammar{rand.New(rand.NewPCG(seed, 0))}
	for round := range 300 {
		proto := 2 + round%2
		redis.do("FLUSHALL")
		redis.do("HELLO", strconv.Itoa(proto))
		c := newFakeClient(t)
		c.session.Proto = uint8(proto)
		var history []string
		for range 60 {
			call := g.call()
			history = append(history, fmt.Sprintf("%q", call))
			c.node.now = time.Now().UnixMilli()
			want := redis.do(call...)
			got := parseReply(t, c.do(call...))
			if !equalReplies(call[0], got, want) {
				t.Fatalf("after\n%s\n\n got %s\nwant %s", strings.Join(history, "\n"), got, want)
			}
		}
	}
}

// What COMMAND INFO says of a command is what Redis says, but for tips, which
// are not of the same version.
func TestInfoAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	if redis == nil {
		return
	}
	redis.do("HELLO", "3")
	c := newFakeClient(t)
	c.session.Proto = 3
	for _, cmd := range slices.Concat(stringCommands(), keyCommands()) {
		got := parseReply(t, c.do("COMMAND", "INFO", cmd.Name)).list[0]
		want := redis.do("COMMAND", "INFO", cmd.Name).list[0]
		got.list[7], want.list[7] = nil, nil
		if got.String() != want.String() {
			t.Errorf("%s\n got %s\nwant %s", cmd.Name, got, want)
		}
	}
}

// The manual of a command describes the same arguments as Redis's.
func TestDocsAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	if redis == nil {
		return
	}
	c := newFakeClient(t)
	for proto := range uint8(2) {
		c.session.Proto = 2 + proto
		redis.do("HELLO", strconv.Itoa(int(c.session.Proto)))
		for _, cmd := range slices.Concat(stringCommands(), keyCommands()) {
			got := c.docs(parseReply(t, c.do("COMMAND", "DOCS", cmd.Name)))
			want := c.docs(redis.do("COMMAND", "DOCS", cmd.Name))
			// Redis 7.0 has another name for the pairs of MSET.
			want["arguments"] = strings.ReplaceAll(want["arguments"], "$key_value ", "$data ")
			for _, field := range []string{"since", "group", "arguments"} {
				if got[field] != want[field] {
					t.Errorf("%s, %s\n got %s\nwant %s", cmd.Name, field, got[field], want[field])
				}
			}
		}
	}
}

// docs takes the reply of COMMAND DOCS for one command apart.
func (*fakeClient) docs(r *reply) map[string]string {
	fields := map[string]string{}
	for i := 0; i < len(r.list[1].list); i += 2 {
		value := r.list[1].list[i+1]
		value.dropDisplayText()
		fields[r.list[1].list[i].text] = value.String()
	}
	return fields
}

// dropDisplayText takes out what Redis says of arguments only since 7.2.
func (r *reply) dropDisplayText() {
	for i := 0; i < len(r.list); i++ {
		if r.list[i].text == "display_text" {
			r.list = slices.Delete(r.list, i, i+2)
			i--
			continue
		}
		r.list[i].dropDisplayText()
	}
}
