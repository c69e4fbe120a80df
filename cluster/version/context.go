package version

import (
	"cmp"
	"slices"

	"kvstore/cluster/hlc"
)

// Incarnation names one life of a node's data directory. An emptied or cloned
// directory, and one that may have lost writes it had sent to others, gets a
// new one.
type Incarnation uint64

// Dot names one write event. No dot is ever issued twice. Time is never zero
// in the dot of an event.
type Dot struct {
	Node Incarnation
	Time hlc.Timestamp
}

// Compare is the total order of all events, by which the last writer wins:
// time first, then incarnation.
func (d Dot) Compare(e Dot) int {
	if c := cmp.Compare(d.Time, e.Time); c != 0 {
		return c
	}
	return cmp.Compare(d.Node, e.Node)
}

// Context is a version vector with exceptions: what a writer had seen. It covers
// every dot of a node in Entries up to the time there, every dot of any node up
// to Floor, and the dots in Dots alone, without those before them. The zero
// Context covers nothing.
//
// Entries are sorted by incarnation, each once, and each above the floor. Dots
// are sorted by Dot.Compare, each once, and none is covered by the vector. So
// contexts which cover the same are equal. Few have any Dots: see dots.go.
type Context struct {
	Floor   hlc.Timestamp
	Entries []Dot
	Dots    []Dot
}

// Order is how two contexts or objects relate in causal order.
type Order uint8

// The four outcomes of a comparison: the left side is equal to, before, after
// or concurrent with the right one.
const (
	Equal Order = iota
	Before
	After
	Concurrent
)

// String returns the word that VCLOCK COMPARE replies.
func (o Order) String() string {
	switch o {
	case Equal:
		return "equal"
	case Before:
		return "before"
	case After:
		return "after"
	}
	return "concurrent"
}

// orderOf makes an Order of whether each side covers the other.
func orderOf(aCoversB, bCoversA bool) Order {
	switch {
	case aCoversB && bCoversA:
		return Equal
	case bCoversA:
		return Before
	case aCoversB:
		return After
	}
	return Concurrent
}

// CompareContexts returns how a relates to b.
func CompareContexts(a, b *Context) Order {
	return orderOf(a.CoversAll(b), b.CoversAll(a))
}

// Reset makes c cover nothing and keeps its memory.
func (c *Context) Reset() {
	c.Floor = 0
	c.Entries = c.Entries[:0]
	c.Dots = c.Dots[:0]
}

// Set makes c a copy of d.
func (c *Context) Set(d *Context) {
	c.Floor = d.Floor
	c.Entries = append(c.Entries[:0], d.Entries...)
	c.Dots = append(c.Dots[:0], d.Dots...)
}

// Empty reports whether c covers nothing.
func (c *Context) Empty() bool {
	return c.Floor == 0 && len(c.Entries) == 0 && len(c.Dots) == 0
}

// Covers reports whether the event d is among what c has seen.
func (c *Context) Covers(d Dot) bool {
	return c.vectorCovers(d) || len(c.Dots) > 0 && slices.Contains(c.Dots, d)
}

// vectorCovers reports whether d and everything of its node before it are among
// what c has seen.
func (c *Context) vectorCovers(d Dot) bool {
	if d.Time <= c.Floor {
		return true
	}
	i, found := c.find(d.Node)
	return found && d.Time <= c.Entries[i].Time
}

// CoversAll reports whether c has seen everything that d has.
func (c *Context) CoversAll(d *Context) bool {
	if d.Floor > c.Floor {
		return false
	}
	for _, e := range d.Entries {
		if !c.vectorCovers(e) {
			return false
		}
	}
	for _, e := range d.Dots {
		if !c.Covers(e) {
			return false
		}
	}
	return true
}

// Newest returns the time of the newest event c has seen, zero for none. A
// writer that has seen c observes it before it takes its own timestamp.
func (c *Context) Newest() hlc.Timestamp {
	newest := c.Floor
	for i := range c.Entries {
		newest = max(newest, c.Entries[i].Time)
	}
	if n := len(c.Dots); n > 0 {
		newest = max(newest, c.Dots[n-1].Time)
	}
	return newest
}

// Add makes c cover d and everything of its node before it.
func (c *Context) Add(d Dot) {
	if d.Time <= c.Floor {
		return
	}
	i, found := c.find(d.Node)
	if !found {
		c.Entries = slices.Insert(c.Entries, i, d)
	} else {
		c.Entries[i].Time = max(c.Entries[i].Time, d.Time)
	}
	c.pruneDots()
}

// Join makes c cover what d covers too.
func (c *Context) Join(d *Context) {
	if d.Floor > c.Floor {
		c.raiseFloor(d.Floor)
	}
	for _, e := range d.Entries {
		c.Add(e)
	}
	for _, e := range d.Dots {
		c.addDot(e)
	}
}

// Bound drops the oldest entries until at most limit are left, and returns how
// many it dropped. The floor rises to what was dropped, so c covers no less
// than before: a dropped entry never brings a sibling back. It covers more,
// namely events of other nodes that are as old, which is why only a write event
// bounds its context, and merging never does.
func (c *Context) Bound(limit int) (dropped int) {
	before := len(c.Entries)
	for len(c.Entries) > limit {
		c.raiseFloor(slices.MinFunc(c.Entries, Dot.Compare).Time)
	}
	return before - len(c.Entries)
}

// raiseFloor sets the floor and removes the entries it makes redundant.
func (c *Context) raiseFloor(floor hlc.Timestamp) {
	c.Floor = floor
	kept := c.Entries[:0]
	for _, e := range c.Entries {
		if e.Time > floor {
			kept = append(kept, e)
		}
	}
	c.Entries = kept
	c.pruneDots()
}

// find returns the index of node's entry, or where it belongs. Most contexts
// have one to three entries, for which a scan is fastest.
func (c *Context) find(node Incarnation) (index int, found bool) {
	for i := range c.Entries {
		if c.Entries[i].Node >= node {
			return i, c.Entries[i].Node == node
		}
	}
	return len(c.Entries), false
}
