package hot

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// What several nodes see of one stream adds up to what is in it: at least the keys above the bound, in their
// order, with no more than they have had.
func TestMerge(t *testing.T) {
	for _, from := range streams(9) {
		t.Run(from.name, func(t *testing.T) {
			nodes := []*load{newLoad(), newLoad(), newLoad()}
			r, exact := rand.New(rand.NewPCG(3, 3)), make(map[uint64]int)
			for range 16 { // four seconds; each node takes all it gets
				for range 800 {
					n := from.next()
					exact[n]++
					nodes[r.IntN(len(nodes))].read(n)
				}
				for _, l := range nodes {
					l.now = l.now.Add(250 * time.Millisecond)
					l.tick()
				}
			}
			var reports []*Report
			for _, l := range nodes {
				reports = append(reports, l.Report(l.now, l.reads, l.writes))
			}
			sum := Merge(10, reports...)
			if !near(sum.Reads, 3200, 0.02) || len(sum.Keys) > 10 || len(sum.Partitions) > 10 {
				t.Errorf("%v reads a second, %d keys, %d partitions", sum.Reads, len(sum.Keys), len(sum.Partitions))
			}
			if !slices.IsSortedFunc(sum.Keys, func(a, b KeyRate) int { return int(b.Reads - a.Reads) }) {
				t.Error("the keys have no order")
			}
			for n, times := range exact {
				rate := float64(times) / 4
				got := rateOf(sum, n)
				if got.Reads > 1.5*rate+20 {
					t.Errorf("key %d: %v a second, not %v", n, got.Reads, rate)
				}
				if rate > 0.05*3200 && !near(got.Reads, rate, 0.3) {
					t.Errorf("key %d: %v a second of %v", n, got.Reads, rate)
				}
			}
		})
	}
	if empty := Merge(5); empty.Reads != 0 || len(empty.Keys) != 0 {
		t.Error("nothing adds up to something")
	}
}

func someReport() *Report {
	long := bytes.Repeat([]byte{0xff}, KeyShown)
	return &Report{Reads: 12.5, Writes: 1e9, Keys: []KeyRate{
		{Token: 77, DB: 15, Name: []byte("k"), Size: 1, Reads: 1, Writes: 0.25},
		{Token: math.MaxUint64, Name: long, Size: 1 << 20, Writes: 3},
		{Token: 5, Name: []byte{}, Size: 0, Reads: 9},
	}, Partitions: []PartitionRate{{Partition: 16383, Reads: 2}, {Partition: 0, Writes: 4}}}
}

func TestReportsTravel(t *testing.T) {
	for _, r := range []*Report{someReport(), {}} {
		b := r.Append([]byte("before"))[len("before"):]
		got, err := Decode(b)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%v: %+v, not %+v", err, got, r)
		}
		for i := range b {
			if _, err := Decode(b[:i]); err == nil {
				t.Errorf("%d of %d bytes are a report", i, len(b))
			}
		}
		if _, err := Decode(append(b, 0)); err == nil {
			t.Error("a report with a byte more is one")
		}
	}
	for _, rate := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := Decode((&Report{Reads: rate}).Append(nil)); err == nil {
			t.Errorf("%v reads a second are taken", rate)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(someReport().Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		if again := r.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x is written as %x", b, again)
		}
		Merge(10, r, r)
	})
}
