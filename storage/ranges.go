package storage

import (
	"bytes"
	"slices"

	"kvstore/storage/manifest"
)

// rangeSet is the set of range deletions a reader must honour. It is immutable: adding makes a new one. The engine
// keeps them beside the memtables and tables, not in them, because they are few, and because the newest one over a key
// can then be found without asking every level.
type rangeSet struct {
	// all are the deletions in the order of their sequence numbers.
	all []manifest.Range
	// cuts are the distinct bounds in order; over[i] holds the sequence numbers, newest first, of the deletions that
	// cover the keys from cuts[i] up to and without cuts[i+1].
	cuts [][]byte
	over [][]uint64
}

// newRangeSet returns the set of the given deletions, nil when there are none.
func newRangeSet(all []manifest.Range) *rangeSet {
	if len(all) == 0 {
		return nil
	}
	s := &rangeSet{all: all}
	for _, r := range all {
		s.cuts = append(s.cuts, r.Lo, r.Hi)
	}
	slices.SortFunc(s.cuts, bytes.Compare)
	s.cuts = slices.CompactFunc(s.cuts, bytes.Equal)
	s.over = make([][]uint64, len(s.cuts))
	for i := len(all) - 1; i >= 0; i-- {
		from, _ := slices.BinarySearchFunc(s.cuts, all[i].Lo, bytes.Compare)
		for ; !bytes.Equal(s.cuts[from], all[i].Hi); from++ {
			s.over[from] = append(s.over[from], all[i].Seq)
		}
	}
	return s
}

// list returns the deletions, oldest first.
func (s *rangeSet) list() []manifest.Range {
	if s == nil {
		return nil
	}
	return s.all
}

// with returns the set with one more, newer deletion.
func (s *rangeSet) with(r manifest.Range) *rangeSet {
	return newRangeSet(append(slices.Clone(s.list()), r))
}

// without returns the set less the deletions with the given sequence numbers.
func (s *rangeSet) without(seqs []uint64) *rangeSet {
	if s == nil || len(seqs) == 0 {
		return s
	}
	return newRangeSet(slices.DeleteFunc(slices.Clone(s.all), func(r manifest.Range) bool { return slices.Contains(seqs, r.Seq) }))
}

// covers returns the sequence numbers, newest first, of the deletions over key.
func (s *rangeSet) covers(key []byte) []uint64 {
	if s == nil {
		return nil
	}
	low, high := 0, len(s.cuts)
	for low < high {
		if middle := int(uint(low+high) / 2); bytes.Compare(s.cuts[middle], key) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return nil
	}
	return s.over[low-1]
}

// newest returns the sequence number of the newest deletion over key that a reader at seq sees, 0 when there is none:
// records of the key below it are deleted.
func (s *rangeSet) newest(key []byte, seq uint64) uint64 {
	if s == nil {
		return 0
	}
	for _, r := range s.covers(key) {
		if r <= seq {
			return r
		}
	}
	return 0
}
