package storage

import (
	"bytes"
	"slices"

	"kvstore/storage/compaction"
	"kvstore/storage/manifest"
)

// droppedShare is the part of a memtable's size from which on the tables under a range deletion are worth flushing the
// memtable for: the deletion works on tables only when the manifest has it, which may otherwise take hours.
const droppedShare = 16

// freeDropped has the memtable flushed soon when a new range deletion covers much.
func (d *DB) freeDropped(lo, hi []byte) {
	s := d.acquire()
	if s == nil {
		return
	}
	defer s.release()
	covered := int64(0)
	s.version.all(func(t *table) {
		if bytes.Compare(lo, t.Smallest) <= 0 && bytes.Compare(t.Largest, hi) < 0 {
			covered += t.Size
		}
	})
	if covered >= d.options.MemtableSize/droppedShare {
		d.keeper.dropped.Store(true)
		d.keeper.kick()
	}
}

// flushDropped rotates the memtable for the sake of range deletions. One flush at a time serves all that came
// meanwhile: the end of each kicks the keeper.
func (d *DB) flushDropped() {
	if !d.keeper.dropped.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refused != nil || len(d.next) == 0 || len(d.state.Load().immutable) > 0 {
		return
	}
	d.keeper.dropped.Store(false)
	if d.active.last != 0 {
		d.rotate()
	}
}

// chooseCovered finds tables of which a range deletion leaves nothing, or range deletions that have nothing left to
// hide.
func (d *DB) chooseCovered(s *readState, l compaction.Levels) (*job, bool) {
	snapshots := d.openSnapshots()
	var done []uint64
	for _, r := range s.ranges.list() {
		if !ripe(s, r, snapshots) {
			continue
		}
		j := job{discard: true}
		for _, f := range compaction.Covered(l, r.Lo, r.Hi, r.Seq, snapshots) {
			j.inputs = append(j.inputs, s.version.numbered(f.Num))
		}
		if len(j.inputs) > 0 {
			return &j, true
		}
		if !slices.ContainsFunc(slices.Concat(l...), func(f compaction.File) bool {
			return f.Busy || s.version.numbered(f.Num).holdsOlder(r)
		}) {
			done = append(done, r.Seq)
		}
	}
	return &job{unranged: done}, len(done) > 0
}

// chooseRewrite finds a table that holds records a range deletion hides, to be written again without them.
func (d *DB) chooseRewrite(s *readState, l compaction.Levels) (*job, bool) {
	snapshots := d.openSnapshots()
	for _, r := range s.ranges.list() {
		if !ripe(s, r, snapshots) {
			continue
		}
		for level, files := range l {
			for _, f := range files {
				if t := s.version.numbered(f.Num); !f.Busy && t.holdsOlder(r) {
					cutter := compaction.NewCutter(&compaction.Plan{}, d.options.TableSize)
					return &job{inputs: []*table{t}, level: level, upper: 1, output: level, cutter: cutter}, true
				}
			}
		}
	}
	return nil, false
}

// ripe reports whether everything older than the range deletion is in tables, the deletion itself in the manifest, and
// no snapshot sees what it hides.
func ripe(s *readState, r manifest.Range, snapshots []uint64) bool {
	if len(snapshots) > 0 && snapshots[0] < r.Seq {
		return false
	}
	// The memtables begin behind the last flushed operation.
	return s.version.flushed >= r.Seq
}

// holdsOlder reports whether the table may hold records that r hides.
func (t *table) holdsOlder(r manifest.Range) bool {
	return t.MinSeq < r.Seq && t.clean < r.Seq && t.overlapsRange(r.Lo, r.Hi)
}

// numbered returns the version's table with that number.
func (v *version) numbered(number uint64) *table {
	for _, tables := range v.levels {
		for _, t := range tables {
			if t.Number == number {
				return t
			}
		}
	}
	return nil
}
