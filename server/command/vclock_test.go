package command

import (
	"fmt"
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// vclockKey is one key at one node, with all that VCLOCK's operations need of
// it.
type vclockKey struct {
	t      *testing.T
	table  *Table
	object *version.Object
	key    string
	proto  uint8
	now    int64
	node   version.Incarnation // who coordinates the next write
	clock  hlc.Timestamp
}

func newVClockKey(t *testing.T) *vclockKey {
	return &vclockKey{t: t, table: NewTable(), object: new(version.Object), key: "k", proto: 2, now: testNow, node: 1, clock: hlc.FromMillis(testNow)}
}

// do runs a command on the key as the coordinator does.
func (k *vclockKey) do(words ...string) *reply {
	k.t.Helper()
	var args [][]byte
	for _, w := range words {
		args = append(args, []byte(w))
	}
	cmd, out := k.table.Resolve(nil, args)
	if cmd == nil {
		return parseReply(k.t, string(out))
	}
	v := k.object.Value(k.now, nil)
	c := &coordinator.Call{Args: args, Key: []byte(k.key), Proto: k.proto, Now: k.now, ClusterID: testClusterID, Object: k.object,
		Exists: v.Exists, Value: v.Data, Deadline: v.Deadline, Counter: v.Counter}
	cmd.Op.Run(c)
	put, removed, added, _, value, deadline, delta := c.Effect()
	dot := version.Dot{Node: k.node, Time: k.clock + 1}
	ctx := c.Context()
	var err error
	switch {
	case put:
		_, err = k.object.Update(dot, ctx, version.Sibling{Kind: version.String, Value: []byte(string(value)), Deadline: deadline})
	case removed:
		_, err = k.object.Update(dot, ctx, version.Sibling{Kind: version.Tombstone})
	case added && v.Exists:
		_, err = k.object.Increment(dot, delta, v.Deadline)
	case added:
		_, err = k.object.Update(dot, nil, version.Sibling{Kind: version.Counter, Delta: delta})
	default:
		return parseReply(k.t, string(c.Out))
	}
	if err != nil {
		k.t.Fatalf("%q: %v", words, err)
	}
	k.clock++
	if cmd.Op.After != nil {
		cmd.Op.After(c)
	}
	return parseReply(k.t, string(c.Out))
}

// get returns the context, empty for nil, and the values.
func (k *vclockKey) get() (context, values string) {
	k.t.Helper()
	r := k.do("vclock", "get", "k")
	if len(r.list) != 2 || r.list[1].kind != '*' {
		k.t.Fatalf("VCLOCK GET: %s", r)
	}
	var all []string
	for _, v := range r.list[1].list {
		all = append(all, v.text)
	}
	switch first := r.list[0]; {
	case first.kind == '$' && first.text != "-1":
		context = first.text
	case k.proto == 2 && first.kind != '$', k.proto == 3 && first.kind != '_':
		k.t.Fatalf("no context is %s", first)
	}
	return context, strings.Join(all, " ")
}

func (k *vclockKey) set(context, value string, more ...string) string {
	k.t.Helper()
	r := k.do(append([]string{"vclock", "set", "k", context, value}, more...)...)
	if r.kind != '$' {
		k.t.Fatalf("VCLOCK SET %s: %s", value, r)
	}
	return r.text
}

func TestVClockSiblings(t *testing.T) {
	for proto := uint8(2); proto <= 3; proto++ {
		k := newVClockKey(t)
		k.proto = proto
		if ctx, values := k.get(); ctx != "" || values != "" {
			t.Fatalf("absent: %q %q", ctx, values)
		}
		one := k.set("", "a")
		if ctx, values := k.get(); ctx != one || values != "a" {
			t.Fatalf("after a: %q %q, want the context %q", ctx, values, one)
		}
		k.node = 2
		k.set("", "b")   // has seen nothing
		k.set(one, "a2") // has seen a
		all, values := k.get()
		if values != "a2 b" {
			t.Fatalf("siblings %q", values)
		}
		if got := k.do("get", "k").text; got != "a2" {
			t.Errorf("GET %s, want the newest", got)
		}
		merged := k.set(all, "ab")
		if ctx, values := k.get(); ctx != merged || values != "ab" {
			t.Fatalf("merged: %q %q", ctx, values)
		}
		k.set(one, "late") // an old context does not replace what it has not seen
		if _, values := k.get(); values != "late ab" {
			t.Fatalf("after a late writer: %q", values)
		}
		k.do("vclock", "del", "k", merged)
		all, values = k.get()
		if values != "late" {
			t.Fatalf("after a deletion of ab: %q", values)
		}
		if gone := k.do("vclock", "del", "k", all); gone.kind != '$' || gone.text == all {
			t.Fatalf("VCLOCK DEL: %s", gone)
		}
		if ctx, values := k.get(); ctx != "" || values != "" {
			t.Fatalf("deleted: %q %q", ctx, values)
		}
	}
}

// Two clients that have not read go on with the contexts their writes returned:
// neither ever replaces what only the other has seen.
func TestVClockReturnedContexts(t *testing.T) {
	for nodes := 1; nodes <= 2; nodes++ {
		k := newVClockKey(t)
		var a, b string
		for i := range 10 {
			k.node = version.Incarnation(1 + i%nodes)
			a = k.set(a, "a")
			a = k.set(a, fmt.Sprintf("a%d", i))
			if _, values := k.get(); i > 0 && values != fmt.Sprintf("a%d b%d", i, i-1) { // a has not seen b's
				t.Fatalf("a's round %d: %q", i, values)
			}
			b = k.set(b, fmt.Sprintf("b%d", i))
			if _, values := k.get(); values != fmt.Sprintf("b%d a%[1]d", i) {
				t.Fatalf("round %d: %q", i, values)
			}
		}
		if order := k.compare(a, b); order != "$concurrent" {
			t.Errorf("a is %s b", order)
		}
		before := a
		a = k.do("vclock", "del", "k", a).text
		if order := k.compare(before, a); order != "$before" {
			t.Errorf("before and after a deletion: %s", order)
		}
		if _, values := k.get(); values != "b9" {
			t.Fatalf("after a's deletion: %q", values)
		}
		b = k.set(b, "b10")
		a = k.do("vclock", "del", "k", a).text
		if _, values := k.get(); values != "b10" {
			t.Fatalf("after a's second deletion: %q", values)
		}
		a = k.set(a, "a11")
		if _, values := k.get(); values != "a11 b10" {
			t.Fatalf("after a's write: %q", values)
		}
		b = k.do("vclock", "del", "k", b).text
		all, values := k.get()
		if values != "a11" || k.compare(a, all) != "$before" || k.compare(b, all) != "$before" {
			t.Fatalf("after b's deletion: %q", values)
		}
		if merged := k.set(all, "both"); merged == "" || len(k.object.Siblings) != 1 || len(merged) > len(all) {
			t.Fatalf("%d siblings, context %s", len(k.object.Siblings), merged)
		}
	}
}

func TestVClockDeadlines(t *testing.T) {
	k := newVClockKey(t)
	at := func() int64 { return k.object.Newest().Deadline }
	ctx := k.set("", "a", "EX", "10")
	if at() != testNow+10_000 {
		t.Errorf("EX: %d", at())
	}
	ctx = k.set(ctx, "b", "KEEPTTL")
	if at() != testNow+10_000 {
		t.Errorf("KEEPTTL: %d", at())
	}
	ctx = k.set(ctx, "c")
	if at() != 0 {
		t.Errorf("no option: %d", at())
	}
	k.set(ctx, "d", "PX", "5")
	k.now += 5
	if ctx, values := k.get(); ctx != "" || values != "" {
		t.Errorf("expired: %q %q", ctx, values)
	}
	for more, want := range map[string]string{
		"EX 0":         "-ERR invalid expire time in 'vclock|set' command",
		"EX x":         "-ERR value is not an integer or out of range",
		"EX":           "-ERR syntax error",
		"NX":           "-ERR syntax error",
		"EX 1 KEEPTTL": "-ERR syntax error",
		"PERSIST":      "-ERR syntax error",
	} {
		if got := k.do(append([]string{"vclock", "set", "k", "", "v"}, strings.Fields(more)...)...).String(); got != want {
			t.Errorf("%s: %s, want %s", more, got, want)
		}
	}
}

// Counters are one value, which GET returns too.
func TestVClockCounters(t *testing.T) {
	k := newVClockKey(t)
	k.do("incrby", "k", "5")
	k.node = 2
	k.do("incrby", "k", "7")
	ctx, values := k.get()
	if values != "12" || len(k.object.Siblings) != 2 {
		t.Fatalf("values %q of %d siblings", values, len(k.object.Siblings))
	}
	k.set("", "x")
	if _, values := k.get(); values != k.do("get", "k").text && !strings.HasPrefix(values, k.do("get", "k").text+" ") {
		t.Errorf("the first of %q is not what GET returns", values)
	}
	all, _ := k.get()
	k.set(all, "30")
	k.do("incr", "k")
	if _, values := k.get(); values != "31" {
		t.Errorf("counted from a value: %q", values)
	}
	if c := k.compare(ctx, all); c != "$before" {
		t.Errorf("contexts %s", c)
	}
}

func TestVClockInfo(t *testing.T) {
	for proto, head := range map[uint8]string{2: "*", 3: "%"} {
		k := newVClockKey(t)
		k.proto = proto
		if got := k.do("vclock", "info", "k").String(); got != "*0" {
			t.Errorf("absent: %s", got)
		}
		k.set("", "abc")
		k.node = 0xfeed
		k.set("", "defgh")
		base := uint64(hlc.FromMillis(testNow))
		want := fmt.Sprintf("*[%[1]s[$node $000000000000feed $time :%[2]d $clock *[*[$000000000000feed :%[3]d]] $size :5 $kind $string] "+
			"%[1]s[$node $0000000000000001 $time :%[2]d $clock *[*[$0000000000000001 :%[4]d]] $size :3 $kind $string]]", head, testNow, base+2, base+1)
		if got := k.do("vclock", "info", "k").String(); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		all, _ := k.get()
		k.do("vclock", "del", "k", all)
		want = fmt.Sprintf("*[%s[$node $000000000000feed $time :%d $clock *[*[$000000000000feed :%d] *[$0000000000000001 :%d]] $size :0 $kind $tombstone]]",
			head, testNow, base+3, base+1)
		if got := k.do("vclock", "info", "k").String(); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

// compare runs VCLOCK COMPARE.
func (k *vclockKey) compare(a, b string) string {
	f := newFamily(k.t, 1)
	f.session.Proto = k.proto
	return parseReply(k.t, f.do("vclock", "compare", a, b)).String()
}

func TestVClockCompare(t *testing.T) {
	k := newVClockKey(t)
	one := k.set("", "a")
	k.node = 2
	two := k.set(one, "b")
	left := newVClockKey(t)
	left.node = 3
	other := left.set("", "c")
	foreign := new(version.Context).EncodeToken(testClusterID+1, ring.KeyHash(0, []byte("k")))
	elsewhere := new(version.Context).EncodeToken(testClusterID, ring.KeyHash(0, []byte("j")))
	for _, c := range []struct{ a, b, want string }{
		{one, one, "$equal"}, {one, two, "$before"}, {two, one, "$after"}, {two, other, "$concurrent"},
		{"", "", "$equal"}, {"", one, "$before"}, {one, "", "$after"},
		{one, foreign, "-ERR context belongs to another key or cluster"},
		{one, elsewhere, "-ERR the contexts are of different keys"},
		{one, one + "x", "-ERR context is damaged: not base64url"},
		{"what", one, "-ERR context is damaged: too short"},
	} {
		if got := k.compare(c.a, c.b); !strings.HasPrefix(got, c.want) && !(strings.HasPrefix(c.want, "-ERR context is damaged") && strings.HasPrefix(got, "-ERR context is damaged")) {
			t.Errorf("%q %q: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

// What is no context of the key writes nothing.
func TestVClockRefusesContexts(t *testing.T) {
	k := newVClockKey(t)
	ctx := k.set("", "a")
	flipped := []byte(ctx)
	flipped[10] ^= 1
	for _, c := range []struct{ name, context, want string }{
		{"damaged", string(flipped), "-ERR context is damaged"},
		{"cut", ctx[:len(ctx)-4], "-ERR context is damaged"},
		{"no token", "what?", "-ERR context is damaged"},
		{"line ends", "a\r\nb", "-ERR context is damaged"},
		{"another cluster", new(version.Context).EncodeToken(testClusterID+1, ring.KeyHash(0, []byte("k"))), "-ERR context belongs to another key or cluster"},
		{"another key", new(version.Context).EncodeToken(testClusterID, ring.KeyHash(0, []byte("j"))), "-ERR context belongs to another key or cluster"},
		{"another database", new(version.Context).EncodeToken(testClusterID, ring.KeyHash(1, []byte("k"))), "-ERR context belongs to another key or cluster"},
	} {
		for _, call := range [][]string{{"vclock", "set", "k", c.context, "v"}, {"vclock", "del", "k", c.context}} {
			if got := k.do(call...).String(); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s, %s: %s", c.name, call[1], got)
			}
		}
	}
	if _, values := k.get(); values != "a" {
		t.Errorf("a refused write wrote: %q", values)
	}
}
