package storage

import (
	"slices"

	"kvstore/storage/manifest"
	"kvstore/storage/sum"
)

// begin takes the sums of the tables from the manifest. Leaves that have lost records are not exact.
func (s *sums) begin(state *manifest.State) {
	for _, m := range state.Marks {
		state.Exact = state.Exact.Without(sum.Touched(m.Lo, m.Hi))
	}
	s.flushed.Add(state.Sums)
	s.exact = state.Exact
}

// newLayer returns what a new active memory changes. The caller holds mu, or is the recovery.
func (s *sums) newLayer() *memorySums {
	m := &memorySums{}
	s.layers = append(s.layers, m)
	return m
}

// addTo adds to the edit that flushes a memory what the memory changed. The caller holds mu, and the tree's token, so that
// no edit in between says otherwise of a leaf.
func (m *memorySums) addTo(e *manifest.Edit) {
	m.settle()
	if !m.delta.Empty() {
		e.Sums = &m.delta
	}
	e.Exact, e.Inexact = m.exact, m.inexact
}

// fold makes the changes of a memory that is flushed part of the tables' sums, a page at a time: a writer waits for one
// page at most.
func (d *DB) foldSums(m *memorySums) {
	for at := range sum.Pages {
		if m.delta.Has(at) {
			d.mu.Lock()
			d.sums.flushed.Take(&m.delta, at)
			d.mu.Unlock()
		}
	}
	d.mu.Lock()
	d.sums.layers = slices.DeleteFunc(d.sums.layers, func(o *memorySums) bool { return o == m })
	d.mu.Unlock()
}

// flushCorrections makes durable what RebuildSums did to the active memory while that holds no operation of its own, so
// that there is nothing else to flush.
func (d *DB) flushCorrections() error {
	d.tree.token.take()
	defer d.tree.token.put()
	var corrections memorySums
	d.mu.Lock()
	m := d.active.sums
	m.settle()
	corrections.delta.Add(&m.delta)
	corrections.exact, corrections.inexact = m.exact, m.inexact
	m.corrected = false
	d.mu.Unlock()

	var c change
	corrections.addTo(&c.edit)
	err := d.applyHeld(&c)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		m.corrected = true
		return err
	}
	// Operations may have come meanwhile, and the memory be on its way to its own flush, which waits for the token.
	m.delta.Add(&corrections.delta)
	d.sums.flushed.Add(&corrections.delta)
	return nil
}
