package storage

import (
	"sync/atomic"
	"time"

	"kvstore/storage/cache"
)

// counters are what the engine counts while it runs.
type counters struct {
	stalls, stallTime, longestStall               atomic.Int64
	delays, delayTime                             atomic.Int64
	logWrites, logBytes, syncs                    atomic.Int64
	flushes, flushBytes                           atomic.Int64
	compactions, compactionRead, compactionWrites atomic.Int64
	compactionErrors, compactionRest              atomic.Int64
	filterMisses                                  atomic.Int64
	replayed, replayTime                          atomic.Int64
	syncTime                                      histogram
}

// stalled counts the time of a stall.
func (c *counters) stalled(took time.Duration) {
	c.stallTime.Add(int64(took))
	for {
		longest := c.longestStall.Load()
		if longest >= int64(took) || c.longestStall.CompareAndSwap(longest, int64(took)) {
			return
		}
	}
}

// Metrics are the engine's measures at one time. Counts and sums run from Open on.
type Metrics struct {
	// Levels describes the tree, level 0 first.
	Levels [levels]LevelMetrics
	// MemtableBytes is the active memtable's size, ImmutableBytes that of those that wait for their flush, which are
	// Immutable many.
	MemtableBytes, ImmutableBytes int64
	Immutable                     int
	// RangeDeletions counts those whose work is not done.
	RangeDeletions int
	Snapshots      int
	Cache          cache.Metrics
	// Stalls counts the writes that waited for flushes, StallTime how long they did altogether, LongestStall one of them.
	Stalls                  int64
	StallTime, LongestStall time.Duration
	// Delays counts the writes that rested, 20 ms at most, so that flushes and compactions can follow; DelayTime is how
	// long they did altogether.
	Delays    int64
	DelayTime time.Duration
	// LogWrites counts records written to the log, LogBytes their bytes, Syncs the flushes to the disk.
	LogWrites, LogBytes, Syncs int64
	// SyncTime has the durations of Syncs.
	SyncTime Histogram
	// Flushes and FlushBytes count memtables written to tables and those tables' bytes.
	Flushes, FlushBytes int64
	// Compactions counts those that finished, CompactionRead and CompactionWritten the bytes of tables they read and
	// wrote.
	Compactions, CompactionRead, CompactionWritten, CompactionErrors int64
	// CompactionRest is how long compactions paused for the sake of writers and readers.
	CompactionRest time.Duration
	// DamageFound counts what was found damaged, TablesMended the tables that were written again without what was lost.
	DamageFound, TablesMended int64
	// ScrubPasses counts the times that everything at rest was verified, ScrubBytes what was verified altogether.
	ScrubPasses, ScrubBytes int64
	// ScrubBegan is when the present pass began; zero when nothing is verified by itself.
	ScrubBegan time.Time
	// FilterMisses counts the tables that were asked in vain: their filter let a key through that they do not have.
	FilterMisses int64
	// LostRanges is how many ranges of keys wait to be refilled.
	LostRanges int
	// Replayed counts the bytes of the log that Open replayed, ReplayTime is how long that took.
	Replayed   int64
	ReplayTime time.Duration
	// WriteDelay and FlushDelay are how long the log's work takes at present, see DB.DiskDelay.
	WriteDelay, FlushDelay time.Duration
	// Visible is the last operation readers see, Durable the last that survives a loss of power.
	Visible, Durable LSN
}

// WriteAmplification is how many bytes were written to the disk for each byte of operations, the log included; 0 before
// the first.
func (m *Metrics) WriteAmplification() float64 {
	if m.LogBytes == 0 {
		return 0
	}
	return float64(m.LogBytes+m.FlushBytes+m.CompactionWritten) / float64(m.LogBytes)
}

