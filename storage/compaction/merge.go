package compaction

import (
	"bytes"

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
}

// NewMerge returns a view that owns the iterators: Close closes them.
func NewMerge(iters ...entry.Iterator) *Merge {
	m := &Merge{sources: make([]source, len(iters)), heap: make([]*source, 0, len(iters))}
	for i, it := range iters {
		m.sources[i] = source{it: it, order: i}
	}
	return m
}

// First implements entry.Iterator.
func (m *Merge) First() bool { return m.place(true, entry.Iterator.First) }

// Last implements entry.Iterator.
func (m *Merge) Last() bool { return m.place(false, entry.Iterator.Last) }

// SeekGE implements entry.Iterator.
func (m *Merge) SeekGE(key []byte) bool {
	return m.place(true, func(it entry.Iterator) bool { return it.SeekGE(key) })
}

// SeekLT implements entry.Iterator.
func (m *Merge) SeekLT(key []byte) bool {
	return m.place(false, func(it entry.Iterator) bool { return it.SeekLT(key) })
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
	m.sources, m.heap = nil, nil
	return err
}

// place positions all sources anew.
func (m *Merge) place(forward bool, move func(entry.Iterator) bool) bool {
	m.forward, m.err, m.heap = forward, nil, m.heap[:0]
	for i := range m.sources {
		if !m.admit(&m.sources[i], move(m.sources[i].it)) {
			return false
		}
	}
	m.order()
	return len(m.heap) > 0
}

// admit takes a source into the heap, unordered, if it stands on a record. It is false after an error.
func (m *Merge) admit(s *source, standing bool) bool {
	if !standing {
		return m.check(s)
	}
	s.key, s.seq = s.it.Key(), s.it.Seq()
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
		s.key, s.seq = s.it.Key(), s.it.Seq()
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
	here := source{key: m.saved, seq: current.seq, order: current.order}
	m.forward, m.heap = forward, append(m.heap[:0], current)
	for i := range m.sources {
		s := &m.sources[i]
		if s == current {
			continue
		}
		standing := s.it.SeekGE(here.key)
		for standing {
			s.key, s.seq = s.it.Key(), s.it.Seq()
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

func (m *Merge) less(a, b *source) bool { return (compare(a, b) < 0) == m.forward }

// order makes the heap a heap.
func (m *Merge) order() {
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sift(i)
	}
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
