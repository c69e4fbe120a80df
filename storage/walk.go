package storage

import (
	"sync"

	"kvstore/storage/compaction"
	"kvstore/storage/entry"
	"kvstore/storage/memtable"
)

// walk is the memory of an Iter: the iterators it merges and its buffers. It is used again by the next Iter, which is
// why it is not the Iter itself: that may be closed twice.
type walk struct {
	merge    compaction.Merge
	children []entry.Iterator
	// memories and levels are iterators that were made, of which the first few are in use.
	memories []*memtable.Iter
	levels   []*levelIter
	// inMemory and onDisk count those.
	inMemory, onDisk         int
	lower, upper, key, value []byte
}

// keptValue is the largest buffer for a key or value that is kept for the next walk.
const keptValue = 64 << 10

// open makes the merge one of all that may hold keys within the bounds.
func (w *walk) open(s *readState, o IterOptions) {
	w.lower, w.upper = copyBound(w.lower, o.Lower), copyBound(w.upper, o.Upper)
	w.addMemory(s.active)
	for _, m := range s.immutable {
		w.addMemory(m)
	}
	top := s.version.levels[0]
	for i := range top {
		// Tables of level 0 overlap: each is a source of its own.
		w.addTables(within(top[i:i+1], o.Lower, o.Upper))
	}
	for _, tables := range s.version.levels[1:] {
		w.addTables(within(tables, o.Lower, o.Upper))
	}
	w.merge.Reset(w.children)
}

// copyBound returns a copy of a bound, in dst if it can be; nil stays nil, and an empty bound is not nil.
func copyBound(dst, bound []byte) []byte {
	if bound == nil {
		return nil
	}
	if dst == nil {
		dst = make([]byte, 0, len(bound))
	}
	return append(dst[:0], bound...)
}

func (w *walk) addMemory(m *memory) {
	if w.inMemory == len(w.memories) {
		w.memories = append(w.memories, &memtable.Iter{})
	}
	it := w.memories[w.inMemory]
	w.inMemory++
	it.Reset(m.table)
	w.children = append(w.children, it)
}

// addTables adds tables that follow each other.
func (w *walk) addTables(tables []*table) {
	if len(tables) == 0 {
		return
	}
	if w.onDisk == len(w.levels) {
		w.levels = append(w.levels, &levelIter{})
	}
	l := w.levels[w.onDisk]
	w.onDisk++
	if len(tables) == 1 {
		// One table needs nobody to go on to the next.
		l.own.Reset(tables[0].reader)
		w.children = append(w.children, &l.own)
		return
	}
	l.tables = tables
	w.children = append(w.children, l)
}

// close closes the iterators and lets go of everything but memory.
func (w *walk) close() error {
	err := w.merge.Close()
	for _, l := range w.levels[:w.onDisk] {
		l.own.Reset(nil)
		l.tables, l.at, l.it, l.err = nil, 0, nil, nil
	}
	clear(w.children)
	w.children, w.inMemory, w.onDisk = w.children[:0], 0, 0
	if cap(w.key) > keptValue || cap(w.value) > keptValue {
		w.key, w.value = nil, nil
	}
	return err
}

// walkPool keeps walks for the next iterators.
type walkPool struct{ pool sync.Pool }

func (p *walkPool) take() *walk {
	if w, ok := p.pool.Get().(*walk); ok {
		return w
	}
	return &walk{}
}

func (p *walkPool) give(w *walk) { p.pool.Put(w) }
