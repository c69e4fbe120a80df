package compaction

import (
	"bytes"
	"cmp"
	"slices"

	"kvstore/storage/entry"
	"kvstore/storage/sstable"
)

// Filter drops the records of a compaction that nobody can see any more.
//
// Live snapshots divide the sequence numbers into stripes: (0, s1], (s1, s2], ..., and those after the last. Of the records
// of one key within a stripe every reader sees the newest or none of them, so the others go; so does what a range deletion
// of the same stripe covers. A deletion in the first stripe goes too when nothing below can hold what it hides.
type Filter struct {
	snapshots []uint64
	bottom    bool

	ranges []sstable.RangeDel // ordered by lower bound; those not yet met
	active []sstable.RangeDel // those that may cover the current key

	key    []byte
	any    bool // key is set
	stripe int  // of the last record of key, -1 before the first
}

// NewFilter returns a filter for one pass over records in order. Snapshots are the sequence numbers of the live snapshots,
// ranges the range deletions of all inputs.
func NewFilter(snapshots []uint64, bottom bool, ranges []sstable.RangeDel) *Filter {
	f := &Filter{snapshots: slices.Sorted(slices.Values(snapshots)), bottom: bottom, ranges: slices.Clone(ranges)}
	slices.SortFunc(f.ranges, func(a, b sstable.RangeDel) int {
		return cmp.Or(bytes.Compare(a.Lo, b.Lo), cmp.Compare(b.Seq, a.Seq))
	})
	return f
}

// Keep reports whether a record must be written. Records come in the order of package entry.
func (f *Filter) Keep(key []byte, seq uint64, kind entry.Kind) bool {
	if !f.any || !bytes.Equal(f.key, key) {
		f.key, f.any, f.stripe = append(f.key[:0], key...), true, -1
		f.advance()
	}
	stripe := f.stripeOf(seq)
	if stripe == f.stripe {
		return false
	}
	for i := range f.active {
		if d := &f.active[i]; d.Covers(key, seq) && f.stripeOf(d.Seq) == stripe {
			return false
		}
	}
	f.stripe = stripe
	return !(kind == entry.KindDelete && f.bottom && stripe == 0)
}

// KeepRange reports whether a range deletion must be written.
func (f *Filter) KeepRange(d *sstable.RangeDel) bool {
	return !(f.bottom && f.stripeOf(d.Seq) == 0)
}

// advance brings the active range deletions to a new key.
func (f *Filter) advance() {
	if len(f.active) > 0 {
		f.active = slices.DeleteFunc(f.active, func(d sstable.RangeDel) bool { return bytes.Compare(d.Hi, f.key) <= 0 })
	}
	for len(f.ranges) > 0 && bytes.Compare(f.ranges[0].Lo, f.key) <= 0 {
		if bytes.Compare(f.key, f.ranges[0].Hi) < 0 {
			f.active = append(f.active, f.ranges[0])
		}
		f.ranges = f.ranges[1:]
	}
}

// stripeOf is the number of snapshots that cannot see a sequence number.
func (f *Filter) stripeOf(seq uint64) int {
	i, _ := slices.BinarySearch(f.snapshots, seq)
	return i
}

// Clip returns the parts of range deletions within [lo, hi), so that the tables of a level stay apart; nil is no bound.
func Clip(ranges []sstable.RangeDel, lo, hi []byte) []sstable.RangeDel {
	var out []sstable.RangeDel
	for _, d := range ranges {
		if lo != nil && bytes.Compare(d.Lo, lo) < 0 {
			d.Lo = lo
		}
		if hi != nil && bytes.Compare(d.Hi, hi) > 0 {
			d.Hi = hi
		}
		if bytes.Compare(d.Lo, d.Hi) < 0 {
			out = append(out, d)
		}
	}
	return out
}
