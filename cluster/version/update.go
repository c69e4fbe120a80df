package version

import (
	"errors"
	"fmt"
	"math"
)

const (
	// MaxEntries bounds a context after a write event. A key is written by its
	// N replicas and some fallbacks, so more are incarnations long gone.
	MaxEntries = 32
	// MaxClientSiblings bounds the siblings that clients may make of one key.
	// More come from writers that never read. Merging ignores the bound.
	MaxClientSiblings = 100
)

var (
	// ErrTooManySiblings refuses a write that would leave more than
	// MaxClientSiblings siblings.
	ErrTooManySiblings = errors.New("too many concurrent values of one key: read and merge them first")
	// ErrStaleDot refuses a write whose timestamp is not later than everything
	// it has seen, because replicas would take it for already replaced. The
	// writer's clock observes Newest first.
	ErrStaleDot = errors.New("timestamp of a write is not later than what it has seen")
	// ErrOverflow refuses an increment that a node's sum of increments cannot hold.
	ErrOverflow = errors.New("increment would overflow")
	// ErrBadSibling refuses a sibling without a kind or with a negative deadline.
	ErrBadSibling = errors.New("not a value of a key")
)

// Update makes o what it is after the write event dot: the siblings that ctx
// covers are replaced by s. A nil ctx is everything o holds; the zero Context
// is concurrent with everything. s takes the dot given and may share its value
// with the caller. On an error o and ctx are unchanged.
//
// A ctx, which must not be o's own, becomes what its holder has seen now: what it
// covered before and this event, but none of the siblings that remain beside it.
//
// Dots are issued by the node that stores o, while it holds the key's lock, and
// o is what that node has stored: the context then claims nothing unseen.
//
// Update returns how many entries it dropped to bound the context, for a metric.
func (o *Object) Update(dot Dot, ctx *Context, s Sibling) (dropped int, err error) {
	if err := o.checkDot(dot, ctx); err != nil {
		return 0, err
	}
	if err := s.normalize(); err != nil {
		return 0, err
	}
	s.Dot = dot
	if ctx == nil {
		clear(o.Siblings)
		o.Siblings = append(o.Siblings[:0], s)
		return o.seen(dot), nil
	}
	if o.countUnseen(ctx) >= MaxClientSiblings {
		return 0, ErrTooManySiblings
	}
	all, before := ctx.CoversAll(&o.Context), o.Context.last(dot.Node)
	kept := o.Siblings[:0]
	for _, sibling := range o.Siblings {
		if !ctx.Covers(sibling.Dot) {
			kept = append(kept, sibling)
		}
	}
	// The new dot is later than all others, so its place is the end.
	o.Siblings = append(kept, s)
	o.Context.Join(ctx)
	dropped = o.seen(dot)
	if all {
		ctx.Set(&o.Context)
	} else {
		ctx.wrote(dot, before)
	}
	return dropped, nil
}

// Increment adds delta to the increments of dot's node, which are one counter
// sibling that only increments of this node and writes that saw it replace. The
// key's deadline becomes the one given. On an error o is unchanged.
//
// An increment of a key that does not exist, or has expired, is an Update with
// a Counter instead: it replaces what is there.
func (o *Object) Increment(dot Dot, delta, deadline int64) (dropped int, err error) {
	if err := o.checkDot(dot, nil); err != nil {
		return 0, err
	}
	s := Sibling{Dot: dot, Kind: Counter, Delta: delta, Deadline: deadline}
	if err := s.normalize(); err != nil {
		return 0, err
	}
	own := -1
	for i := range o.Siblings {
		if o.Siblings[i].Kind == Counter && o.Siblings[i].Node == dot.Node {
			own = i
		}
	}
	if own >= 0 {
		sum, ok := addInt64(o.Siblings[own].Delta, delta)
		if !ok {
			return 0, ErrOverflow
		}
		s.Delta = sum
		copy(o.Siblings[own:], o.Siblings[own+1:])
		o.Siblings = o.Siblings[:len(o.Siblings)-1]
	}
	o.Siblings = append(o.Siblings, s)
	return o.seen(dot), nil
}

// seen adds the event to the context and bounds it.
func (o *Object) seen(dot Dot) (dropped int) {
	o.Context.Add(dot)
	o.Context.forgetDots(MaxDots)
	if len(o.Context.Entries) <= MaxEntries {
		return 0
	}
	return o.Context.Bound(MaxEntries)
}

// checkDot refuses a dot that is not later than all that the event has seen.
func (o *Object) checkDot(dot Dot, ctx *Context) error {
	newest := o.Context.Newest()
	if ctx != nil {
		newest = max(newest, ctx.Newest())
	}
	if dot.Time <= newest {
		return fmt.Errorf("%w: %v after %v", ErrStaleDot, dot.Time, newest)
	}
	return nil
}

// countUnseen returns how many siblings ctx does not cover.
func (o *Object) countUnseen(ctx *Context) (n int) {
	for i := range o.Siblings {
		if !ctx.Covers(o.Siblings[i].Dot) {
			n++
		}
	}
	return n
}

// normalize clears what a kind does not carry, so that equal siblings are equal
// in every field.
func (s *Sibling) normalize() error {
	if s.Deadline < 0 {
		return fmt.Errorf("%w: deadline %d", ErrBadSibling, s.Deadline)
	}
	switch s.Kind {
	case String:
		s.Delta = 0
	case Counter:
		s.Value = nil
	case Tombstone:
		s.Value, s.Delta, s.Deadline = nil, 0, 0
	default:
		return fmt.Errorf("%w: kind %d", ErrBadSibling, s.Kind)
	}
	return nil
}

// addInt64 returns a+b and whether 64 bits hold it.
func addInt64(a, b int64) (sum int64, ok bool) {
	if (b > 0 && a > math.MaxInt64-b) || (b < 0 && a < math.MinInt64-b) {
		return 0, false
	}
	return a + b, true
}
