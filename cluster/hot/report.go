package hot

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"kvstore/cluster/ring"
)

const (
	// leastSamples is how often a key is met before it is reported: what was met once or twice says nothing
	// of the key.
	leastSamples = 3
	// maxKeys and maxParts bound what one node reports: keys of each stream, and partitions. A key that is
	// heavy over all nodes is so at some of them.
	maxKeys  = 128
	maxParts = 1024
)

// Report is what is hot at one node, or at all.
type Report struct {
	Reads, Writes float64 // of all keys, a second
	Keys          []KeyRate
	Partitions    []PartitionRate
}

// KeyRate is how often a key is asked for: at least so often, as far as the sample goes.
type KeyRate struct {
	Token         ring.Token
	DB            uint8
	Name          []byte // its first KeyShown bytes at most
	Size          int    // bytes of the whole
	Reads, Writes float64
}

// PartitionRate is how often the keys of a partition are asked for.
type PartitionRate struct {
	Partition     ring.Partition
	Reads, Writes float64
}

// Report returns what is hot now, when so many reads and writes have begun: the busiest first.
func (t *Tracker) Report(now time.Time, reads, writes uint64) *Report {
	t.Tick(now, reads, writes)
	r, w := t.Reads.report(), t.Writes.report()
	w.Reads, w.Writes = 0, w.Reads
	for i := range w.Keys {
		w.Keys[i].Reads, w.Keys[i].Writes = 0, w.Keys[i].Reads
	}
	for i := range w.Partitions {
		w.Partitions[i].Reads, w.Partitions[i].Writes = 0, w.Partitions[i].Reads
	}
	return Merge(math.MaxInt, r, w)
}

// report returns what is hot in a stream, as if it were one of reads.
func (s *Stream) report() *Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, least := &Report{Reads: s.rate(s.keys.Total())}, leastSamples*float64(s.stride)
	s.keys.Keys(least, func(k Key) {
		r.Keys = append(r.Keys, KeyRate{Token: k.Token, DB: k.DB, Name: slices.Clone(k.Name), Size: k.Size, Reads: s.rate(k.Count - k.Err)})
	})
	for p, count := range s.parts {
		if count >= least {
			r.Partitions = append(r.Partitions, PartitionRate{Partition: ring.Partition(p), Reads: s.rate(count)})
		}
	}
	r.sort()
	r.Keys, r.Partitions = r.Keys[:min(len(r.Keys), maxKeys)], r.Partitions[:min(len(r.Partitions), maxParts)]
	return r
}

// sort puts the busiest first.
func (r *Report) sort() {
	slices.SortFunc(r.Keys, func(a, b KeyRate) int {
		return cmp.Or(cmp.Compare(b.Reads+b.Writes, a.Reads+a.Writes), cmp.Compare(a.Token, b.Token))
	})
	slices.SortFunc(r.Partitions, func(a, b PartitionRate) int {
		return cmp.Or(cmp.Compare(b.Reads+b.Writes, a.Reads+a.Writes), cmp.Compare(a.Partition, b.Partition))
	})
}

// Merge adds up what several nodes report, and keeps the top n keys and partitions, the busiest first. A
// client's request is counted at one node only.
func Merge(n int, reports ...*Report) *Report {
	sum := &Report{}
	keys, parts := make(map[ring.Token]int), make(map[ring.Partition]int)
	for _, r := range reports {
		sum.Reads += r.Reads
		sum.Writes += r.Writes
		for _, k := range r.Keys {
			i, known := keys[k.Token]
			if !known {
				i = len(sum.Keys)
				keys[k.Token] = i
				sum.Keys = append(sum.Keys, KeyRate{Token: k.Token, DB: k.DB, Name: k.Name, Size: k.Size})
			}
			sum.Keys[i].Reads += k.Reads
			sum.Keys[i].Writes += k.Writes
		}
		for _, p := range r.Partitions {
			i, known := parts[p.Partition]
			if !known {
				i = len(sum.Partitions)
				parts[p.Partition] = i
				sum.Partitions = append(sum.Partitions, PartitionRate{Partition: p.Partition})
			}
			sum.Partitions[i].Reads += p.Reads
			sum.Partitions[i].Writes += p.Writes
		}
	}
	sum.sort()
	sum.Keys = sum.Keys[:min(n, len(sum.Keys))]
	sum.Partitions = sum.Partitions[:min(n, len(sum.Partitions))]
	return sum
}

// Append encodes a report, big endian, rates as IEEE 754:
//
//	8 reads, 8 writes
//	2 number of keys; each: 8 token, 1 database, 4 size, 8 reads, 8 writes, 1 length, its name
//	2 number of partitions; each: 2 partition, 8 reads, 8 writes
func (r *Report) Append(dst []byte) []byte {
	u64, u16 := binary.BigEndian.AppendUint64, binary.BigEndian.AppendUint16
	rate := func(v float64) { dst = u64(dst, math.Float64bits(v)) }
	rate(r.Reads)
	rate(r.Writes)
	keys := r.Keys[:min(len(r.Keys), math.MaxUint16)]
	dst = u16(dst, uint16(len(keys)))
	for i := range keys {
		k := &keys[i]
		dst = append(u64(dst, uint64(k.Token)), k.DB)
		dst = binary.BigEndian.AppendUint32(dst, uint32(k.Size))
		rate(k.Reads)
		rate(k.Writes)
		name := k.Name[:min(len(k.Name), KeyShown)]
		dst = append(append(dst, byte(len(name))), name...)
	}
	parts := r.Partitions[:min(len(r.Partitions), math.MaxUint16)]
	dst = u16(dst, uint16(len(parts)))
	for _, p := range parts {
		dst = u16(dst, uint16(p.Partition))
		rate(p.Reads)
		rate(p.Writes)
	}
	return dst
}

var errCut = errors.New("a report of hot keys is cut short or not one")

// Decode reads what Append wrote. A rate that is no number, or below zero, is refused.
func Decode(b []byte) (*Report, error) {
	ok := true
	take := func(n int) []byte {
		if len(b) < n {
			ok, b = false, nil
			return make([]byte, n)
		}
		out := b[:n]
		b = b[n:]
		return out
	}
	rate := func() float64 {
		v := math.Float64frombits(binary.BigEndian.Uint64(take(8)))
		ok = ok && v >= 0 && !math.IsInf(v, 1)
		return v
	}
	r := &Report{Reads: rate(), Writes: rate()}
	for n := binary.BigEndian.Uint16(take(2)); n > 0 && ok; n-- {
		k := KeyRate{Token: ring.Token(binary.BigEndian.Uint64(take(8))), DB: take(1)[0], Size: int(binary.BigEndian.Uint32(take(4)))}
		k.Reads, k.Writes = rate(), rate()
		k.Name = slices.Clone(take(int(take(1)[0])))
		ok = ok && len(k.Name) == min(k.Size, KeyShown)
		r.Keys = append(r.Keys, k)
	}
	for n := binary.BigEndian.Uint16(take(2)); n > 0 && ok; n-- {
		p := PartitionRate{Partition: ring.Partition(binary.BigEndian.Uint16(take(2)))}
		p.Reads, p.Writes = rate(), rate()
		r.Partitions = append(r.Partitions, p)
	}
	if !ok || len(b) > 0 {
		return nil, errCut
	}
	return r, nil
}
