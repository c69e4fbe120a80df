package storage

import (
	"fmt"
	"io"
	"slices"
	"time"

	"kvstore/storage/corrupt"
	"kvstore/storage/wal"
)

// replay brings what the logs hold from the manifest's on into tables. Three goroutines do it side by side: one reads
// records and verifies them (readAhead), the replay's own puts them into a memtable, in order, and one writes the memtable
// before to a table. So there are two memtables at most, fewer than writers may fill later on.
type replay struct {
	db *DB
	// last is the last sequence number in tables or replayed.
	last uint64
	// builder belongs to the goroutine that writes a table, while there is one, and result gets its outcome.
	builder builder
	writing bool
	result  chan error
	// inMemory has what is replayed stay in memory, because the disk has no room for tables of it: held are the memories, one
	// a log, newest first, which are flushed when there is room. log is the one being replayed.
	inMemory bool
	held     []*memory
	log      uint64

	progress progress
}

func newReplay(d *DB) *replay {
	return &replay{db: d, last: d.tree.sum.Flushed, builder: builder{db: d}, result: make(chan error, 1)}
}

// run replays the logs with the given numbers, ascending, up to the end or to a torn tail.
func (r *replay) run(numbers []uint64) error {
	first := r.db.tree.sum.Log
	numbers = slices.DeleteFunc(slices.Clone(numbers), func(n uint64) bool { return n < first })
	if first != 0 && (len(numbers) == 0 || numbers[0] != first) {
		return &CorruptError{File: r.db.name(logName(first)), Reason: "the log is missing"}
	}
	if err := r.progress.begin(r.db, numbers); err != nil {
		return err
	}
	r.inMemory = r.noRoom()
	err := r.replay(numbers)
	if err == nil {
		r.hold()
		err = r.spill(0)
	}
	if failed := r.wait(); err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	r.progress.end(r.db)
	return nil
}

// replay inserts what is read of the logs, up to the end or to a torn tail.
func (r *replay) replay(numbers []uint64) error {
	ahead := r.db.readAhead(numbers)
	defer ahead.stop()
	for part := range ahead.parts {
		for i := range part.records {
			if more, err := r.record(&part, i, numbers); err != nil || !more {
				return err
			}
		}
		r.progress.add(r.db, part.bytes)
		switch {
		case part.end == nil, part.end == io.EOF:
		case IsCorrupt(part.end) && part.log != nil:
			tail, err := part.log.Tail()
			if err != nil {
				return err
			}
			return r.cut(tail, after(numbers, part.number), part.end)
		default:
			return part.end
		}
		ahead.done(part)
	}
	return nil
}

// after returns the numbers behind number.
func after(numbers []uint64, number uint64) []uint64 {
	return numbers[slices.Index(numbers, number)+1:]
}

// record inserts one record. There is more behind it unless the logs are cut before it.
func (r *replay) record(part *logPart, i int, numbers []uint64) (more bool, err error) {
	d, record, at := r.db, &part.records[i], part.offsets[i]
	name := d.name(logName(part.number))
	if record.First > r.last+1 {
		missing := corrupt.New(name, at, "the operations from %d to %d before it are missing", r.last+1, record.First-1)
		if at > wal.HeaderSize {
			return false, missing
		}
		// The end of the log before was lost whole, or all of it.
		later := append([]uint64{part.number}, after(numbers, part.number)...)
		return false, r.cut(wal.Tail{Offset: at, Short: true, Durable: record.Durable}, later, missing)
	}
	if record.First != r.last+1 || record.Format != wal.FormatOps {
		return false, corrupt.New(name, at, "a record of format %d begins with operation %d where %d is due",
			record.Format, record.First, r.last+1)
	}
	if r.log != part.number {
		r.hold()
		r.log = part.number
	}
	if r.last, err = d.insert(d.active, r.last, record.Payload); err != nil {
		return false, corrupt.New(name, at, "%v", err)
	}
	return true, r.spill(d.options.MemtableSize)
}

