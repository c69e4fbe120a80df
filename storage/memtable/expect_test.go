package memtable

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"kvstore/storage/entry"
)

// TestExpectAll fills tables of other sizes than they were made for, so that searches meet entries, leaves and nodes: what
// is there is said to be, and what is not mostly not.
func TestExpectAll(t *testing.T) {
	const keys = 2000
	for _, size := range []int{1 << 10, 100 << 10, 10 << 20} {
		r := rand.New(rand.NewPCG(uint64(size), 1))
		table := New(size)
		if table.ExpectAll([]uint64{1, 1 << 61, 3}) != 0 {
			t.Errorf("size %d: an empty table may have a key", size)
		}
		there := make([]uint64, keys)
		for i := range there {
			there[i] = r.Uint64() >> 2
			for seq := range uint64(1 + i%3) {
				table.Set(binary.BigEndian.AppendUint64(nil, there[i]), seq+1, entry.KindSet, []byte("value"))
			}
		}
		mistaken := 0
		for range 500 {
			var asked []uint64
			want := uint64(0)
			for n := range r.IntN(MaxExpected + 1) {
				if r.IntN(2) == 0 {
					asked = append(asked, there[r.IntN(keys)])
					want |= 1 << n
				} else {
					asked = append(asked, r.Uint64()>>2)
				}
			}
			got := table.ExpectAll(asked)
			if got&want != want || got>>len(asked) != 0 {
				t.Fatalf("size %d: of %x it may have %b, it has %b", size, asked, got, want)
			}
			if got != want {
				mistaken++
			}
		}
		if size == 10<<20 && mistaken > 100 {
			t.Errorf("of 500 times it may have more than it has %d times", mistaken)
		}
	}
}
