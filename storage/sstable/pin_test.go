package sstable

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"kvstore/storage/cache"
	"kvstore/storage/entry"
)

// pinTable is a table of several partitions with the cache it reads through.
func pinTable(t *testing.T, cacheSize int64) (*Reader, *cache.Cache, []record) {
	t.Helper()
	model := randomRecords(rand.New(rand.NewPCG(5, 5)), 6000, keyShapes["uniform tokens"])
	fs, info := build(t, model, nil, WriterOptions{BlockSize: 400})
	c := cache.New(cacheSize)
	t.Cleanup(c.Close)
	table := open(t, fs, info, c)
	if len(table.parts) < 4 {
		t.Fatalf("%d partitions are too few for this test", len(table.parts))
	}
	return table, c, model
}

func TestPinnedPartitionsAnswerWithoutTheCache(t *testing.T) {
	table, c, _ := pinTable(t, 8<<20)
	if err := table.Warm(); err != nil {
		t.Fatal(err)
	}
	before := c.Metrics()
	if before.Pinned == 0 {
		t.Error("nothing is pinned")
	}
	r := rand.New(rand.NewPCG(6, 6))
	const reads = 3000
	away := 0
	for range reads {
		key := binary.BigEndian.AppendUint64(nil, r.Uint64()>>2)
		if _, _, _, found, ready, err := table.TryGet(nil, key, entry.MaxSeq); found || err != nil {
			t.Fatal(found, err)
		} else if ready {
			away++
		}
	}
	after := c.Metrics()
	if asked := after.Hits + after.Misses - before.Hits - before.Misses; asked > reads/20 || away < reads*9/10 {
		t.Errorf("%d absent keys: %d were turned away, the cache was asked %d times", reads, away, asked)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if n := c.Metrics().Pinned; n != 0 {
		t.Errorf("%d bytes stay pinned when the table is closed", n)
	}
}

// TestPinsKeepToTheirShare reads with many goroutines through a cache that has no room to pin every partition.
func TestPinsKeepToTheirShare(t *testing.T) {
	const size = 64 << 10
	table, c, model := pinTable(t, size)
	var wg sync.WaitGroup
	for worker := range uint64(4) {
		wg.Go(func() { checkGetsQuietly(t, rand.New(rand.NewPCG(worker, 7)), table, model) })
	}
	wg.Wait()
	pinned := 0
	for i := range table.parts {
		if table.parts[i].pinned.Load() != nil {
			pinned++
		}
	}
	if m := c.Metrics(); pinned == 0 || pinned == len(table.parts) || m.Pinned == 0 || m.Pinned > size/4 {
		t.Errorf("%d of %d partitions are pinned: %+v", pinned, len(table.parts), m)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if n := c.Metrics().Pinned; n != 0 {
		t.Errorf("%d bytes stay pinned when the table is closed", n)
	}
}

// TestFirstFinger compares the search with a walk, for fingers of every spread.
func TestFirstFinger(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 3000 {
		spread := 1 + r.IntN(1<<r.IntN(17))
		var fingers []int
		for range r.IntN(60) {
			fingers = append(fingers, min(r.IntN(spread)+r.IntN(3)*r.IntN(200), 65535))
		}
		slices.Sort(fingers)
		b := block{n: len(fingers)}
		for _, f := range fingers {
			b.fingers = append(b.fingers, byte(f>>8), byte(f))
		}
		for range 50 {
			f := r.IntN(65536)
			if len(fingers) > 0 && r.IntN(2) == 0 {
				f = fingers[r.IntN(len(fingers))]
			}
			want, _ := slices.BinarySearch(fingers, f)
			if got := b.firstFinger(uint16(f)); got != want {
				t.Fatalf("finger %d in %v: %d, want %d", f, fingers, got, want)
			}
		}
	}
}
