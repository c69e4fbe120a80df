package storage

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/storage/compaction"
	"kvstore/storage/entry"
	"kvstore/storage/manifest"
	"kvstore/storage/sstable"
	"kvstore/storage/vfs"
)

// compactor is what the compaction workers share.
type compactor struct {
	signal
	mu sync.Mutex
	// busy are the numbers of the tables that a running job has for input; it stands under mu. A job's outcome is
	// published before its tables are taken out.
	busy map[uint64]bool
	// idle tells waiters that tables were taken out of busy.
	idle sync.Cond
	// stuck says that the last compaction failed, so that flushes must not wait for the next.
	stuck atomic.Bool
}

func (c *compactor) init() {
	c.signal = newSignal()
	c.busy = map[uint64]bool{}
	c.idle.L = &c.mu
}

// job is work on the tree: a picked compaction, or one for the sake of a range deletion. Without inputs it only forgets
// the range deletions in unranged.
type job struct {
	inputs   []*table
	level    int // of the first inputs
	upper    int // how many of the inputs are of that level; the others are of output
	output   int
	bottom   bool
	move     bool
	paced    bool // nobody waits for it
	discard  bool // the inputs hold nothing that anyone can see
	cutter   compaction.Cutter
	unranged []uint64
}

// chooser finds a job among tables; those in busy are not for it.
type chooser func(s *readState, l compaction.Levels) (*job, bool)

// compactionRetry is how long a worker rests after a failure that is not a full disk, such as a damaged table.
const compactionRetry = 30 * time.Second

// runCompactor is one worker's goroutine.
func (d *DB) runCompactor() {
	retry := time.NewTimer(compactionRetry)
	defer retry.Stop()
	for {
		for d.compactOnce() {
		}
		select {
		case <-d.compactor.c:
		case <-retry.C:
		case <-d.quit:
			return
		}
		retry.Reset(compactionRetry)
	}
}

// compactOnce runs the most urgent job and reports whether there may be another.
func (d *DB) compactOnce() bool {
	if d.closing() || d.WriteError() != nil {
		return false
	}
	ran, err := d.runJob(d.chooseUrgent)
	if err != nil && !errors.Is(err, ErrClosed) {
		d.metrics.compactionErrors.Add(1)
		d.compactor.stuck.Store(true)
		select {
		case <-d.compactor.c: // else the kick that this job began with ends the rest at once
		default:
		}
		d.logger.Error().Err(err).Msg("compaction failed")
		d.flusher.kick()
	}
	return ran && err == nil
}

// runJob chooses a job and runs it; ran is false when there is none.
func (d *DB) runJob(choose chooser) (ran bool, err error) {
	c := &d.compactor
	c.mu.Lock()
	// The state is taken under the mutex: it must show the outcome of every job whose tables are not busy any more.
	s := d.acquire()
	if s == nil {
		c.mu.Unlock()
		return false, ErrClosed
	}
	j, ok := choose(s, c.describe(s.version, d.doctor.waiting()))
	if ok {
		for _, t := range j.inputs {
			c.busy[t.Number] = true
		}
	}
	c.mu.Unlock()
	if !ok {
		s.release()
		return false, nil
	}
	c.kick() // Another worker may find work beside this one.
	s = s.onTables()
	err = d.perform(j, s)
	s.release()
	c.mu.Lock()
	for _, t := range j.inputs {
		delete(c.busy, t.Number)
	}
	c.idle.Broadcast()
	c.mu.Unlock()
	if err == nil {
		c.stuck.Store(false)
		d.flusher.kick()
	}
	return true, err
}

// describe returns the version as the picker wants it, with the tables that wait for the doctor as busy ones: to compact
// them would fail again and again, and keep the doctor from them. The caller holds mu.
func (c *compactor) describe(v *version, ill map[uint64]bool) compaction.Levels {
	l := make(compaction.Levels, levels)
	for level, tables := range v.levels {
		for _, t := range tables {
			l[level] = append(l[level], compaction.File{
				Num: t.Number, Size: t.Size, Smallest: t.Smallest, Largest: t.Largest, MaxSeq: t.MaxSeq,
				Entries: t.Entries, Deletes: t.Deletes, Busy: c.busy[t.Number] || ill[t.Number],
			})
		}
	}
	return l
}

// chooseUrgent prefers what gives room back at no cost, then the picker's choice, then rewriting tables for range
// deletions.
func (d *DB) chooseUrgent(s *readState, l compaction.Levels) (*job, bool) {
	if j, ok := d.chooseCovered(s, l); ok {
		return j, true
	}
	if p, ok := compaction.Pick(l, d.shape()); ok {
		j := d.jobOf(s.version, &p)
		j.paced = true
		return j, true
	}
	return d.chooseRewrite(s, l)
}

// chooseAll is chooseUrgent for an operator's compaction, which merges everything.
func (d *DB) chooseAll(s *readState, l compaction.Levels) (*job, bool) {
	if j, ok := d.chooseCovered(s, l); ok {
		return j, true
	}
	if p, ok := compaction.PickAll(l, d.shape()); ok {
		return d.jobOf(s.version, &p), true
	}
	return d.chooseRewrite(s, l)
}

