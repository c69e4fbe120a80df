package storage

import (
	"bytes"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/storage/compaction"
	"kvstore/storage/manifest"
	"kvstore/storage/sstable"
)

// Damage is told of by Options.OnDamage.
type Damage struct {
	// Err names the file, the offset and what does not hold.
	Err *CorruptError
	// Lost are the ranges of keys of which records are lost; see DB.Lost. It is empty when nothing was lost.
	Lost []Range
}

// doctor mends tables that somebody found damaged: what can be read of one is written again, the rest becomes a mark in
// the manifest (see lostSet), and the damaged file is kept in the quarantine.
//
// The damaged table stays in the tree until then: whoever reads it gets the error of the block that is damaged.
type doctor struct {
	signal
	mu sync.Mutex
	// found are the damaged tables' numbers with the error they were found by; it stands under mu.
	found map[uint64]*CorruptError

	// noticed counts damage by what it was found in, tables those that were mended, ranges what was lost in them.
	noticed, tables, ranges atomic.Int64
}

// noticeDamage passes on an error of reading. It is cheap, takes no lock unless a table is damaged, and may be called by
// readers.
func (d *DB) noticeDamage(err error) {
	if err == nil {
		return
	}
	damage, ok := errors.AsType[*CorruptError](err)
	if !ok {
		return
	}
	base := filepath.Base(damage.File)
	number, parsed := strconv.ParseUint(strings.TrimSuffix(base, ".sst"), 10, 64)
	if parsed != nil || base != tableName(number) {
		return
	}
	h := &d.doctor
	h.mu.Lock()
	_, known := h.found[number]
	if !known {
		if h.found == nil {
			h.found = map[uint64]*CorruptError{}
		}
		h.found[number] = damage
	}
	h.mu.Unlock()
	if !known {
		h.noticed.Add(1)
		d.logger.Error().Err(damage).Msg("damage was found in a table")
		h.kick()
	}
}

// waiting returns the tables that are to be mended.
func (h *doctor) waiting() map[uint64]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.found) == 0 {
		return nil
	}
	numbers := make(map[uint64]bool, len(h.found))
	for n := range h.found {
		numbers[n] = true
	}
	return numbers
}

// doctorRetry is how long the doctor waits for a table that a compaction is working on, or for the disk.
const doctorRetry = time.Second

// runDoctor is the doctor's goroutine.
func (d *DB) runDoctor() {
	h := &d.doctor
	for {
		select {
		case <-h.c:
		case <-d.quit:
			return
		}
		for d.treatAll() {
			select {
			case <-time.After(doctorRetry):
			case <-d.quit:
				return
			}
		}
	}
}

// treatAll treats what was found and reports whether some of it has to wait.
func (d *DB) treatAll() (later bool) {
	h := &d.doctor
	h.mu.Lock()
	numbers := make([]uint64, 0, len(h.found))
	for n := range h.found {
		numbers = append(numbers, n)
	}
	h.mu.Unlock()
	for _, n := range numbers {
		done, err := d.treat(n)
		switch {
		case errors.Is(err, ErrClosed):
			return false
		case err != nil:
			d.logger.Error().Err(err).Uint64("table", n).Msg("a damaged table cannot be mended yet")
			later = true
		case !done:
			later = true
		default:
			h.mu.Lock()
			delete(h.found, n)
			h.mu.Unlock()
			d.compactor.kick() // it may take the table now
		}
	}
	return later
}

// treat mends one table. It is not done when somebody else works on the table.
func (d *DB) treat(number uint64) (done bool, err error) {
	c := &d.compactor
	c.mu.Lock()
	s := d.acquire()
	if s == nil {
		c.mu.Unlock()
		return false, ErrClosed
	}
	defer s.release()
	t, level := s.version.placed(number)
	if t == nil || c.busy[number] || d.WriteError() != nil {
		c.mu.Unlock()
		return t == nil, nil
	}
	c.busy[number] = true
	c.mu.Unlock()
	err = d.mendTable(s, t, level)
	c.mu.Lock()
	delete(c.busy, number)
	c.idle.Broadcast()
	c.mu.Unlock()
	d.compactor.kick()
	return err == nil, err
}

// placed returns the version's table with that number, and its level.
func (v *version) placed(number uint64) (*table, int) {
	for level, tables := range v.levels {
		for _, t := range tables {
			if t.Number == number {
				return t, level
			}
		}
	}
	return nil, 0
}

// mendTable replaces a table by what can be read of it, and marks the rest as lost.
func (d *DB) mendTable(s *readState, t *table, level int) error {
	b := builder{db: d, level: level, cutter: compaction.NewCutter(&compaction.Plan{}, d.options.TableSize)}
	walk := t.reader.NewSalvage()
	tables, err := b.build(walk, d.sieve(s, s.version.flushed, false), d.quit)
	if closed := walk.Close(); err == nil {
		err = closed
	}
	if err != nil {
		d.dropTables(tables)
		return err
	}
	d.doctor.mu.Lock()
	damage := Damage{Err: d.doctor.found[t.Number]}
	d.doctor.mu.Unlock()
	if len(walk.Lost) == 0 {
		// What leads to the records, and lies in memory since the table was opened, may still be damaged where it is stored.
		if err := t.reader.Verify(); !IsCorrupt(err) {
			d.dropTables(tables)
			if err == nil {
				d.logger.Warn().Err(damage.Err).Msg("the damaged table reads well now: the damage was not on the disk, or not for long")
			}
			return err
		}
		d.logger.Warn().Err(damage.Err).Msg("all records of the damaged table can be read, and are written anew")
	}
	c := change{edit: manifest.Edit{Removed: []uint64{t.Number}}, added: tables}
	for _, l := range walk.Lost {
		c.edit.Marks = append(c.edit.Marks, d.mark(l.Lo, l.Hi, t.MaxSeq))
		damage.Lost = append(damage.Lost, Range{l.Lo, l.Hi})
	}
	d.setAside(t.Number)
	if err := d.apply(c); err != nil {
		return err
	}
	d.tellDamage(t.Table, damage, walk.Lost)
	return nil
}

// tellDamage logs, counts and reports what was lost of a table.
func (d *DB) tellDamage(m manifest.Table, damage Damage, lost []sstable.Lost) {
	d.doctor.tables.Add(1)
	d.doctor.ranges.Add(int64(len(damage.Lost)))
	for i, r := range damage.Lost {
		e := d.logger.Error().Uint64("table", m.Number).Hex("from", r.Lo).Hex("to", r.Hi)
		if i < len(lost) {
			e = e.Err(lost[i].Damage)
		}
		e.Msg("records are lost to damage; reads of these keys are left to other replicas until they are refilled")
	}
	if d.options.OnDamage != nil {
		d.options.OnDamage(damage)
	}
}

// loseTable makes the tree go on without a table that cannot be opened at all. It is for the time before the tree is
// published: the manifest that Open writes has the outcome.
func (d *DB) loseTable(m manifest.Table, damage *CorruptError) {
	d.setAside(m.Number)
	sum := d.tree.sum
	delete(sum.Tables, m.Number)
	mark := d.mark(m.Smallest, append(bytes.Clone(m.Largest), 0), m.MaxSeq)
	sum.Marks[mark.ID] = mark
	d.doctor.noticed.Add(1)
	d.logger.Error().Err(damage).Msg("a table cannot be opened; the engine goes on without it")
	d.tellDamage(m, Damage{Err: damage, Lost: []Range{{mark.Lo, mark.Hi}}}, nil)
}
