package compaction

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kvstore/storage/entry"
	"kvstore/storage/sstable"
)

// visible is what a reader at a sequence number gets for a key: the newest record's number, or 0.
func visible(records []record, ranges []sstable.RangeDel, key string, at uint64) uint64 {
	for _, e := range records { // newest first within a key
		if e.key != key || e.seq > at {
			continue
		}
		if e.kind == entry.KindDelete {
			return 0
		}
		for _, d := range ranges {
			if d.Seq <= at && d.Covers([]byte(key), e.seq) {
				return 0
			}
		}
		return e.seq
	}
	return 0
}

// TestFilterHidesNothing drops what the filter says and compares what every live snapshot sees before and after, with and
// without older records below.
func TestFilterHidesNothing(t *testing.T) {
	dropped := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		all, _ := deal(r, 300, 1)
		var ranges []sstable.RangeDel
		for range r.IntN(4) {
			seq := 20 + r.Uint64N(280)
			all = slices.DeleteFunc(all, func(e record) bool { return e.seq == seq })
			lo, hi := fmt.Sprint(r.IntN(40)), fmt.Sprint(r.IntN(40))
			ranges = append(ranges, sstable.RangeDel{Lo: []byte(min(lo, hi)), Hi: []byte(max(lo, hi)), Seq: seq})
		}
		var snapshots []uint64
		for range r.IntN(4) {
			snapshots = append(snapshots, 20+r.Uint64N(300))
		}
		// Without bottom, the oldest records are in a level below and not part of the compaction.
		bottom := r.IntN(2) == 0
		var below, in []record
		for _, e := range all {
			if !bottom && e.seq < 20 {
				below = append(below, e)
			} else {
				in = append(in, e)
			}
		}
		f := NewFilter(snapshots, bottom, ranges)
		var kept []record
		for _, e := range in {
			if f.Keep([]byte(e.key), e.seq, e.kind) {
				kept = append(kept, e)
			}
		}
		dropped += len(in) - len(kept)
		keptRanges := slices.DeleteFunc(slices.Clone(ranges), func(d sstable.RangeDel) bool { return !f.KeepRange(&d) })
		after := slices.Concat(kept, below)
		slices.SortFunc(after, compareRecords)
		for _, at := range append(snapshots, entry.MaxSeq) {
			for k := range 40 {
				key := fmt.Sprint(k)
				if want, got := visible(all, ranges, key, at), visible(after, keptRanges, key, at); got != want {
					t.Fatalf("seed %d: key %s at %d is %d, was %d (snapshots %v, bottom %v, ranges %v)", seed, key, at, got, want, snapshots, bottom, ranges)
				}
			}
		}
		if limit := 40 * (len(snapshots) + 1); len(kept) > limit {
			t.Errorf("seed %d: %d records kept, at most %d can be seen", seed, len(kept), limit)
		}
		if bottom && len(snapshots) == 0 && (len(keptRanges) > 0 || slices.ContainsFunc(kept, func(e record) bool { return e.kind == entry.KindDelete })) {
			t.Errorf("seed %d: deletions are left at the bottom", seed)
		}
	}
	if dropped == 0 {
		t.Error("nothing was ever dropped")
	}
}

func TestClip(t *testing.T) {
	ranges := []sstable.RangeDel{{Lo: []byte("b"), Hi: []byte("f"), Seq: 3}, {Lo: []byte("h"), Hi: []byte("k"), Seq: 4}}
	for _, c := range []struct{ lo, hi, want string }{
		{"", "", "[b f) [h k) "},
		{"c", "i", "[c f) [h i) "},
		{"f", "h", ""},
		{"", "c", "[b c) "},
	} {
		var lo, hi []byte
		if c.lo != "" {
			lo = []byte(c.lo)
		}
		if c.hi != "" {
			hi = []byte(c.hi)
		}
		var got strings.Builder
		for _, d := range Clip(ranges, lo, hi) {
			got.WriteString(fmt.Sprintf("[%s %s) ", d.Lo, d.Hi))
		}
		if got.String() != c.want {
			t.Errorf("clip to [%s %s): %s, want %s", c.lo, c.hi, got.String(), c.want)
		}
	}
}

func TestCutter(t *testing.T) {
	c := NewCutter(&Plan{Cuts: [][]byte{[]byte("d"), []byte("e"), []byte("k")}}, 100)
	for _, step := range []struct {
		key  string
		size int64
		want bool
	}{
		{"a", 0, false}, {"b", 99, false}, {"c", 100, true}, {"c", 0, false}, {"f", 50, true}, {"g", 50, false}, {"k", 0, false}, {"l", 99, false}, {"m", 101, true},
	} {
		if got := c.Before([]byte(step.key), step.size); got != step.want {
			t.Errorf("before %s at %d bytes: %v", step.key, step.size, got)
		}
	}
}