// cut decides about damage: nil when it is the torn end of what was never promised, so that everything from there on is
// left out.
func (r *replay) cut(tail wal.Tail, later []uint64, damage error) error {
	durable, followed := tail.Durable, false
	for _, n := range later {
		name := r.db.name(logName(n))
		l, err := wal.Open(r.db.fs, name)
		if err != nil {
			return err
		}
		for {
			record, err := l.Next()
			if err != nil {
				break // Behind the first damage more of it proves nothing.
			}
			followed = true
			durable = max(durable, record.Durable)
		}
		l.Close()
	}
	if !tail.Torn(r.last, durable, followed) {
		return damage
	}
	r.db.logger.Warn().Err(damage).Uint64("last", r.last).Msg("the log ends in a torn record and was cut at the last whole one")
	return nil
}

// spill has the replayed operations written to tables when they take more than limit bytes.
func (r *replay) spill(limit int64) error {
	d := r.db
	if r.inMemory || d.active.table.Len() == 0 || d.active.table.Bytes() <= limit {
		return nil
	}
	if err := r.wait(); err != nil {
		return err
	}
	s, full := d.acquire(), d.active
	keep := d.sieve(s, r.last, false)
	d.active = d.emptyMemory(full.sums)
	d.publish(d.active, nil, s.version, s.ranges)
	r.writing = true
	d.background.Go(func() {
		err := r.write(full, keep)
		s.release()
		d.keeper.freeMemtables()
		r.result <- err
	})
	return nil
}

// noRoom reports whether the disk may have too little room for what is to be replayed.
func (r *replay) noRoom() bool {
	free, err := r.db.fs.Free(r.db.dir)
	return err == nil && free < r.progress.total+openRoom
}

// hold makes the memory of the log before an immutable one that waits for its flush, if the replay stays in memory.
func (r *replay) hold() {
	d := r.db
	if !r.inMemory || r.log == 0 {
		return
	}
	d.active.log, d.active.last = r.log, r.last
	r.held = append([]*memory{d.active}, r.held...)
	d.active = d.emptyMemory(d.sums.newLayer())
	s := d.state.Load()
	d.publish(d.active, r.held, s.version, s.ranges)
}

// write writes a memtable to tables.
func (r *replay) write(m *memory, keep sieve) error {
	it := m.table.NewIter()
	err := r.builder.run(it, keep, nil)
	it.Close()
	if err == nil {
		err = r.builder.finish()
	}
	if err == nil {
		err = r.db.fs.SyncDir(r.db.dir)
	}
	return err
}

// wait waits for the table that is being written, if there is one.
func (r *replay) wait() error {
	if !r.writing {
		return nil
	}
	r.writing = false
	return <-r.result
}

// progress is how far the replay is, for the log and the metrics.
type progress struct {
	total, done int64
	began, told time.Time
}

// progressInterval is how often a long replay tells how far it is.
const progressInterval = time.Second

func (p *progress) begin(d *DB, numbers []uint64) error {
	p.began = time.Now()
	p.told = p.began
	for _, n := range numbers {
		info, err := d.fs.Stat(d.name(logName(n)))
		if err != nil {
			return err
		}
		p.total += max(0, info.Size-wal.HeaderSize)
	}
	return nil
}

// add counts bytes of the log as replayed.
func (p *progress) add(d *DB, bytes int64) {
	p.done += bytes
	if now := time.Now(); now.Sub(p.told) >= progressInterval {
		p.told = now
		d.logger.Info().Int64("bytes", p.done).Int64("of", p.total).Int64("bytes_per_second", p.rate(now)).Msg("replaying the log")
	}
}

func (p *progress) rate(now time.Time) int64 {
	return int64(float64(p.done) / max(now.Sub(p.began).Seconds(), 1e-3))
}

func (p *progress) end(d *DB) {
	now := time.Now()
	d.metrics.replayed.Store(p.done)
	d.metrics.replayTime.Store(int64(now.Sub(p.began)))
	if p.done > 0 {
		d.logger.Info().Int64("bytes", p.done).Dur("took", now.Sub(p.began)).Int64("bytes_per_second", p.rate(now)).Msg("the log was replayed")
	}
}
