package storage

import (
	"math/rand/v2"
	"testing"
)

// openLayered returns an engine whose million keys lie in level 1 and, a tenth of them once more each, in six tables of
// level 0: what a reader meets under a load of writes. Everything is cached. The other keys are in no table.
func openLayered(b *testing.B) (db *DB, present, absent [][]byte) {
	const n, tables = 1 << 20, 6
	b.Helper()
	db, err := Open(b.TempDir(), Options{Fsync: SyncNever, L0Trigger: tables + 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	keys, value := benchKeys(2*n), make([]byte, 64)
	present, absent = keys[:n], keys[n:]
	set := func(keys [][]byte) {
		for i, k := range keys {
			if _, err := db.Set(k, value); err != nil {
				b.Fatal(err)
			}
			if i&1023 == 0 {
				if err := db.Commit(); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := db.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	set(present)
	if err := db.Compact(); err != nil {
		b.Fatal(err)
	}
	for i := range tables {
		set(present[i*n/10 : (i+1)*n/10])
	}
	for _, k := range keys {
		if _, _, err := db.Get(nil, k); err != nil {
			b.Fatal(err)
		}
	}
	return db, present, absent
}

func BenchmarkTryGetLayered(b *testing.B) {
	db, present, absent := openLayered(b)
	for _, test := range []struct {
		name string
		keys [][]byte
		want bool
	}{{"hit", present, true}, {"absent", absent, false}} {
		b.Run(test.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(3, 4))
			dst := make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				_, found, ready, err := db.TryGet(dst, test.keys[r.IntN(len(test.keys))])
				if found != test.want || !ready || err != nil {
					b.Fatal(found, ready, err)
				}
			}
		})
		b.Run(test.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(rand.Uint64(), 4))
				dst := make([]byte, 0, 64)
				for pb.Next() {
					_, found, ready, err := db.TryGet(dst, test.keys[r.IntN(len(test.keys))])
					if found != test.want || !ready || err != nil {
						b.Error(found, ready, err)
						return
					}
				}
			})
		})
	}
}
