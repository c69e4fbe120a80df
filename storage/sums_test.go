package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/key"
	"kvstore/storage/manifest"
	"kvstore/storage/sum"
	"kvstore/storage/vfs"
)

var sumSeed = maphash.MakeSeed()

// hashOf is the hash of a record that these tests put into sums.
func hashOf(key, value []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	h.Write(key)
	h.WriteByte(0)
	h.Write(value)
	return h.Sum64()
}

// sumKey is one of a few hundred keys in few leaves, some of which are neighbours.
func sumKey(n int) []byte {
	leaf := uint64(n % 9)
	if n%3 == 0 {
		leaf = uint64(n%7) * 40_000
	}
	return key.AppendUser(nil, leaf<<SumShift|uint64(n)<<20, 0, fmt.Appendf(nil, "k%d", n))
}

// summedOp makes one random write that tells its change of the sums.
func summedOp(t *testing.T, db *DB, r *rand.Rand, b *Batch, pending map[string][]byte) {
	t.Helper()
	k := sumKey(r.IntN(300))
	old, known := pending[string(k)]
	if !known {
		v, found, err := db.Get(nil, k)
		if err != nil {
			t.Fatal(err)
		}
		if found {
			old = v
		}
	}
	delta := uint64(0)
	if old != nil {
		delta = hashOf(k, old)
	}
	if r.IntN(4) == 0 {
		b.DeleteSum(k, delta)
		pending[string(k)] = nil
		return
	}
	v := fmt.Appendf(nil, "%d%s", r.Uint64(), bytes.Repeat([]byte("v"), r.IntN(60)))
	b.SetSum(k, v, delta^hashOf(k, v))
	pending[string(k)] = v
}

// summedWrite makes one write or a batch of them.
func summedWrite(t *testing.T, db *DB, r *rand.Rand) {
	t.Helper()
	var b Batch
	n := 1
	if r.IntN(4) == 0 {
		n = 1 + r.IntN(12)
	}
	pending := map[string][]byte{}
	for range n {
		summedOp(t, db, r, &b, pending)
	}
	if _, err := db.Apply(&b); err != nil {
		t.Fatal(err)
	}
}

// checkSums compares the sums with those of the records there are, and returns how many leaves are exact.
func checkSums(t *testing.T, db *DB, what string) int {
	t.Helper()
	it, err := db.NewIter(IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	want := make([]uint64, SumLeaves)
	for ok := it.First(); ok; ok = it.Next() {
		if leaf, ok := sum.Leaf(it.Key()); ok {
			want[leaf] ^= hashOf(it.Key(), it.Value())
		}
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	got := db.AppendSums(nil, 0, SumLeaves)
	total, exact := uint64(0), 0
	for _, x := range got {
		total ^= x
	}
	db.mu.Lock()
	known := db.sums.exact
	db.mu.Unlock()
	for _, r := range known {
		exact += int(r.Hi - r.Lo)
		for leaf := r.Lo; leaf < r.Hi; leaf++ {
			if got[leaf] != want[leaf] {
				t.Fatalf("%s: leaf %d is %x, its records make %x", what, leaf, got[leaf], want[leaf])
			}
		}
	}
	if s := db.Sum(0, SumLeaves); s != total {
		t.Fatalf("%s: the whole is %x, its leaves make %x", what, s, total)
	}
	return exact
}

func openSums(t *testing.T, fs vfs.FS, dir string, policy SyncPolicy) *DB {
	t.Helper()
	db, err := Open(dir, tinyOptions(fs, policy))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// sumsStep does one random thing to an engine whose writers tell their changes.
func sumsStep(t *testing.T, db *DB, r *rand.Rand) {
	t.Helper()
	switch n := r.IntN(100); {
	case n < 80:
		summedWrite(t, db, r)
	case n < 85:
		must(t, db.Commit())
	case n < 89:
		must(t, db.Flush())
	case n < 90:
		must(t, db.Compact())
	case n < 93:
		lo := uint64(r.IntN(9))
		must(t, db.DropRange(key.AppendToken(nil, lo<<SumShift), key.AppendToken(nil, (lo+uint64(r.IntN(3)))<<SumShift)))
	case n < 94:
		k := sumKey(r.IntN(300))
		must(t, db.DropRange(k, append(k, 0)))
	default:
		lo := uint32(r.IntN(9))
		must(t, db.RebuildSums(t.Context(), lo, lo+uint32(r.IntN(9)), hashOf))
	}
}

func TestSumsAgainstRecords(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 11))
			disk := vfs.NewMem()
			policy := SyncPolicy(seed % 3)
			db := openSums(t, disk.View(), "/db", policy)
			for restart := range 10 {
				for range r.IntN(150) {
					sumsStep(t, db, r)
				}
				checkSums(t, db, "before the end")
				checkpointSums(t, db, disk, fmt.Sprintf("/copy%d", restart))
				switch r.IntN(3) {
				case 0:
					must(t, db.Close())
				case 1:
					disk.Kill()
				default:
					disk.Crash(r)
				}
				db.Close()
				db = openSums(t, disk.View(), "/db", policy)
				checkSums(t, db, "after a restart")
			}
			must(t, db.RebuildSums(t.Context(), 0, SumLeaves, hashOf))
			if n := checkSums(t, db, "rebuilt"); n != SumLeaves {
				t.Fatalf("%d leaves are exact", n)
			}
			must(t, db.Flush())
			disk.Crash(r)
			db.Close()
			db = openSums(t, disk.View(), "/db", policy)
			if n := checkSums(t, db, "rebuilt and flushed"); n != SumLeaves {
				t.Fatalf("%d leaves are exact after a crash", n)
			}
			must(t, db.Close())
		})
	}
}

