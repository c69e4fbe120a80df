package storage

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"kvstore/storage/key"
)

// benchKeys returns n user keys at random tokens.
func benchKeys(n int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, n)
	for i := range keys {
		name := binary.BigEndian.AppendUint64([]byte("key:"), uint64(i))
		keys[i] = key.AppendUser(nil, r.Uint64()>>2, 0, name)
	}
	return keys
}

func openBench(b *testing.B) *DB {
	b.Helper()
	db, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

func BenchmarkSet(b *testing.B) {
	db := openBench(b)
	keys, value := benchKeys(1<<18), make([]byte, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := db.Set(keys[i&(len(keys)-1)], value); err != nil {
			b.Fatal(err)
		}
		if i&1023 == 0 {
			if err := db.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkSetSum is BenchmarkSet of writes that tell their change of the sums.
func BenchmarkSetSum(b *testing.B) {
	db := openBench(b)
	keys, value := benchKeys(1<<18), make([]byte, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := db.SetSum(keys[i&(len(keys)-1)], value, uint64(i)+1); err != nil {
			b.Fatal(err)
		}
		if i&1023 == 0 {
			if err := db.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkSetCommit16 commits after every sixteen writes, as a turn of an event loop does.
func BenchmarkSetCommit16(b *testing.B) {
	db := openBench(b)
	keys, value := benchKeys(1<<18), make([]byte, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := db.Set(keys[i&(len(keys)-1)], value); err != nil {
			b.Fatal(err)
		}
		if i&15 == 15 {
			if err := db.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func benchmarkGet(b *testing.B, flush bool) {
	db := openBench(b)
	keys, value := benchKeys(1<<17), make([]byte, 64)
	for _, k := range keys {
		if _, err := db.Set(k, value); err != nil {
			b.Fatal(err)
		}
	}
	if flush {
		if err := db.Compact(); err != nil {
			b.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		_, found, err := db.Get(dst, keys[r.IntN(len(keys))])
		if !found || err != nil {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkGetMemtable(b *testing.B) { benchmarkGet(b, false) }

func BenchmarkGetTable(b *testing.B) { benchmarkGet(b, true) }

func BenchmarkIterNext(b *testing.B) {
	db := openBench(b)
	for _, k := range benchKeys(1 << 17) {
		if _, err := db.Set(k, k); err != nil {
			b.Fatal(err)
		}
	}
	it, err := db.NewIter(IterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer it.Close()
	b.ReportAllocs()
	for b.Loop() {
		if !it.Next() && !it.First() {
			b.Fatal(it.Err())
		}
	}
}

// BenchmarkSetCommit commits every write, as a lone client without a pipeline has it done.
func BenchmarkSetCommit(b *testing.B) {
	db := openBench(b)
	keys, value := benchKeys(1<<18), make([]byte, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := db.Set(keys[i&(len(keys)-1)], value); err != nil {
			b.Fatal(err)
		}
		if err := db.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeleteCommit is BenchmarkSetCommit of deletions.
func BenchmarkDeleteCommit(b *testing.B) {
	db := openBench(b)
	keys := benchKeys(1 << 18)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := db.Delete(keys[i&(len(keys)-1)]); err != nil {
			b.Fatal(err)
		}
		if err := db.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}
