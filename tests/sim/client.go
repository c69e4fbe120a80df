package sim

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"kvstore/cluster/coordinator"
)

// client does operations, each burst after the end of the one before.
type client struct {
	w       *World
	id      int
	rand    *rand.Rand
	waiting []*call
	thinks  bool // it will do something soon
	held    map[string]sight
}

// sight is what a client has seen of a key: what it was shown of the siblings, and
// what it has written since with the contexts that its writes returned.
type sight struct {
	context string
	values  []string
}

// call is an operation under way. It is the request's owner.
type call struct {
	client  *client
	op      *Op
	process *process
	req     coordinator.Request
}

// think lets the client do its next burst after a while of so long on average.
func (c *client) think(mean time.Duration) {
	if c.thinks {
		return
	}
	c.thinks = true
	c.w.loop.after(time.Duration(c.rand.ExpFloat64()*float64(mean)), c.next)
}

// next does the client's next burst: mostly one operation, sometimes a pipeline.
func (c *client) next() {
	w := c.w
	c.thinks = false
	if w.ending || w.issued >= w.allowed || len(c.waiting) > 0 {
		return
	}
	m := w.machines[c.rand.IntN(len(w.machines))]
	if m.up() == nil || m.out {
		c.think(10 * time.Millisecond)
		return
	}
	burst := 1
	if c.rand.IntN(cmp.Or(w.c.Bursts, 10)) == 0 {
		burst = 3
	}
	for range burst {
		w.issued++
		k := &w.c.Keys[c.rand.IntN(len(w.c.Keys))]
		levels := coordinator.Levels{R: k.R[c.rand.IntN(len(k.R))], W: k.W[c.rand.IntN(len(k.W))], Mode: k.Mode.of(c.id)}
		command := k.Commands[c.rand.IntN(len(k.Commands))]
		if !k.Idle {
			c.submit(m, command, k.Name, levels)
			c.watched(k, command, levels)
		}
	}
	if len(c.waiting) == 0 {
		c.think(w.c.Think)
	}
}

// watched has another client read a key while it is written, now and then.
func (c *client) watched(k *KeySpec, command string, levels coordinator.Levels) {
	if k.Check != Linear || command == "get" || c.rand.IntN(4) > 0 {
		return
	}
	reader := c.w.clients[(c.id+1)%len(c.w.clients)]
	c.w.loop.after(time.Duration(c.rand.Int64N(int64(time.Millisecond))), func() { reader.look(k.Name, levels) })
}

// look reads a key at once at any machine, and reports whether it does.
func (c *client) look(key string, levels coordinator.Levels) bool {
	w := c.w
	m := w.machines[c.rand.IntN(len(w.machines))]
	if w.ending || w.issued >= w.allowed || len(c.waiting) > 0 || m.up() == nil || m.out {
		return false
	}
	w.issued++
	c.submit(m, "get", key, levels)
	return true
}

// ttl is how long the values of SETPX live.
const ttl = 20 * time.Second

// submit starts one operation.
func (c *client) submit(m *machine, command, key string, levels coordinator.Levels) *Op {
	w := c.w
	o := &Op{ID: len(w.history), Client: c.id, Machine: m.name(), Command: command, Key: key, Levels: levels, At: time.Since(w.began)}
	w.history = append(w.history, o)
	args := []string{command, key}
	value := func() string {
		o.Value = fmt.Sprintf("v%d|%s", o.ID, strings.Repeat("x", c.rand.IntN(300)))
		return o.Value
	}
	switch command {
	case "set", "setnx", "getset":
		args = append(args, value())
	case "setpx":
		args = append(args, value(), "px", fmt.Sprint(ttl.Milliseconds()))
	case "append":
		o.Value = fmt.Sprintf("v%d;", o.ID)
		args = append(args, o.Value)
	case "incr", "del":
		args = append(args, tag(o))
	case "vget":
		args = []string{"vclock", "get", key}
	case "vset":
		args = []string{"vclock", "set", key, c.held[key].context, value()}
		o.Saw = slices.Clone(c.held[key].values)
	case "vdel":
		args = []string{"vclock", "del", key, c.held[key].context, tag(o)}
		o.Saw = slices.Clone(c.held[key].values)
	}
	return c.send(m, o, args)
}

// tag is an argument that operations without a value carry, for the checks: they
// do not look at it.
func tag(o *Op) string { return fmt.Sprintf("v%d|", o.ID) }

