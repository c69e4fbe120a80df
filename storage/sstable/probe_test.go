package sstable

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bits-and-blooms/bloom/v3"

	"kvstore/storage/cache"
)

// TestTurnsAwayNoPresentKey asks tables of every shape for their own keys, and for others.
func TestTurnsAwayNoPresentKey(t *testing.T) {
	for name, shape := range keyShapes {
		r := rand.New(rand.NewPCG(9, 9))
		model := randomRecords(r, 4000, shape)
		fs, info := build(t, model, nil, WriterOptions{BlockSize: 200})
		c := cache.New(8 << 20)
		table := open(t, fs, info, c)
		if table.TurnsAway(NewProbe([]byte(model[0].key))) {
			t.Errorf("%s: the first key is turned away by what is not pinned", name)
		}
		if err := table.Warm(); err != nil {
			t.Fatal(err)
		}
		for _, e := range model {
			if table.TurnsAway(NewProbe([]byte(e.key))) {
				t.Fatalf("%s: key %q is turned away", name, e.key)
			}
		}
		away := 0
		for range 1000 {
			if table.TurnsAway(NewProbe(binary.BigEndian.AppendUint64(nil, r.Uint64()))) {
				away++
			}
		}
		if away < 950 {
			t.Errorf("%s: %d of 1000 absent keys are turned away", name, away)
		}
		table.Close()
		c.Close()
	}
}

// TestBoundsFind compares the guess with a walk, for separators of every spread.
func TestBoundsFind(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	for range 2000 {
		spread := uint64(math.MaxUint64) >> r.IntN(64)
		number := func() uint64 {
			if r.IntN(4) == 0 {
				return r.Uint64()
			}
			return r.Uint64() & spread
		}
		largest := make([]uint64, r.IntN(40))
		for i := range largest {
			largest[i] = number()
		}
		slices.Sort(largest)
		smallest := uint64(0)
		if len(largest) > 0 && r.IntN(2) == 0 {
			smallest = largest[0] - min(largest[0], r.Uint64()&spread)
		}
		b := newBounds(smallest, largest)
		for range 50 {
			prefix := number()
			if len(largest) > 0 && r.IntN(2) == 0 {
				prefix = largest[r.IntN(len(largest))] + uint64(r.IntN(3)) - 1
			}
			want, equal := slices.BinarySearch(largest, prefix)
			if prefix < smallest || want == len(largest) {
				want, equal = -1, false
			}
			if at, sure := b.find(prefix); at != want || sure == equal {
				t.Fatalf("prefix %x from %x in %x: %d, sure %v; want %d", prefix, smallest, largest, at, sure, want)
			}
		}
	}
}

// TestFilterIsABloomFilter compares a cell with the library's filter over the same words.
func TestFilterIsABloomFilter(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	for bits := range 16 {
		hashes := make([]uint64, 200)
		for i := range hashes {
			hashes[i] = r.Uint64()
		}
		var empty blockBuilder
		p, ok := parsePartition(empty.finish(appendFilter(nil, hashes, bits)))
		if !ok {
			t.Fatal("the partition cannot be parsed")
		}
		for range 1000 {
			h, want := r.Uint64(), true
			if len(p.cells) > 0 {
				words := make([]uint64, cellWords)
				for i := range words {
					words[i] = binary.LittleEndian.Uint64(p.cells[cellOf(h, uint32(len(p.cells)/cellSize))*cellSize+8*i:])
				}
				locs := locations(h)
				want = bloom.FromWithM(words, cellBits, uint(p.probes)).TestLocations(locs[:p.probes])
			}
			if p.mayHave(h) != want {
				t.Fatalf("%d bits a key: hash %x passes: %v", bits, h, !want)
			}
		}
	}
}
