package command

import (
	"context"
	"slices"
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hlc"
	"kvstore/cluster/version"
)

// fakeNode is a cluster of one node in memory. It runs operations on objects as
// the coordinator does, at a time the test sets.
type fakeNode struct {
	Cluster // what is not below panics

	now     int64 // Unix milliseconds
	clock   hlc.Timestamp
	objects map[fakeKey]*version.Object
	writes  int // effects applied
	fail    func(r *coordinator.Request) error
	scanErr error
}

type fakeKey struct {
	db  uint8
	key string
}

const testNow = 1_700_000_000_000

func newFakeNode() *fakeNode {
	return &fakeNode{now: testNow, objects: map[fakeKey]*version.Object{}}
}

func (n *fakeNode) Do(_ context.Context, r *coordinator.Request) error {
	if n.fail != nil {
		if err := n.fail(r); err != nil {
			return err
		}
	}
	r.Out = n.run(r)
	return nil
}

func (n *fakeNode) run(r *coordinator.Request) []byte {
	k := fakeKey{r.DB, string(r.Key)}
	o := n.objects[k]
	if o == nil {
		o = new(version.Object)
	}
	v := o.Value(n.now, nil)
	c := coordinator.Call{Args: r.Args, Key: r.Key, DB: r.DB, Proto: r.Proto, Now: n.now, MaxValue: coordinator.DefaultMaxValue, Object: o,
		Exists: v.Exists, Value: v.Data, Deadline: v.Deadline, Counter: v.Counter}
	r.Op.Run(&c)
	put, removed, added, expired, value, deadline, delta := c.Effect()
	if !put && !removed && !added && !expired {
		return c.Out
	}
	if !r.Op.Write {
		panic("a reading operation wrote: " + r.Op.Name)
	}
	n.objects[k] = o
	n.writes++
	n.apply(o, v, effectOf{put, removed, added, expired, slices.Clone(value), deadline, delta})
	return c.Out
}

type effectOf struct {
	put, removed, added, expired bool
	value                        []byte
	deadline, delta              int64
}

func (n *fakeNode) apply(o *version.Object, v version.Value, e effectOf) {
	n.clock = max(n.clock+1, hlc.FromMillis(n.now))
	dot := version.Dot{Node: 1, Time: n.clock}
	var err error
	switch {
	case e.put:
		_, err = o.Update(dot, nil, version.Sibling{Kind: version.String, Value: e.value, Deadline: e.deadline})
	case e.removed:
		_, err = o.Update(dot, nil, version.Sibling{Kind: version.Tombstone})
	case e.added && v.Exists:
		_, err = o.Increment(dot, e.delta, v.Deadline)
	case e.added:
		_, err = o.Update(dot, nil, version.Sibling{Kind: version.Counter, Delta: e.delta})
	case v.Counter:
		_, err = o.Increment(dot, 0, e.deadline)
	default:
		_, err = o.Update(dot, nil, version.Sibling{Kind: version.String, Value: slices.Clone(v.Data), Deadline: e.deadline})
	}
	if err != nil {
		panic(err)
	}
}

// Scan pages through the keys in their order; the cursor is a position in it.
func (n *fakeNode) Scan(_ context.Context, q ScanQuery) (ScanPage, error) {
	if n.scanErr != nil {
		return ScanPage{}, n.scanErr
	}
	var keys []string
	for k, o := range n.objects {
		if k.db == q.DB && o.Value(n.now, nil).Exists {
			keys = append(keys, k.key)
		}
	}
	slices.Sort(keys)
	var page ScanPage
	for i := int(min(q.Cursor, uint64(len(keys)))); i < len(keys); i++ {
		if len(page.Keys) == q.Count {
			page.Cursor = uint64(i)
			break
		}
		page.Keys = append(page.Keys, []byte(keys[i]))
	}
	return page, nil
}

// fakeClient sends commands to a fakeNode as the server does.
type fakeClient struct {
	t       testing.TB
	node    *fakeNode
	env     *Env
	session *Session
}

func newFakeClient(t testing.TB) *fakeClient {
	node, table := newFakeNode(), NewTable()
	return &fakeClient{t: t, node: node, session: &Session{ID: 1, Proto: 2},
		env: &Env{Table: table, Cluster: node, Stats: NewStats(table)}}
}

// do runs a command and returns its reply in RESP.
func (c *fakeClient) do(args ...string) string {
	c.t.Helper()
	split := make([][]byte, len(args))
	for i, a := range args {
		split[i] = []byte(a)
	}
	cmd, out := c.env.Table.Resolve(nil, split)
	if cmd == nil {
		return string(out)
	}
	request := func(op *coordinator.Op, key []byte, args [][]byte) *coordinator.Request {
		return &coordinator.Request{Op: op, DB: c.session.DB, Proto: c.session.Proto, Key: key, Args: args, Levels: c.session.Levels}
	}
	ctx := &Ctx{Session: c.session, Env: c.env, Args: split}
	switch {
	case cmd.Op != nil:
		r := request(cmd.Op, split[cmd.FirstKey], split)
		ctx.Err = c.node.Do(c.t.Context(), r)
		ctx.Out = r.Out
	case cmd.Scatter != nil:
		n, _, _ := cmd.Keys(split)
		var parts []*coordinator.Request
		for i := range n {
			key, part := cmd.Scatter.Part(cmd, split, i)
			r := request(cmd.Scatter.Op, key, part)
			r.Err = c.node.Do(c.t.Context(), r)
			parts = append(parts, r)
		}
		ctx.Out = cmd.Scatter.Gather(nil, c.session.Proto, parts)
	case cmd.Local != nil:
		cmd.Local(ctx)
	default:
		cmd.Wait(c.t.Context(), ctx)
	}
	if ctx.Err != nil {
		return string(AppendError(nil, ctx.Err))
	}
	return string(ctx.Out)
}

// shown is a reply as the tests write it: RESP with its line ends as spaces.
func shown(reply string) string {
	return strings.TrimSpace(strings.ReplaceAll(reply, "\r\n", " "))
}

// script runs lines of "command => reply", where words are separated by spaces
// and "" is an empty word. A line "@ 500" lets that many milliseconds pass, a
// line "+ n" says how many writes there have been since the last such line.
func (c *fakeClient) script(lines string) {
	c.t.Helper()
	writes := c.node.writes
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		call, want, _ := strings.Cut(line, "=>")
		words := strings.Fields(call)
		for i, w := range words {
			if w == `""` {
				words[i] = ""
			}
		}
		switch words[0] {
		case "@":
			c.node.now += int64(atoi(words[1]))
			continue
		case "+":
			if got := c.node.writes - writes; got != atoi(words[1]) {
				c.t.Errorf("%d writes, want %s", got, words[1])
			}
			writes = c.node.writes
			continue
		}
		if got := shown(c.do(words...)); got != strings.TrimSpace(want) {
			c.t.Errorf("%s\n got %s\nwant %s", call, got, want)
		}
	}
}

func atoi(s string) (n int) {
	for _, d := range s {
		n = n*10 + int(d-'0')
	}
	return n
}
