package version

import (
	"slices"

	"kvstore/cluster/hlc"
)

// Exact dots are for a client that goes on writing with the contexts its writes
// returned. The node A has made the events 1 and 2 of a key; the client has seen
// 1, and its write becomes event 3:
//
//	stored at A    {A:3}          siblings (A,2), (A,3)
//	the client's   {A:1 +(A,3)}
//
// A vector {A:3} would cover (A,2), which the client has not seen, and its next
// write would drop it. So the client's context has the event it made alone. If
// it had seen all that A had made of the key, the vector says as much in less,
// and is taken.
//
// An object gets exact dots only from such a context, when it does not hold the
// event itself: it remembers that the event was replaced. They go as soon as the
// event arrives, because the vector that comes with it covers them.
//
// Both are bounded by forgetting the oldest dot, never by raising the vector: a
// context that covers less shows a value too many, one that covers more drops
// one. Little is lost with it, for a dot that a client made itself was replaced
// by its next write, which every object that knows of that write knows. Only
// Compare notices: a context that has forgotten is concurrent with the older
// one that has not.

// MaxDots bounds the exact dots after a write event, in the object and in the
// context it returns. Each costs 22 characters of a token. A client has as many
// when it has written that often without reading, beside others that did too.
const MaxDots = 32

// addDot makes c cover d and nothing else.
func (c *Context) addDot(d Dot) {
	if c.vectorCovers(d) {
		return
	}
	if i, found := slices.BinarySearchFunc(c.Dots, d, Dot.Compare); !found {
		c.Dots = slices.Insert(c.Dots, i, d)
	}
}

// pruneDots removes the dots that the vector covers.
func (c *Context) pruneDots() {
	if len(c.Dots) > 0 {
		c.Dots = slices.DeleteFunc(c.Dots, c.vectorCovers)
	}
}

// last returns the time up to which c knows of events of a node.
func (c *Context) last(node Incarnation) hlc.Timestamp {
	last := c.Floor
	if i, found := c.find(node); found {
		last = c.Entries[i].Time
	}
	for _, d := range c.Dots {
		if d.Node == node {
			last = max(last, d.Time)
		}
	}
	return last
}

// wrote makes c what its holder has seen after making the event d, at a node
// whose latest event of the key before that was at the time given. Beyond the
// bounds the oldest is forgotten.
func (c *Context) wrote(d Dot, before hlc.Timestamp) {
	if c.vectorCovers(Dot{d.Node, before}) {
		c.Add(d)
	} else {
		c.addDot(d)
	}
	c.forgetDots(MaxDots)
	for len(c.Entries) > MaxEntries {
		oldest := slices.MinFunc(c.Entries, Dot.Compare)
		c.Entries = slices.DeleteFunc(c.Entries, func(e Dot) bool { return e == oldest })
	}
}

// forgetDots forgets the oldest dots until at most limit are left.
func (c *Context) forgetDots(limit int) {
	if n := len(c.Dots) - limit; n > 0 {
		c.Dots = slices.Delete(c.Dots, 0, n)
	}
}
