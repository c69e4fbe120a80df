package sim

import (
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
}

// call is an operation under way. It is the request's owner.
type call struct {
	client  *client
	op      *Op
	process *process
	req     coordinator.Request
}

// next does the client's next burst: mostly one operation, sometimes a pipeline.
func (c *client) next() {
	w := c.w
	if w.ending || w.issued >= w.c.Ops || len(c.waiting) > 0 {
		return
	}
	m := w.machines[c.rand.IntN(len(w.machines))]
	if m.up() == nil {
		w.loop.after(10*time.Millisecond, c.next)
		return
	}
	burst := 1
	if c.rand.IntN(10) == 0 {
		burst = 3
	}
	for range burst {
		w.issued++
		k := &w.c.Keys[c.rand.IntN(len(w.c.Keys))]
		levels := coordinator.Levels{R: k.R[c.rand.IntN(len(k.R))], W: k.W[c.rand.IntN(len(k.W))], Mode: coordinator.Strict}
		c.submit(m, k.Commands[c.rand.IntN(len(k.Commands))], k.Name, levels)
	}
}

// submit starts one operation.
func (c *client) submit(m *machine, command, key string, levels coordinator.Levels) *Op {
	w := c.w
	o := &Op{ID: len(w.history), Client: c.id, Machine: m.name(), Command: command, Key: key, Levels: levels, At: time.Since(w.began)}
	w.history = append(w.history, o)
	args := [][]byte{[]byte(command), []byte(key)}
	switch command {
	case "set", "setnx", "getset", "append":
		o.Value = fmt.Sprintf("v%d|%s", o.ID, strings.Repeat("x", c.rand.IntN(300)))
		if command == "append" {
			o.Value = fmt.Sprintf("v%d;", o.ID)
		}
		args = append(args, []byte(o.Value))
	}
	return c.send(m, o, args)
}

// send brings an operation to a machine.
func (c *client) send(m *machine, o *Op, args [][]byte) *Op {
	w := c.w
	node := m.up()
	w.clock++
	o.Call = w.clock
	if node == nil {
		o.Outcome, o.Err = Refused, errDead
		c.returned(o)
		return o
	}
	k := &call{client: c, op: o, process: m.process}
	k.req = coordinator.Request{Op: w.ops[o.Command], Proto: 2, Key: []byte(o.Key), Args: args, Levels: o.Levels, Owner: k}
	c.waiting = append(c.waiting, k)
	node.Submit(&k.req)
	for _, a := range append(args, k.req.Key) {
		for i := range a {
			a[i] ^= 0xff // what Submit kept without copying is noticed
		}
	}
	node.EndTurn()
	return o
}

// Complete implements coordinator.Completer. The reply leaves once the turn's
// commit is done.
func (k *call) Complete(*coordinator.Request) {
	k.client.w.loop.after(0, func() {
		if k.process.node == nil || k.process.killed {
			k.client.broke(k)
			return
		}
		committed := func(err error) { k.client.w.loop.after(0, func() { k.client.answered(k, err) }) }
		if k.process.node.OnCommitted(committed) {
			k.client.answered(k, nil)
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
	}
	c.returned(o)
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
	if len(c.waiting) == 0 {
		w.loop.after(time.Duration(c.rand.ExpFloat64()*float64(w.c.Think)), c.next)
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