func checkpointSums(t *testing.T, db *DB, disk *vfs.Mem, dir string) {
	t.Helper()
	must(t, db.Checkpoint(context.Background(), dir))
	exact := checkSums(t, db, "before the checkpoint")
	c := openSums(t, disk.View(), dir, SyncNever)
	if n := checkSums(t, c, "checkpoint"); n != exact {
		t.Fatalf("%d leaves are exact in the checkpoint, %d were", n, exact)
	}
	must(t, c.Close())
}

// TestSumsAfterCrashAnywhere ends the process, or cuts the power, before every write, sync and rename, and compares the
// sums of what is recovered with its records.
func TestSumsAfterCrashAnywhere(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 1))
	disk := vfs.NewMem()
	var mu sync.Mutex
	var ruins []*vfs.Mem
	var on atomic.Bool
	faulty := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, _ string) error {
		if on.Load() && (op == vfs.OpWrite || op == vfs.OpSync || op == vfs.OpSyncDir || op == vfs.OpRename) {
			mu.Lock()
			defer mu.Unlock()
			if len(ruins)%2 == 0 {
				ruins = append(ruins, disk.CrashClone(r))
			} else {
				ruins = append(ruins, disk.Clone())
			}
		}
		return nil
	}}
	db := openSums(t, faulty, "/db", SyncAlways)
	on.Store(true)
	w := rand.New(rand.NewPCG(seed, 2))
	for range 300 {
		sumsStep(t, db, w)
		if w.IntN(4) == 0 {
			must(t, db.Commit())
		}
	}
	must(t, db.Close())
	t.Logf("%d crashes", len(ruins))
	if len(ruins) < 200 {
		t.Fatalf("only %d writes and syncs were seen", len(ruins))
	}
	for i := 0; i < len(ruins); i += every {
		ruin := ruins[i]
		db := openSums(t, ruin, "/db", SyncAlways)
		checkSums(t, db, fmt.Sprintf("seed %d, crash %d of %d", seed, i, len(ruins)))
		must(t, db.Close())
	}
}

