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
	// over[i] holds the sequence numbers, newest first, of the deletions that cover the keys of the i-th fragment.
	cuts fragments
	over [][]uint64
}

// fragments are the distinct bounds of ranges of keys, in order: no range begins or ends within the i-th fragment, which is
// the keys from bound i up to and without the next.
type fragments [][]byte

func newFragments(bounds [][]byte) fragments {
	slices.SortFunc(bounds, bytes.Compare)
	return slices.CompactFunc(bounds, bytes.Equal)
}

// of returns the fragments of a range whose bounds are among them: those from first up to and without end.
func (f fragments) of(lo, hi []byte) (first, end int) {
	first, _ = slices.BinarySearchFunc(f, lo, bytes.Compare)
	end, _ = slices.BinarySearchFunc(f, hi, bytes.Compare)
	return first, end
}

// at returns the index of the fragment that key is in, -1 before the first.
func (f fragments) at(key []byte) int {
	low, high := 0, len(f)
	for low < high {
		if middle := int(uint(low+high) / 2); bytes.Compare(f[middle], key) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low - 1
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
	s.cuts = newFragments(s.cuts)
	s.over = make([][]uint64, len(s.cuts))
	for _, r := range slices.Backward(all) {
		for i, end := s.cuts.of(r.Lo, r.Hi); i < end; i++ {
			s.over[i] = append(s.over[i], r.Seq)
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
	if i := s.cuts.at(key); i >= 0 {
		return s.over[i]
	}
	return nil
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
