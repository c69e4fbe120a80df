package storage

import (
	"encoding/binary"
	"testing"

	"kvstore/storage/vfs"
)

// TestExpectAll looks ahead in memtables and tables, for keys that are there and others, while both change. What is read
// then is what was read without.
func TestExpectAll(t *testing.T) {
	db, err := Open("/db", Options{FS: vfs.NewMem(), MemtableSize: 1 << 20, CacheSize: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	nth := func(i int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 >> 2 }
	value := make([]byte, 200)
	var tokens []uint64
	for i := range 20_000 {
		if _, err := db.Set(binary.BigEndian.AppendUint64(nil, nth(i)), value); err != nil {
			t.Fatal(err)
		}
		if tokens = append(tokens, nth(i/2), nth(i*7)); i%10 == 0 {
			db.ExpectAll(tokens) // more than are looked for at once
			tokens = tokens[:0]
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 {
		tokens = append(tokens[:0], nth(i), ^uint64(0), 0)
		db.ExpectAll(tokens)
		if v, found, err := db.Get(nil, binary.BigEndian.AppendUint64(nil, nth(i))); !found || err != nil || len(v) != len(value) {
			t.Fatalf("key %d: %v, %v", i, found, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { db.ExpectAll(tokens) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
