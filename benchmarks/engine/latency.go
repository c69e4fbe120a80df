package main

import (
	"math/bits"
	"time"
)

// latencies counts durations in buckets a sixty-fourth of their size wide.
type latencies struct {
	counts [(64 - fineBits + 1) << fineBits]uint32
	total  int64
	max    time.Duration
}

const fineBits = 6

func (l *latencies) add(d time.Duration) {
	l.total++
	l.max = max(l.max, d)
	n := uint64(max(d, 0))
	shift := max(bits.Len64(n)-fineBits-1, 0)
	l.counts[shift<<fineBits+int(n>>shift)]++
}

func (l *latencies) merge(other *latencies) {
	for i, n := range other.counts {
		l.counts[i] += n
	}
	l.total += other.total
	l.max = max(l.max, other.max)
}

// quantile returns the upper end of the bucket that the share q of all durations does not exceed.
func (l *latencies) quantile(q float64) time.Duration {
	rank := int64(q * float64(l.total))
	for i, n := range l.counts {
		if rank -= int64(n); rank < 0 {
			shift := max(i>>fineBits-1, 0)
			return min(time.Duration(uint64(i-shift<<fineBits+1)<<shift), l.max)
		}
	}
	return l.max
}