func (d *DB) shape() compaction.Options {
	o := &d.options
	return compaction.Options{L0Trigger: o.L0Trigger, BaseBytes: o.LevelSize, TableBytes: o.TableSize, Ratio: int64(o.LevelRatio)}
}

func (d *DB) jobOf(v *version, p *compaction.Plan) *job {
	j := &job{
		level: p.Level, upper: len(p.Inputs), output: p.Output, bottom: p.Bottom, move: p.Move,
		cutter: compaction.NewCutter(p, d.options.TableSize),
	}
	j.inputs = append(tablesOf(v.levels[p.Level], p.Inputs), tablesOf(v.levels[p.Output], p.Overlaps)...)
	return j
}

// tablesOf returns the tables that the picker's files describe.
func tablesOf(tables []*table, files []compaction.File) []*table {
	var found []*table
	for i := range files {
		at := slices.IndexFunc(tables, func(t *table) bool { return t.Number == files[i].Num })
		found = append(found, tables[at])
	}
	return found
}

// perform runs a job against the state it was chosen from.
func (d *DB) perform(j *job, s *readState) error {
	began := time.Now()
	c := change{edit: manifest.Edit{Unranged: j.unranged}}
	if j.move {
		c.moved, c.movedTo = j.inputs[0], j.output
	}
	var read int64
	for _, t := range j.inputs {
		c.edit.Removed = append(c.edit.Removed, t.Number)
		read += t.Size
	}
	b := builder{db: d, level: j.output, cutter: j.cutter}
	if j.paced {
		b.pacer = newPacer(d)
	}
	if len(j.inputs) > 0 && !j.move && !j.discard {
		it := compaction.NewMerge(j.iterators()...)
		tables, err := b.build(it, d.sieve(s, s.version.flushed, j.bottom), d.quit)
		if closed := it.Close(); err == nil && closed != nil {
			d.dropTables(tables)
			err = closed
		}
		if err != nil {
			if vfs.IsFull(err) {
				return d.refuse(err)
			}
			// Anything else, a damaged input above all, is no reason to refuse writes: the tree stays as it was.
			d.noticeDamage(err)
			return err
		}
		c.added = tables
		d.metrics.compactionRead.Add(read)
		d.metrics.compactionWrites.Add(b.bytes)
	}
	if err := d.apply(c); err != nil {
		return err
	}
	if len(c.added) > 0 && j.level == 0 && j.output > 0 {
		d.drained(j.inputs[:j.upper], time.Since(began))
	}
	d.metrics.compactions.Add(1)
	d.logger.Debug().Int("level", j.level).Int("output", j.output).Int("tables", len(j.inputs)).
		Int64("read", read).Int64("written", b.bytes).Bool("moved", j.move).Msg("compacted")
	return nil
}

// iterators returns the iterators over the inputs: one a table of level 0, one a level of the others.
func (j *job) iterators() []entry.Iterator {
	var all []entry.Iterator
	upper, lower := j.inputs[:j.upper], j.inputs[j.upper:]
	if j.level == 0 {
		for _, t := range upper {
			all = append(all, t.reader.NewScanIter())
		}
	} else {
		all = append(all, &levelIter{tables: upper, scan: true})
	}
	if len(lower) > 0 {
		all = append(all, &levelIter{tables: lower, scan: true})
	}
	return all
}

// sieve is a filter of records, and up to which range deletion it leaves nothing behind.
type sieve struct {
	*compaction.Filter
	// clean is the newest range deletion such that what it and older ones cover is dropped altogether.
	clean uint64
}

// sieve returns the sieve that keeps what readers of now and later can see, open snapshots included. Range deletions
// count up to the sequence number upTo: those of which the manifest does not know yet may be lost with the log, and
// what they hide must then be there.
func (d *DB) sieve(s *readState, upTo uint64, bottom bool) sieve {
	snapshots := d.openSnapshots()
	var ranges []sstable.RangeDel
	clean := uint64(0)
	for _, r := range s.ranges.list() {
		if r.Seq > upTo {
			break
		}
		ranges = append(ranges, sstable.RangeDel{Lo: r.Lo, Hi: r.Hi, Seq: r.Seq})
		if len(snapshots) == 0 || r.Seq <= snapshots[0] {
			clean = r.Seq
		}
	}
	return sieve{compaction.NewFilter(snapshots, bottom, ranges), clean}
}

// Compact merges everything into the lowest level with data and waits until that is done. Writes go on, and what they
// add meanwhile is not waited for.
func (d *DB) Compact() error {
	if err := d.Flush(); err != nil {
		return err
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.background.Done()
	for {
		ran, err := d.runJob(d.chooseAll)
		if err != nil {
			return err
		}
		if !ran && !d.compactor.waitForOthers() {
			return nil
		}
	}
}

// waitForOthers waits until a running job ends; it is false when there is none.
func (c *compactor) waitForOthers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.busy) == 0 {
		return false
	}
	c.idle.Wait()
	return true
}

// overlapsRange reports whether the table's bounds meet [lo, hi).
func (t *table) overlapsRange(lo, hi []byte) bool {
	return bytes.Compare(t.Smallest, hi) < 0 && bytes.Compare(lo, t.Largest) <= 0
}
