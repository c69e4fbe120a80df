package membership

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// latencyShift makes the first bucket 8 µs wide; what is faster needs no distinction.
	latencyShift = 13
	// Four buckets for each doubling tell the 95th percentile to about a fifth; 88 of them reach beyond a minute.
	latencyBuckets = 88
	// latencyWindow is after how many answers the older ones count half.
	latencyWindow = 1024
	// latencyEvery is how often the percentile is computed anew, and from how many answers on.
	latencyEvery = 32
)

// Latency estimates the 95th percentile of recent durations: a histogram with buckets on a logarithmic scale, halved every
// latencyWindow records. The zero Latency is ready. Record costs two atomic additions; concurrent use may lose a few counts
// to a halving, which an estimate bears.
type Latency struct {
	counts [latencyBuckets]atomic.Uint32
	total  atomic.Uint32 // records since the start or the last halving, plus half of what was then
	p95    atomic.Int64
}

// Record adds one duration.
func (l *Latency) Record(d time.Duration) {
	l.counts[bucketOf(d)].Add(1)
	n := l.total.Add(1)
	if n%latencyEvery != 0 {
		return
	}
	l.p95.Store(int64(l.compute()))
	if n >= latencyWindow && l.total.CompareAndSwap(n, n/2) {
		for i := range l.counts {
			l.counts[i].Store(l.counts[i].Load() / 2)
		}
	}
}

// P95 returns the estimate, rounded up to the end of its bucket; 0 before the first latencyEvery records.
func (l *Latency) P95() time.Duration { return time.Duration(l.p95.Load()) }

func (l *Latency) compute() time.Duration {
	var sum, seen uint64
	for i := range l.counts {
		sum += uint64(l.counts[i].Load())
	}
	for i := range l.counts {
		seen += uint64(l.counts[i].Load())
		if seen*100 >= sum*95 {
			return bucketEnd(i)
		}
	}
	return bucketEnd(latencyBuckets - 1)
}

// bucketOf returns the bucket of a duration. In units of 8 µs, 0 to 3 have a bucket each, and every doubling from 4 on has four.
func bucketOf(d time.Duration) int {
	u := uint64(max(d, 0)) >> latencyShift
	if u < 4 {
		return int(u)
	}
	exponent := bits.Len64(u) - 3
	return min(4+exponent*4+int(u>>exponent)-4, latencyBuckets-1)
}

// bucketEnd returns the first duration beyond a bucket.
func bucketEnd(i int) time.Duration {
	i++
	if i < 4 {
		return time.Duration(i) << latencyShift
	}
	exponent := (i - 4) / 4
	return time.Duration(4+(i-4)%4) << (exponent + latencyShift)
}
