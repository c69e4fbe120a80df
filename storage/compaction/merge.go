package compaction

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"kvstore/storage/entry"
)

var _ entry.Iterator = (*Merge)(nil)

// Merge is one ordered view of several iterators, in both directions. Of equal records, which an engine does not have, the
// one of the earlier source comes first.
type Merge struct {
	sources []source
	// heap holds those that stand on a record; heap[0] is the next in the direction of travel.
	heap    []*source
	forward bool
	err     error
	saved   []byte // the current key while its source moves
}

// source is an iterator with its present place, so that comparing needs no calls.
type source struct {
	it    entry.Iterator
	order int
	key   []byte
	seq   uint64
	// prefix is the first eight bytes of key, big endian, with zeros after its end. Tokens differ there, so it mostly decides.
	prefix uint64
}

// stand takes over the place of the iterator.
func (s *source) stand() { s.at(s.it.Key(), s.it.Seq()) }

func (s *source) at(key []byte, seq uint64) {
	s.key, s.seq = key, seq
	if len(key) >= 8 {
		s.prefix = binary.BigEndian.Uint64(key)
		return
	}
	s.prefix = 0
	for i, b := range key {
		s.prefix |= uint64(b) << (56 - 8*i)
	}
}

// NewMerge returns a view that owns the iterators: Close closes them.
func NewMerge(iters ...entry.Iterator) *Merge {
	m := &Merge{}
	m.Reset(iters)
	return m
}

// Reset makes a view that is new or closed one that owns the iterators; the slice stays the caller's.
func (m *Merge) Reset(iters []entry.Iterator) {
	m.err, m.heap, m.sources = nil, slices.Grow(m.heap[:0], len(iters)), slices.Grow(m.sources[:0], len(iters))
	for i, it := range iters {
		m.sources = append(m.sources, source{it: it, order: i})
	}
}

// First implements entry.Iterator.
func (m *Merge) First() bool {
	m.begin(true)
	for i := range m.sources {
		if s := &m.sources[i]; !m.admit(s, s.it.First()) {
			return false
		}
	}
	return m.order()
}

// Last implements entry.Iterator.
func (m *Merge) Last() bool {
	m.begin(false)
	for i := range m.sources {
		if s := &m.sources[i]; !m.admit(s, s.it.Last()) {
			return false
		}
	}
	return m.order()
}

// SeekGE implements entry.Iterator.
func (m *Merge) SeekGE(key []byte) bool {
	m.begin(true)
	for i := range m.sources {
		if s := &m.sources[i]; !m.admit(s, s.it.SeekGE(key)) {
			return false
		}
	}
	return m.order()
}

// SeekLT implements entry.Iterator.
func (m *Merge) SeekLT(key []byte) bool {
	m.begin(false)
	for i := range m.sources {
		if s := &m.sources[i]; !m.admit(s, s.it.SeekLT(key)) {
			return false
		}
	}
	return m.order()
}

// Next implements entry.Iterator.
func (m *Merge) Next() bool {
	if !m.forward && !m.turn(true) {
		return false
	}
	return m.step(m.heap[0].it.Next())
}

// Prev implements entry.Iterator.
func (m *Merge) Prev() bool {
	if m.forward && !m.turn(false) {
		return false
	}
	return m.step(m.heap[0].it.Prev())
}

// Key implements entry.Iterator.
func (m *Merge) Key() []byte { return m.heap[0].key }

// Seq implements entry.Iterator.
func (m *Merge) Seq() uint64 { return m.heap[0].seq }

// Kind implements entry.Iterator.
func (m *Merge) Kind() entry.Kind { return m.heap[0].it.Kind() }

// Value implements entry.Iterator.
func (m *Merge) Value() []byte { return m.heap[0].it.Value() }

// Err implements entry.Iterator.
func (m *Merge) Err() error { return m.err }

// Close implements entry.Iterator. It returns the first error of all.
func (m *Merge) Close() error {
	err := m.err
	for i := range m.sources {
		if e := m.sources[i].it.Close(); err == nil {
			err = e
		}
	}
	// The memory is kept for Reset, but nothing of what it held.
	clear(m.sources)
	clear(m.heap[:cap(m.heap)])
	m.sources, m.heap = m.sources[:0], m.heap[:0]
	return err
}

// begin starts the placing of all sources anew.
func (m *Merge) begin(forward bool) { m.forward, m.err, m.heap = forward, nil, m.heap[:0] }

// admit takes a source into the heap, unordered, if it stands on a record. It is false after an error.
func (m *Merge) admit(s *source, standing bool) bool {
	if !standing {
		return m.check(s)
	}
	s.stand()
	m.heap = append(m.heap, s)
	return true
}

func (m *Merge) check(s *source) bool {
	if err := s.it.Err(); err != nil {
		m.err, m.heap = err, m.heap[:0]
		return false
	}
	return true
}

// step restores the order after the first source of the heap has moved.
func (m *Merge) step(standing bool) bool {
	s := m.heap[0]
	if standing {
		s.stand()
	} else {
		if !m.check(s) {
			return false
		}
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	if len(m.heap) == 0 {
		return false
	}
	m.sift(0)
	return true
}

// turn changes the direction: every source but the current goes to its nearest record on the other side of the current one.
func (m *Merge) turn(forward bool) bool {
	current := m.heap[0]
	m.saved = append(m.saved[:0], current.key...)
	here := source{order: current.order}
	here.at(m.saved, current.seq)
	m.forward, m.heap = forward, append(m.heap[:0], current)
	for i := range m.sources {
		s := &m.sources[i]
		if s == current {
			continue
		}
		standing := s.it.SeekGE(here.key)
		for standing {
			s.stand()
			if compare(s, &here) > 0 {
				break
			}
			standing = s.it.Next()
		}
		if !forward && m.check(s) {
			if standing {
				standing = s.it.Prev()
			} else {
				standing = s.it.Last()
			}
		}
		if m.err != nil || !m.admit(s, standing) {
			return false
		}
	}
	m.order()
	// The current source is the first: all others are beyond it.
	return true
}

// compare orders two records as package entry does, equal ones by source.
func compare(a, b *source) int {
	if a.prefix != b.prefix {
		return cmp.Compare(a.prefix, b.prefix)
	}
	if c := bytes.Compare(a.key, b.key); c != 0 {
		return c
	}
	switch {
	case a.seq > b.seq:
		return -1
	case a.seq < b.seq:
		return 1
	}
	return a.order - b.order
}

func (m *Merge) less(a, b *source) bool {
	if a.prefix != b.prefix {
		return (a.prefix < b.prefix) == m.forward
	}
	return (compare(a, b) < 0) == m.forward
}

// order makes the heap a heap, and reports whether anything is in it.
func (m *Merge) order() bool {
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sift(i)
	}
	return len(m.heap) > 0
}

func (m *Merge) sift(i int) {
	h := m.heap
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && m.less(h[c+1], h[c]) {
			c++
		}
		if !m.less(h[c], h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}
