package storage

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kvstore/storage/manifest"
)

// runFlusher writes immutable memtables to tables of level 0, oldest first.
func (d *DB) runFlusher() {
	for {
		for d.flushOldest() {
		}
		select {
		case <-d.flusher.c:
		case <-d.quit:
			return
		}
	}
}

// flushOldest flushes the oldest immutable memtable and reports whether there may be another to do at once. While
// writes are refused it waits: when a full disk has room again, the keeper kicks the flusher.
func (d *DB) flushOldest() bool {
	s := d.state.Load()
	if len(s.immutable) == 0 || d.closing() || d.WriteError() != nil {
		return false
	}
	if len(s.version.levels[0]) >= d.options.L0Stop && !d.compactor.stuck.Load() {
		// The next compaction kicks the flusher. Until then writers go on until the memtables are full too.
		d.compactor.kick()
		return false
	}
	if err := d.flush(s.immutable[len(s.immutable)-1]); err != nil {
		if errors.Is(err, ErrClosed) {
			return false
		}
		d.refuse(fmt.Errorf("flush memtable: %w", err))
		return false
	}
	return true
}

// flush writes m, the oldest immutable memtable, into the tree.
func (d *DB) flush(m *memory) error {
	began := time.Now()
	s := d.acquire()
	defer s.release()
	c := change{flushed: m, edit: manifest.Edit{Log: d.logAfter(m), Flushed: m.last}}
	for _, r := range s.ranges.list() {
		if r.Seq <= m.last && r.Seq > s.version.flushed {
			c.edit.Ranges = append(c.edit.Ranges, r)
		}
	}
	it := m.table.NewIter()
	b := builder{db: d, warm: d.flushesWarm(m.table.Len())}
	tables, err := b.build(it, d.sieve(s, m.last, false), d.quit)
	it.Close()
	if err != nil {
		return err
	}
	c.added = tables
	if err := d.apply(c); err != nil {
		return err
	}
	d.foldSums(m.sums)
	d.mu.Lock()
	d.backpressure.memtables.worked(m.table.Bytes(), time.Since(began))
	d.mu.Unlock()
	d.raiseDurable(m.last)
	d.keeper.remove(d.name(logName(m.log)))
	d.metrics.flushes.Add(1)
	d.metrics.flushBytes.Add(b.bytes)
	d.logger.Debug().Int64("bytes", b.bytes).Dur("took", time.Since(began)).Msg("memtable flushed")
	d.compactor.kick()
	return nil
}

// flushesWarm reports whether a flush is to leave its blocks in the cache, where it takes half of that at most: what was
// written last is mostly asked for first, and would be read back block by block. But where tables were hardly read since
// the flush before, nobody asks: compactions look up an index block now and then, clients at least one block for every few
// of the records. It is for the flusher.
func (d *DB) flushesWarm(records int) bool {
	m := d.cache.Metrics()
	before := d.lookups
	d.lookups = m.Hits + m.Misses
	return d.lookups-before > uint64(records)/warmShare && d.options.MemtableSize <= d.options.CacheSize/2
}

// warmShare is how many records a flush has for each lookup since the one before, at most, to be worth the cache.
const warmShare = 16

// logAfter returns the number of the log that follows m's.
func (d *DB) logAfter(m *memory) uint64 {
	s := d.state.Load()
	for i := len(s.immutable) - 1; i > 0; i-- {
		if s.immutable[i] == m {
			return s.immutable[i-1].log
		}
	}
	return s.active.log
}

// closing reports whether Close has begun.
func (d *DB) closing() bool {
	select {
	case <-d.quit:
		return true
	default:
		return false
	}
}

// openSnapshots returns the sequence numbers of the open snapshots, ascending. A snapshot taken later sees the newest
// record of every key in what is being written, which is kept anyway.
func (d *DB) openSnapshots() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.snapshots))
}

// Flush writes everything in memory to tables and waits until that is done.
func (d *DB) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active.last == 0 && d.active.sums.corrected && d.refused == nil {
		d.mu.Unlock()
		err := d.flushCorrections()
		d.mu.Lock()
		if err != nil {
			return err
		}
	}
	if d.closed {
		return ErrClosed
	}
	if d.active.last != 0 {
		for d.refused == nil && len(d.next) == 0 {
			d.room.Wait()
		}
		if d.refused == nil && d.active.last != 0 {
			d.rotate()
		}
	}
	last := d.lastImmutable()
	for d.refused == nil && d.holds(last) {
		d.room.Wait()
	}
	return d.refused
}

// lastImmutable returns the newest immutable memory, or nil. The caller holds mu.
func (d *DB) lastImmutable() *memory {
	if immutable := d.state.Load().immutable; len(immutable) > 0 {
		return immutable[0]
	}
	return nil
}

// holds reports whether m still waits for its flush. The caller holds mu.
func (d *DB) holds(m *memory) bool {
	s := d.state.Load()
	return m != nil && s != nil && slices.Contains(s.immutable, m)
}
