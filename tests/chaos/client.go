package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"kvstore/tests/lab"
)

const (
	dialWithin  = 500 * time.Millisecond
	replyWithin = 2 * time.Second // longer than a node's own timeouts
	// thinkTime lies between the operations of a client.
	thinkTime = 4 * time.Millisecond
	// backOff follows an operation that was refused, or a node that cannot be reached.
	backOff = 20 * time.Millisecond
)

// door is where clients reach a node.
type door struct{ node, address string }

// client is an application: it uses two connections to different nodes, and
// replaces one that fails by one to another node.
type client struct {
	id     int
	serves func() []door // of the nodes that it knows of
	start  time.Time
	levels []string // of QUORUM SET; none keeps the nodes' own
	random *rand.Rand

	conns   [2]*lab.Conn
	doors   [2]door
	history []op
	number  int           // of values and keys it made
	success time.Duration // end of the last operation that was acknowledged
	gap     time.Duration // the longest time without one
	gapAt   time.Duration
}

func newClient(id int, seed uint64, serves func() []door, start time.Time, levels ...string) *client {
	return &client{id: id, serves: serves, start: start, levels: levels,
		random: rand.New(rand.NewPCG(seed, uint64(id)+1)), success: time.Since(start)}
}

// run calls work again and again until ctx ends.
func (c *client) run(ctx context.Context, work func(*client)) {
	for ctx.Err() == nil {
		work(c)
		time.Sleep(thinkTime)
	}
	c.note(time.Since(c.start))
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close()
		}
	}
}

// note ends a time without success.
func (c *client) note(now time.Duration) {
	if gap := now - c.success; gap > c.gap {
		c.gap, c.gapAt = gap, c.success
	}
	c.success = now
}

// do runs one operation and records it; nil when no node could be reached.
func (c *client) do(command, key, value string) *op {
	place := c.random.IntN(len(c.conns))
	if c.conns[place] == nil && !c.connect(place) {
		time.Sleep(backOff)
		return nil
	}
	args := []string{command, key}
	if value != "" {
		args = append(args, value)
	}
	o := op{client: c.id, node: c.doors[place].node, command: command, key: key, value: value, call: time.Since(c.start)}
	reply, err := c.conns[place].Do(replyWithin, args...)
	o.end = time.Since(c.start)
	switch {
	case err != nil:
		o.err = err.Error()
		c.conns[place].Close()
		c.conns[place] = nil
	case reply.Error:
		o.outcome, o.err = judge(reply.Text), reply.Text
	default:
		o.outcome, o.reply = acknowledged, state{reply.Text, !reply.Nil}
		c.note(o.end)
	}
	if o.outcome == unknown {
		o.end = never
	}
	c.history = append(c.history, o)
	if o.outcome == refused {
		time.Sleep(backOff)
	}
	return &c.history[len(c.history)-1]
}

// connect connects to a node that the other connection does not use.
func (c *client) connect(place int) bool {
	all := c.serves()
	i := c.random.IntN(len(all))
	if c.conns[1-place] != nil && c.doors[1-place] == all[i] {
		i = (i + 1) % len(all)
	}
	conn, err := lab.Dial(all[i].address, dialWithin)
	if err != nil {
		return false
	}
	if len(c.levels) > 0 {
		if reply, err := conn.Do(replyWithin, append([]string{"quorum", "set"}, c.levels...)...); err != nil || reply.Error {
			conn.Close()
			return false
		}
	}
	c.conns[place], c.doors[place] = conn, all[i]
	return true
}

// unique makes a value, or a key, that nobody else makes.
func (c *client) unique(prefix string) string {
	c.number++
	return fmt.Sprintf("%s%d.%d", prefix, c.id, c.number)
}

const (
	// generation is how long keys of registers are used, and registers how many
	// there are at a time.
	generation = 5 * time.Second
	registers  = 4
	counters   = 4
	ownedKeys  = 50 // of each owner
)

// useRegisters returns one step of a client of the registers, of which those with
// different prefixes are apart.
func useRegisters(prefix string) func() func(*client) {
	return func() func(*client) {
		return func(c *client) {
			key := fmt.Sprintf("%s:%d:%d", prefix, time.Since(c.start)/generation, c.random.IntN(registers))
			switch n := c.random.IntN(100); {
			case n < 50:
				c.do("get", key, "")
			case n < 90:
				c.do("set", key, c.unique("v"))
			default:
				c.do("del", key, "")
			}
		}
	}
}

// useCounters is one step of a client of the counters.
func useCounters(c *client) { c.do("incr", fmt.Sprintf("counter:%d", c.random.IntN(counters)), "") }

// useOwned is one step of a client with keys of its own.
func useOwned(c *client) {
	key := fmt.Sprintf("owned:%d:%d", c.id, c.random.IntN(ownedKeys))
	if c.random.IntN(3) == 0 {
		c.do("del", key, "")
		return
	}
	c.do("set", key, c.unique("v"))
}

// useSets returns one step of a client that adds elements and deletes some of
// those that it knows to be there.
func useSets() func(*client) {
	var there []string
	return func(c *client) {
		if len(there) == 0 || c.random.IntN(3) > 0 {
			key := c.unique("element:")
			if o := c.do("set", key, key); o != nil && o.outcome == acknowledged {
				there = append(there, key)
			}
			return
		}
		i := c.random.IntN(len(there))
		if o := c.do("del", there[i], ""); o != nil && o.certain() {
			there[i] = there[len(there)-1]
			there = there[:len(there)-1]
		}
	}
}
