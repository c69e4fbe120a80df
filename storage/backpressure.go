package storage

import (
	"math"
	"time"
)

// backpressure slows writers down before they would have to stop. When flushes or compactions do not keep up, full
// memtables and tables of level 0 pile up, and at the limit of either a writer can only wait until a flush or a compaction
// ends, which may take seconds. So from halfway to a limit on each write is charged for its bytes, at a rate that is what
// the background work was last seen to do in the middle of what is left, and falls to zero at the limit; the writer rests
// once it owes a millisecond. The backlog then settles where as much comes as goes.
//
// A writer who cannot rest where it writes, as an event loop cannot, asks Owed before, and rests elsewhere (Options.SelfPaced).
//
// It stands under DB.mu.
type backpressure struct {
	memtables, tables queue
	// on says that the present state's backlog is past where delays begin.
	on bool
	// paid is until when the writes so far have used up their time.
	paid time.Time
}

// queue is work that waits, counted in memtables: delays begin at start, writers stop at limit.
type queue struct {
	start, limit float64
	// rate is about how many bytes a second are worked off, seen whether that is not only assumed.
	rate float64
	seen bool
}

const (
	// firstRate is the rate assumed before one was seen, in bytes a second.
	firstRate = 64 << 20
	// writeOverhead is what a write is charged for beside its key and value.
	writeOverhead = 64
	// leastDelay is what a writer owes at least when it rests: shorter sleeps take longer than they should. mostDelay is
	// the longest rest, which no client notices.
	leastDelay = time.Millisecond
	mostDelay  = 20 * time.Millisecond
	// brim is how much of a memtable is left free by writers who pace themselves: they do not write over it, so what they
	// write does not wait.
	brim = 0.125
)

func newBackpressure(o *Options) backpressure {
	stop := float64(o.MaxImmutable + 1) // the active one is full too
	all := stop + float64(o.L0Stop)
	return backpressure{
		memtables: queue{start: stop / 2, limit: stop, rate: firstRate},
		tables:    queue{start: (float64(o.L0Trigger) + all) / 2, limit: all, rate: firstRate},
	}
}

// look notes whether a state that becomes the present one may need delays, whatever the active memtable holds.
func (b *backpressure) look(s *readState) {
	memtables := float64(len(s.immutable) + 1)
	b.on = memtables > b.memtables.start || memtables+float64(len(s.version.levels[0])) > b.tables.start
}

// worked notes that so many bytes of the queue took that long.
func (q *queue) worked(bytes int64, took time.Duration) {
	if bytes <= 0 || took <= 0 {
		return
	}
	rate := float64(bytes) / took.Seconds()
	switch {
	case !q.seen:
		q.rate, q.seen = rate, true
	case rate < q.rate: // too many writes are dearer than too few
		q.rate += (rate - q.rate) / 2
	default:
		q.rate += (rate - q.rate) / 4
	}
}

// drained notes that a compaction took so long to merge tables of level 0.
func (d *DB) drained(tables []*table, took time.Duration) {
	bytes := int64(0)
	for _, t := range tables {
		bytes += t.Size
	}
	d.mu.Lock()
	d.backpressure.tables.worked(bytes, took)
	d.mu.Unlock()
}

// slowness returns how long a byte may take when so much waits, in seconds; none is 0.
func (q *queue) slowness(waiting float64) float64 {
	x := min((waiting-q.start)/(q.limit-q.start), 1)
	if x <= 0 {
		return 0
	}
	// Near the limit any large number does: a rest has its own bound.
	return x / max(1-x, 1e-6) / q.rate
}

// charge charges a write of that many bytes at a time when the active memtable is filled to a part of 1, and returns how
// long the writer is to rest, if at all.
func (b *backpressure) charge(s *readState, filled float64, bytes int, now time.Time) time.Duration {
	memtables := float64(len(s.immutable)) + filled
	slowness := max(b.memtables.slowness(memtables), b.tables.slowness(memtables+float64(len(s.version.levels[0]))))
	if slowness == 0 {
		return 0
	}
	if b.paid.Before(now) {
		b.paid = now
	}
	due := min(float64(bytes+writeOverhead)*slowness, mostDelay.Seconds())
	b.paid = b.paid.Add(time.Duration(due * float64(time.Second)))
	if owed := b.paid.Sub(now); owed >= leastDelay {
		return min(owed, mostDelay)
	}
	return 0
}

// slowDown rests when the backlog says so, or notes what writers owe who rest elsewhere. The caller holds mu, which is given
// up for the rest.
func (d *DB) slowDown(bytes int) {
	if d.compactor.stuck.Load() {
		d.owed.Store(0)
		return // Level 0 grows for another reason, and flushes go on.
	}
	filled := float64(d.active.table.Bytes()) / float64(d.options.MemtableSize)
	s := d.state.Load()
	rest := d.backpressure.charge(s, filled, bytes, time.Now())
	if d.options.SelfPaced {
		d.owe(float64(len(s.immutable)) + filled)
		return
	}
	if rest == 0 {
		return
	}
	d.mu.Unlock()
	time.Sleep(rest)
	d.mu.Lock()
	d.metrics.delays.Add(1)
	d.metrics.delayTime.Add(int64(rest))
}

// owe shows what writers owe, when so many memtables are full. The caller holds mu.
func (d *DB) owe(memtables float64) {
	switch b := &d.backpressure; {
	case !b.on:
		d.owed.Store(0)
	case memtables >= b.memtables.limit-brim:
		d.owed.Store(math.MaxInt64) // until a flush has ended
	default:
		d.owed.Store(b.paid.UnixNano())
	}
}

// Owed returns for how long a writer is to rest before it writes, which is not at all unless flushes or compactions have
// fallen behind. It asks nothing but memory. Writes of one who asks it, with Options.SelfPaced, do not rest.
func (d *DB) Owed() time.Duration {
	until := d.owed.Load()
	if until == 0 {
		return 0
	}
	owed := time.Duration(until - time.Now().UnixNano())
	if owed < leastDelay {
		return 0
	}
	return min(owed, mostDelay)
}

// Rested notes that a writer has rested.
func (d *DB) Rested(took time.Duration) {
	d.metrics.delays.Add(1)
	d.metrics.delayTime.Add(int64(took))
}
