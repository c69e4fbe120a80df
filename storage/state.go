package storage

import (
	"sync/atomic"

	"kvstore/storage/entry"
	"kvstore/storage/memtable"
	"kvstore/storage/sstable"
)

// memory is a memtable and what is known of its writes. The fields but table stand under DB.mu until the memory is
// immutable.
type memory struct {
	table *memtable.Table
	// log is the number of the log that holds the same operations.
	log uint64
	// last is the sequence number of the last operation, 0 while there is none.
	last uint64
	// sums are the changes of the sums that its operations told.
	sums *memorySums
	// refs counts the read states that hold the memory. The last one to go takes the table with it.
	refs atomic.Int64
}

// readState is everything a reader needs, at one time: immutable but for the counting and for the writes that go on in
// the first memtable.
//
// A reader takes the state first and the visible sequence number after it. The other way round a compaction in between
// could have dropped, as superseded, the very record that the older number should see.
type readState struct {
	db *DB
	// refs counts the readers, and one for being the engine's present state. Zero is final.
	refs atomic.Int64
	// active takes the writes; immutable wait for their flush, newest first. There is neither in a state by onTables.
	active    *memory
	immutable []*memory
	version   *version
	ranges    *rangeSet
}

// acquire returns the present state, held, or nil when the engine is closed.
func (d *DB) acquire() *readState {
	for {
		s := d.state.Load()
		if s == nil || s.hold() {
			return s
		}
	}
}

// hold adds a reader unless the state is gone already.
func (s *readState) hold() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release ends a hold. The last one lets go of the version and the memtables and, with them, of tables that are in no
// other. It may be called under DB.mu.
func (s *readState) release() {
	if s.refs.Add(-1) == 0 {
		s.db.releaseVersion(s.version)
		if s.active != nil {
			s.db.releaseMemory(s.active)
		}
		for _, m := range s.immutable {
			s.db.releaseMemory(m)
		}
		s.db.states.Done()
	}
}

// onTables lets go of the state and returns another, held, of the same tables and range deletions but without memtables,
// which as long as they are in a state take memory, though they may have been flushed. It is for background work that
// takes long.
func (s *readState) onTables() *readState {
	s.version.refs.Add(1)
	s.db.states.Add(1)
	t := &readState{db: s.db, version: s.version, ranges: s.ranges}
	t.refs.Store(1)
	s.release()
	return t
}

func (d *DB) releaseVersion(v *version) {
	if v.refs.Add(-1) == 0 {
		v.all(d.releaseTable)
	}
}

func (d *DB) releaseTable(t *table) {
	if t.refs.Add(-1) == 0 {
		d.keeper.discard(t)
	}
}

func (d *DB) releaseMemory(m *memory) {
	if m.refs.Add(-1) == 0 {
		d.keeper.discardMemtable(m.table)
	}
}

// publish makes the state built from the arguments the present one; it takes a hold of its own on v. The caller holds
// mu.
func (d *DB) publish(active *memory, immutable []*memory, v *version, ranges *rangeSet) {
	v.refs.Add(1)
	active.refs.Add(1)
	for _, m := range immutable {
		m.refs.Add(1)
	}
	d.states.Add(1)
	s := &readState{db: d, active: active, immutable: immutable, version: v, ranges: ranges}
	s.refs.Store(1)
	d.backpressure.look(s)
	d.owe(float64(len(immutable)))
	if old := d.state.Swap(s); old != nil {
		old.release()
	}
}

// acquireAt returns the present state, held, and a sequence number that belong together: the state has every range
// deletion up to it.
func (d *DB) acquireAt() (*readState, uint64, error) {
	for {
		s := d.acquire()
		if s == nil {
			return nil, 0, ErrClosed
		}
		seq := d.visible.Load()
		if d.state.Load() == s {
			return s, seq, nil
		}
		s.release()
	}
}

// get looks key up as of seq, newest place first, and appends the value to dst. Without io it gives up, not ready,
// where a block would have to be read.
func (s *readState) get(dst, key []byte, seq uint64, io bool) (value []byte, found, ready bool, err error) {
	deleted := s.ranges.newest(key, seq)
	if s.version.lost != nil {
		if lost := s.version.lost.of(key); lost > deleted {
			return s.getAmid(dst, key, seq, deleted, lost, io)
		}
	}
	if v, kind, at, ok := s.active.table.Get(key, seq); ok {
		return appendLive(dst, v, kind, at, deleted)
	}
	for _, m := range s.immutable {
		if v, kind, at, ok := m.table.Get(key, seq); ok {
			return appendLive(dst, v, kind, at, deleted)
		}
	}
	probe := sstable.NewProbe(key)
	for _, t := range s.version.levels[0] {
		if t.reader.TurnsAway(probe) || t.MaxSeq < deleted || !t.mayHold(key) {
			continue
		}
		v, live, known, ready, err := t.get(dst, key, seq, deleted, io)
		if known || !ready || err != nil {
			s.db.noticeDamage(err)
			return v, live, ready, err
		}
		s.db.metrics.filterMisses.Add(1)
	}
	for level := 1; level < levels; level++ {
		t := s.version.find(level, key)
		if t == nil || t.MaxSeq < deleted || t.reader.TurnsAway(probe) {
			continue
		}
		v, live, known, ready, err := t.get(dst, key, seq, deleted, io)
		if known || !ready || err != nil {
			s.db.noticeDamage(err)
			return v, live, ready, err
		}
		s.db.metrics.filterMisses.Add(1)
	}
	return dst, false, true, nil
}

// appendLive appends the value of the newest record of a key to dst unless the record is a deletion or deleted by a
// range.
func appendLive(dst, value []byte, kind entry.Kind, seq, deleted uint64) ([]byte, bool, bool, error) {
	if kind != entry.KindSet || seq < deleted {
		return dst, false, true, nil
	}
	return append(dst, value...), true, true, nil
}