// operation names what the server does for a command.
func operation(command string) string {
	switch command {
	case "setpx":
		return "set"
	case "vget", "vset", "vdel":
		return "vclock|" + command[1:]
	}
	return command
}

// send brings an operation to a machine.
func (c *client) send(m *machine, o *Op, words []string) *Op {
	w := c.w
	w.clock++
	o.Call = w.clock
	if m.up() == nil {
		o.Outcome, o.Err = Refused, errDead
		c.returned(o)
		return o
	}
	k := &call{client: c, op: o, process: m.process}
	c.waiting = append(c.waiting, k)
	arrive := func() { k.arrive(words) }
	if !w.net.Hold(m.index, arrive) {
		arrive()
	}
	return o
}

// arrive is when a request is read by its process, if that still runs.
func (k *call) arrive(words []string) {
	o, node := k.op, k.process.node
	if node == nil || k.process.killed {
		return
	}
	var args [][]byte
	for _, word := range words {
		args = append(args, []byte(word))
	}
	k.req = coordinator.Request{
		Op: k.client.w.ops[operation(o.Command)], Proto: 2, Key: []byte(o.Key), Args: args, Levels: o.Levels, Owner: k,
	}
	node.Submit(&k.req)
	for _, a := range append(args, k.req.Key) {
		for i := range a {
			a[i] ^= 0xff // what Submit kept without copying is noticed
		}
	}
	node.EndTurn()
}

// Complete implements coordinator.Completer. The reply leaves once the turn's
// commit is done.
func (k *call) Complete(*coordinator.Request) {
	w := k.client.w
	w.loop.after(0, func() {
		if k.process.node == nil || k.process.killed {
			k.client.broke(k)
			return
		}
		reply := func(err error) {
			if leave := func() { k.client.answered(k, err) }; !w.net.Hold(k.process.machine.index, leave) {
				leave()
			}
		}
		if k.process.node.OnCommitted(func(err error) { w.loop.after(0, func() { reply(err) }) }) {
			reply(nil)
		}
	})
}

// answered ends an operation with its reply.
func (c *client) answered(k *call, err error) {
	if !c.done(k) {
		return
	}
	o := k.op
	if o.Err = k.req.Err; o.Err == nil {
		o.Err = err
	}
	o.Outcome = outcomeOf(o.Err)
	if o.Err == nil {
		if o.Reply, o.Err = parseReply(k.req.Out); o.Err != nil {
			c.w.fail("stands", "operation %d: %v", o.ID, o.Err)
		}
		if o.Reply.Error {
			o.Outcome, o.Err = Refused, errors.New(o.Reply.Text)
		}
	}
	if o.Outcome == Acknowledged {
		c.see(o)
	}
	c.returned(o)
}

// see notes what a client has seen by an operation.
func (c *client) see(o *Op) {
	if c.held == nil {
		c.held = make(map[string]sight)
	}
	switch o.Command {
	case "vget":
		c.held[o.Key] = sight{o.Reply.Text, o.Reply.Values}
	case "vset":
		c.held[o.Key] = sight{o.Reply.Text, append(slices.Clone(o.Saw), o.Value)}
	case "vdel":
		c.held[o.Key] = sight{o.Reply.Text, o.Saw}
	}
}

// broke ends an operation whose connection broke.
func (c *client) broke(k *call) {
	if c.done(k) {
		k.op.Outcome = Unknown
		c.returned(k.op)
	}
}

// done takes a call off the list, once.
func (c *client) done(k *call) bool {
	i := slices.Index(c.waiting, k)
	if i < 0 {
		return false
	}
	c.waiting = slices.Delete(c.waiting, i, i+1)
	return true
}

// returned notes when an operation ended and thinks about the next.
func (c *client) returned(o *Op) {
	w := c.w
	w.clock++
	o.Return, o.Done = w.clock, time.Since(w.began)
	if o.Outcome == Unknown {
		o.Return = Never
	}
	w.note("%v", o)
	// Who has read reads again elsewhere, now and then: what was read is not to go back.
	again := o.Command == "get" && o.Outcome == Acknowledged && c.rand.IntN(3) == 0 && c.look(o.Key, o.Levels)
	if len(c.waiting) == 0 && !again {
		c.think(w.c.Think)
	}
}

// disconnect breaks the connections of all clients to a process.
func (w *World) disconnect(p *process) {
	for _, c := range w.clients {
		for _, k := range slices.Clone(c.waiting) {
			if k.process == p {
				c.broke(k)
			}
		}
	}
}
