package version

import (
	"bytes"
	"cmp"
)

// Kind says what a sibling carries.
type Kind uint8

// The kinds of siblings.
const (
	String    Kind = iota + 1 // Value
	Counter                   // Delta: the sum of one node's increments
	Tombstone                 // nothing: the key was deleted
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case String:
		return "string"
	case Counter:
		return "counter"
	case Tombstone:
		return "tombstone"
	}
	return "unknown"
}

// Sibling is one of several concurrent values.
type Sibling struct {
	Dot
	Kind     Kind
	Deadline int64 // Unix milliseconds at which it expires, 0 for never
	Value    []byte
	Delta    int64
}

// comparePayload orders what two siblings carry. Siblings of one dot carry the
// same unless something is broken, and then all replicas choose the same one.
func (s *Sibling) comparePayload(t *Sibling) int {
	return cmp.Or(
		cmp.Compare(s.Kind, t.Kind),
		cmp.Compare(s.Deadline, t.Deadline),
		cmp.Compare(s.Delta, t.Delta),
		bytes.Compare(s.Value, t.Value),
	)
}

// Object is everything a replica knows of one key: a dotted version vector
// set. The zero Object is a key never written. An Object is not safe for
// concurrent use, and is meant to be used again and again.
type Object struct {
	// Context covers every sibling's dot, and the dots of those that are gone.
	Context Context
	// Siblings are sorted by dot, so the last is the newest.
	Siblings []Sibling
}

// Reset makes o a key never written and keeps its memory.
func (o *Object) Reset() {
	o.Context.Reset()
	clear(o.Siblings) // lets go of the values
	o.Siblings = o.Siblings[:0]
}

// Set makes o a copy of p that shares its values.
func (o *Object) Set(p *Object) {
	o.Context.Set(&p.Context)
	o.Siblings = append(o.Siblings[:0], p.Siblings...)
}

// Clone returns a copy of o that shares nothing with it.
func (o *Object) Clone() *Object {
	c := new(Object)
	c.Set(o)
	for i := range c.Siblings {
		c.Siblings[i].Value = bytes.Clone(c.Siblings[i].Value)
	}
	return c
}

// Empty reports whether o is a key never written.
func (o *Object) Empty() bool { return len(o.Siblings) == 0 && o.Context.Empty() }

// Newest returns the sibling that the last-writer order puts last, nil when
// there is none.
func (o *Object) Newest() *Sibling {
	if len(o.Siblings) == 0 {
		return nil
	}
	return &o.Siblings[len(o.Siblings)-1]
}

// Has reports whether d is the dot of one of o's siblings.
func (o *Object) Has(d Dot) bool {
	_, found := o.find(d)
	return found
}

// Covers reports whether merging p into o would leave o as it is.
func (o *Object) Covers(p *Object) bool {
	if !o.Context.CoversAll(&p.Context) {
		return false
	}
	for i := range o.Siblings {
		if d := o.Siblings[i].Dot; p.Context.Covers(d) && !p.Has(d) {
			return false
		}
	}
	return true
}

// Compare returns how o relates to p: After when o covers p and not the other
// way round, and so on.
func (o *Object) Compare(p *Object) Order { return orderOf(o.Covers(p), p.Covers(o)) }

// find returns the index of the sibling with dot d, or where it belongs.
func (o *Object) find(d Dot) (index int, found bool) {
	for i := range o.Siblings {
		if c := o.Siblings[i].Dot.Compare(d); c >= 0 {
			return i, c == 0
		}
	}
	return len(o.Siblings), false
}
