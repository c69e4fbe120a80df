package chaos

import (
	"fmt"
	"slices"
	"strings"
)

// What is written in one data centre and read in another: two kinds of keys, each
// written by one client, with values that count up.
//
//	each:…   written at each_quorum, read at local_quorum anywhere
//	local:…  written at local_quorum, read at each_quorum anywhere
//
// Either way a read and an acknowledged write have a majority of one data centre in
// common (docs/consistency.md).

// acrossKeys is how many keys each writer has.
const acrossKeys = 8

// useWritten returns one step of a client that writes keys of a kind, which others read.
func useWritten(kind string, dc string) func() func(*client) {
	return func() func(*client) {
		number := 0
		return func(c *client) {
			number++
			c.do("set", fmt.Sprintf("%s:%s:%d", kind, dc, c.random.IntN(acrossKeys)), fmt.Sprint(number))
		}
	}
}

// useRead is one step of a client that reads them.
func useRead(kind string, dc string) func() func(*client) {
	return func() func(*client) {
		return func(c *client) { c.do("get", fmt.Sprintf("%s:%s:%d", kind, dc, c.random.IntN(acrossKeys)), "") }
	}
}

// checkSeen checks a key that one client wrote, one operation after the other, and others
// read: a read returns what was acknowledged before it began, or something later. Where
// reads bring the replicas that they asked level, none goes back behind another of its
// client's data centre; that is each's.
func checkSeen(ops []*op) error {
	order := map[string]int{"": -1} // by value: which write it is of
	var writes []*op
	for _, o := range ops {
		if o.command == "set" {
			order[o.value] = len(writes)
			writes = append(writes, o)
		}
	}
	var reads []*op
	for _, o := range ops {
		if o.command != "get" || o.outcome != acknowledged {
			continue
		}
		got, known := order[o.reply.value]
		if !known || got >= 0 && (writes[got].outcome == refused || writes[got].call > o.end) {
			return fmt.Errorf("a read of what nobody wrote:\n%s", tell([]*op{o}, 1))
		}
		for i := len(writes) - 1; i > got; i-- {
			if w := writes[i]; w.outcome == acknowledged && w.end < o.call {
				return fmt.Errorf("stale: %s was acknowledged before a read that returned %s:\n%s", w.value, o.reply, tell([]*op{w, o}, 2))
			}
		}
		reads = append(reads, o)
	}
	if len(ops) == 0 || !strings.HasPrefix(ops[0].key, "each:") {
		return nil
	}
	return checkForward(reads, order)
}

// checkForward checks that no read of one data centre, whose nodes begin with the same
// letter, goes back behind another that had ended before it began.
func checkForward(reads []*op, order map[string]int) error {
	byEnd := slices.Clone(reads)
	slices.SortFunc(byEnd, func(a, b *op) int { return int(a.end - b.end) })
	slices.SortFunc(reads, func(a, b *op) int { return int(a.call - b.call) })
	newest, next := map[string]*op{}, 0
	for _, o := range reads {
		for ; next < len(byEnd) && byEnd[next].end < o.call; next++ {
			e := byEnd[next]
			if n := newest[centreOf(e)]; n == nil || order[e.reply.value] > order[n.reply.value] {
				newest[centreOf(e)] = e
			}
		}
		if n := newest[centreOf(o)]; n != nil && order[n.reply.value] > order[o.reply.value] {
			return fmt.Errorf("a read goes back:\n%s", tell([]*op{n, o}, 2))
		}
	}
	return nil
}

// written are the operations that are no reads.
func written(ops []*op) (writes []*op) {
	for _, o := range ops {
		if o.command != "get" {
			writes = append(writes, o)
		}
	}
	return writes
}

// centreOf is the data centre of an operation's node.
func centreOf(o *op) string { return o.node[:1] }