// TestSumsOfOlderStore opens a store whose manifest knows no sums.
func TestSumsOfOlderStore(t *testing.T) {
	disk := vfs.NewMem()
	db := openSums(t, disk, "/db", SyncNever)
	for n := range 200 {
		if _, err := db.Set(sumKey(n), []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	must(t, db.Flush())
	must(t, db.Close())
	state, err := manifest.Load(disk, "/db")
	must(t, err)
	state.Exact, state.Sums = nil, &sum.Leaves{}
	l, err := manifest.Create(disk, "/db", state.Next+5, state)
	must(t, err)
	must(t, l.Close())

	db = openSums(t, disk, "/db", SyncNever)
	if db.SumsExact(0, SumLeaves) || db.SumsExact(3, 4) {
		t.Fatal("sums that nobody told are exact")
	}
	must(t, db.RebuildSums(t.Context(), 2, 5, hashOf))
	if db.SumsExact(1, 5) || !db.SumsExact(2, 5) || db.SumsExact(2, 6) {
		t.Fatal("not just the rebuilt leaves are exact")
	}
	must(t, db.Flush())
	must(t, db.Close())
	db = openSums(t, disk, "/db", SyncNever)
	if n := checkSums(t, db, "rebuilt in part"); n != 3 {
		t.Fatalf("%d leaves are exact, want 3", n)
	}
	must(t, db.DropRange(key.AppendToken(nil, 0), key.AppendToken(nil, 1<<62)))
	if n := checkSums(t, db, "emptied"); n != SumLeaves {
		t.Fatalf("%d leaves are exact in an empty store", n)
	}
	must(t, db.Close())
}

// TestSumsOfDamagedTable loses a part of a table while the engine runs, and all of it at a start.
func TestSumsOfDamagedTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		db := openTiny(t, disk)
		for n := range 300 {
			k, v := sumKey(n), []byte("value")
			_, err := db.SetSum(k, v, hashOf(k, v))
			must(t, err)
		}
		must(t, db.Compact())
		if n := checkSums(t, db, "whole"); n != SumLeaves {
			t.Fatalf("%d leaves are exact", n)
		}
		must(t, db.Close())
		tables, err := disk.List("/db")
		must(t, err)
		for _, n := range tables {
			if strings.HasSuffix(n, ".sst") {
				flip(t, disk, "/db/"+n, 300)
			}
		}
		db = openTiny(t, disk)
		for n := range 300 {
			if _, _, err := db.Get(nil, sumKey(n)); err != nil && !IsCorrupt(err) {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * doctorRetry)
		lost := db.Lost()
		if len(lost) == 0 {
			t.Fatal("nothing was lost")
		}
		for range 2 {
			for _, l := range lost {
				if r := sum.Touched(l.Lo, l.Hi); db.SumsExact(r.Lo, r.Hi) {
					t.Fatalf("the sums of %v are exact", r)
				}
			}
			must(t, db.Close())
			db = openTiny(t, disk)
		}
		for _, l := range lost {
			must(t, db.Refilled(l.Lo, l.Hi))
		}
		must(t, db.RebuildSums(t.Context(), 0, SumLeaves, hashOf))
		if n := checkSums(t, db, "refilled"); n != SumLeaves {
			t.Fatalf("%d leaves are exact", n)
		}
		must(t, db.Close())
	})
}

// TestRebuildSumsWhileWriting rebuilds sums again and again while others write and drop ranges.
func TestRebuildSumsWhileWriting(t *testing.T) {
	db := openSums(t, vfs.NewMem(), "/db", SyncNever)
	r := rand.New(rand.NewPCG(1, 1))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for range 40 {
			if err := db.RebuildSums(t.Context(), 0, SumLeaves, hashOf); err != nil {
				t.Error(err)
			}
		}
	})
	for n := 0; ; n++ {
		select {
		case <-stop:
			wg.Wait()
			checkSums(t, db, "in the end")
			must(t, db.Close())
			return
		default:
			summedWrite(t, db, r)
			if n%500 == 0 {
				k := sumKey(r.IntN(300))
				must(t, db.DropRange(k, append(k, 0)))
			}
		}
	}
}

func TestSumOfSystemKeyPanics(t *testing.T) {
	db := openSums(t, vfs.NewMem(), "/db", SyncNever)
	for _, f := range []func(){
		func() { _, _ = db.SetSum([]byte{0x41, 1, 2, 3, 4, 5, 6, 7, 8}, nil, 1) },
		func() { var b Batch; b.DeleteSum([]byte("a"), 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a system key got a sum")
				}
			}()
			f()
		}()
	}
	must(t, db.Close())
	if err := db.RebuildSums(t.Context(), 0, 1, hashOf); !errors.Is(err, ErrClosed) {
		t.Errorf("rebuild of a closed engine: %v", err)
	}
}