// SpaceAmplification is the bytes of all tables for each byte of the lowest level with tables, which has each key once; 0
// without tables. In a store that has not grown deep yet it says little.
func (m *Metrics) SpaceAmplification() float64 {
	total, lowest := int64(0), int64(0)
	for _, l := range m.Levels {
		if l.Tables > 0 {
			total, lowest = total+l.Bytes, l.Bytes
		}
	}
	if lowest == 0 {
		return 0
	}
	return float64(total) / float64(lowest)
}

// LevelMetrics describes one level of the tree.
type LevelMetrics struct {
	Tables  int
	Bytes   int64
	Entries int64
}

// Histogram counts durations by powers of two: Counts[i] those below HistogramBound(i) and not below the bound before.
// The last one has no bound.
type Histogram struct {
	Counts [histogramBuckets]int64
	Sum    time.Duration
}

// histogramBuckets reach from 64 µs to 8 s.
const histogramBuckets = 19

// HistogramBound returns the upper bound of a Histogram's bucket.
func HistogramBound(i int) time.Duration { return 64 * time.Microsecond << i }

// Quantile returns the bound below which the share q of the durations lies, 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := int64(0)
	for _, n := range h.Counts {
		total += n
	}
	below := int64(0)
	for i, n := range h.Counts {
		if below += n; total > 0 && float64(below) >= q*float64(total) {
			return HistogramBound(i)
		}
	}
	return 0
}

type histogram struct {
	counts [histogramBuckets]atomic.Int64
	sum    atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < histogramBuckets-1 && d >= HistogramBound(i) {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) value() Histogram {
	v := Histogram{Sum: time.Duration(h.sum.Load())}
	for i := range v.Counts {
		v.Counts[i] = h.counts[i].Load()
	}
	return v
}

// Metrics returns the present measures. Of a closed engine they are the counts alone.
func (d *DB) Metrics() Metrics {
	c := &d.metrics
	m := Metrics{
		Stalls: c.stalls.Load(), StallTime: time.Duration(c.stallTime.Load()), LongestStall: time.Duration(c.longestStall.Load()),
		Delays: c.delays.Load(), DelayTime: time.Duration(c.delayTime.Load()),
		LogWrites: c.logWrites.Load(), LogBytes: c.logBytes.Load(), Syncs: c.syncs.Load(), SyncTime: c.syncTime.value(),
		Flushes: c.flushes.Load(), FlushBytes: c.flushBytes.Load(),
		Compactions: c.compactions.Load(), CompactionRead: c.compactionRead.Load(), CompactionWritten: c.compactionWrites.Load(),
		CompactionErrors: c.compactionErrors.Load(), CompactionRest: time.Duration(c.compactionRest.Load()),
		DamageFound: d.doctor.noticed.Load(), TablesMended: d.doctor.tables.Load(), LostRanges: len(d.Lost()),
		ScrubPasses: d.scrub.passes.Load(), ScrubBytes: d.scrub.bytes.Load(), FilterMisses: c.filterMisses.Load(),
		Replayed: c.replayed.Load(), ReplayTime: time.Duration(c.replayTime.Load()),
		Visible: LSN(d.visible.Load()), Durable: LSN(d.durable.Load()),
	}
	if at := d.scrub.began.Load(); at != 0 {
		m.ScrubBegan = time.Unix(0, at)
	}
	m.WriteDelay, m.FlushDelay = d.DiskDelay()
	d.mu.Lock()
	m.Snapshots = len(d.snapshots)
	d.mu.Unlock()
	s := d.acquire()
	if s == nil {
		return m
	}
	defer s.release()
	m.Cache = d.cache.Metrics()
	m.MemtableBytes = s.active.table.Bytes()
	m.Immutable = len(s.immutable)
	for _, i := range s.immutable {
		m.ImmutableBytes += i.table.Bytes()
	}
	m.RangeDeletions = len(s.ranges.list())
	for level, tables := range s.version.levels {
		for _, t := range tables {
			m.Levels[level].Tables++
			m.Levels[level].Bytes += t.Size
			m.Levels[level].Entries += int64(t.Entries)
		}
	}
	return m
}
