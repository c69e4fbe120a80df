//go:build unix

package storage

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"kvstore/storage/key"
)

// fillNumbered writes n pairs of small values and returns how many bytes they have.
func fillNumbered(tb testing.TB, db *DB, from, n int) (bytes int) {
	tb.Helper()
	var k, value []byte
	for i := from; i < from+n; i++ {
		name := binary.BigEndian.AppendUint64([]byte("key:"), uint64(i))
		k = key.AppendUser(k[:0], uint64(i)*0x9e3779b97f4a7c15>>2, 0, name)
		value = append(append(value[:0], name...), "0123456789abcdef"...)
		if _, err := db.Set(k, value); err != nil {
			tb.Fatal(err)
		}
		if i%64 == 0 {
			if err := db.Commit(); err != nil {
				tb.Fatal(err)
			}
		}
		bytes += len(k) + len(value)
	}
	return bytes
}

// TestNoObjectPerEntry fills an engine in two steps, through memtables, tables and the cache. The second step adds
// hundreds of thousands of entries and next to nothing for the collector to look at.
func TestNoObjectPerEntry(t *testing.T) {
	const step = 150_000
	db, err := Open(t.TempDir(), Options{Fsync: SyncNever, MemtableSize: 4 << 20, CacheSize: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	objects := func(upTo int) (objects, bytes int64) {
		if err := db.Compact(); err != nil {
			t.Fatal(err)
		}
		fillNumbered(t, db, 0, 10_000) // A part is in memory.
		r := rand.New(rand.NewPCG(1, 1))
		for range upTo {
			if _, _, err := db.Get(nil, key.AppendUser(nil, r.Uint64()>>2, 0, nil)); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapObjects), int64(m.HeapAlloc)
	}
	fillNumbered(t, db, 0, step)
	objectsBefore, bytesBefore := objects(step)
	fillNumbered(t, db, step, 2*step)
	objectsAfter, bytesAfter := objects(3 * step)
	t.Logf("%d objects and %d bytes for %d entries more", objectsAfter-objectsBefore, bytesAfter-bytesBefore, 2*step)
	if n := objectsAfter - objectsBefore; n > 2*step/100 {
		t.Errorf("%d objects for %d entries", n, 2*step)
	}
	if n := bytesAfter - bytesBefore; n > 2*step {
		t.Errorf("%d bytes of heap for %d entries", n, 2*step)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkCollect is one cycle of the garbage collector with ten million entries in the engine, the memtable and the cache
// full; beside it stands the processor time of the process, which does nothing else, and the heap that is alive. Run it
// with -benchtime 20x: filling the engine takes a minute.
func BenchmarkCollect(b *testing.B) {
	const entries = 10_000_000
	db, err := Open(b.TempDir(), Options{Fsync: SyncNever})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	fillNumbered(b, db, 0, entries)
	for db.compactor.waitForOthers() {
	}
	var k []byte
	for i := range uint64(entries / 4) {
		k = key.AppendUser(k[:0], i*0x9e3779b97f4a7c15>>2, 0, binary.BigEndian.AppendUint64([]byte("key:"), i))
		if _, found, err := db.Get(nil, k); !found || err != nil {
			b.Fatal(found, err)
		}
	}
	runtime.GC()
	cpu, cycles := processorTime(b), 0
	for b.Loop() {
		runtime.GC()
		cycles++
	}
	b.ReportMetric(float64((processorTime(b)-cpu).Microseconds())/float64(cycles), "cpu-µs/cycle")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MB")
	b.ReportMetric(float64(m.HeapObjects), "objects")
}

// BenchmarkCompact merges four flushed memtables with each other, 32 MiB of pairs in all.
func BenchmarkCompact(b *testing.B) {
	const tables, entries = 4, 400_000
	for b.Loop() {
		b.StopTimer()
		db, err := Open(b.TempDir(), Options{Fsync: SyncNever, L0Trigger: 2 * tables})
		if err != nil {
			b.Fatal(err)
		}
		size := 0
		for i := range tables {
			size += fillNumbered(b, db, i*entries/tables, entries/tables)
			if err := db.Flush(); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(size))
		b.StartTimer()
		if err := db.Compact(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
