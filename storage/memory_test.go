package storage

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/vfs"
)

// TestMemtablesAreFreedBehindReaders writes through many memtables that lie outside the Go heap, while others get, iterate
// and hold iterators over several flushes. Memory that is given back too early ends the process; level 0 stays below its
// stop all the time, though compactions rest for the writers.
func TestMemtablesAreFreedBehindReaders(t *testing.T) {
	const keys, writes = 5000, 60_000
	o := Options{FS: vfs.NewMem(), MemtableSize: offHeapSize, LevelSize: 1 << 20, TableSize: 256 << 10, L0Trigger: 2, L0Stop: 6}
	db, err := Open("/db", o)
	if err != nil {
		t.Fatal(err)
	}
	nth := func(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)*0x9e3779b97f4a7c15>>2) }
	var done atomic.Bool
	var readers sync.WaitGroup
	// A value begins with its key.
	check := func(key, value []byte) {
		if !bytes.HasPrefix(value, key) {
			t.Errorf("key %x has the value %x", key, value)
		}
	}
	readers.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		for !done.Load() {
			key := nth(r.IntN(keys))
			value, found, err := db.Get(nil, key)
			if err != nil {
				t.Error(err)
				return
			}
			if found {
				check(key, value)
			}
		}
	})
	readers.Go(func() {
		for !done.Load() {
			it, err := db.NewIter(IterOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			for ok := it.First(); ok; ok = it.Next() {
				check(it.Key(), it.Value())
			}
			for ok := it.Last(); ok; ok = it.Prev() {
				check(it.Key(), it.Value())
			}
			if err := it.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	r := rand.New(rand.NewPCG(2, 2))
	value := make([]byte, 200)
	for i := range writes {
		key := nth(r.IntN(keys))
		copy(value, key)
		if _, err := db.Set(key, value); err != nil {
			t.Fatal(err)
		}
		if i%16 == 0 {
			if err := db.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if i%256 == 0 {
			if n := db.Metrics().Levels[0].Tables; n > o.L0Stop {
				t.Fatalf("level 0 has %d tables", n)
			}
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	done.Store(true)
	readers.Wait()
	if m := db.Metrics(); m.Flushes < 10 || m.Compactions == 0 {
		t.Errorf("only %d flushes and %d compactions", m.Flushes, m.Compactions)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCompactionHoldsNoMemtable: what is flushed while a compaction takes its time is freed at once.
func TestCompactionHoldsNoMemtable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		fs := &vfs.Faulty{FS: vfs.NewMem(), Inject: func(op vfs.Op, name string) error {
			if op == vfs.OpCreate && strings.HasSuffix(name, ".sst") && slow.Load() {
				time.Sleep(time.Hour)
			}
			return nil
		}}
		o := tinyOptions(fs, SyncNever)
		o.L0Trigger = 7 // nothing is compacted unless it is asked for
		db, err := Open("/db", o)
		must(t, err)
		for _, v := range []string{"1", "2"} {
			mustSet(t, db, "a", v)
			must(t, db.Flush())
		}
		slow.Store(true)
		var compaction sync.WaitGroup
		compaction.Go(func() { must(t, db.Compact()) })
		synctest.Wait()
		slow.Store(false)
		if len(db.compactor.busy) == 0 {
			t.Fatal("no compaction is under way")
		}
		m := db.active
		mustSet(t, db, "a", "3")
		must(t, db.Flush())
		synctest.Wait()
		if n := m.refs.Load(); n != 0 {
			t.Errorf("%d states hold a memtable that was flushed", n)
		}
		compaction.Wait()
		must(t, db.Close())
	})
}
