package storage

import (
	"encoding/binary"
	"testing"

	"kvstore/storage/vfs"
)

// TestFlushedBlocksNeedNoDisk reads what was just flushed without I/O; but not where a flush would take most of the cache.
func TestFlushedBlocksNeedNoDisk(t *testing.T) {
	for _, test := range []struct {
		name  string
		cache int64
		ready bool
	}{{"roomy", 4 << 20, true}, {"small", 1 << 20, false}} {
		db, err := Open("/db", Options{FS: vfs.NewMem(), MemtableSize: 1 << 20, CacheSize: test.cache})
		if err != nil {
			t.Fatal(err)
		}
		nth := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15>>2) }
		value := make([]byte, 100)
		for i := range 2000 {
			if _, err := db.Set(nth(i), value); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		if m := db.Metrics(); m.Cache.Blocks > 2 { // the table's index may be one
			t.Errorf("%s: %d blocks are cached, though nobody reads", test.name, m.Cache.Blocks)
		}
		for i := range 2000 / (warmShare / 2) {
			if _, found, err := db.Get(nil, nth(i)); !found || err != nil {
				t.Fatal(found, err)
			}
		}
		for i := range 2000 {
			if _, err := db.Set(nth(i), value); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			v, found, ready, err := db.TryGet(nil, nth(i))
			if err != nil || ready != test.ready || ready && (!found || len(v) != len(value)) {
				t.Fatalf("%s: key %d: %d bytes, found %v, ready %v, %v", test.name, i, len(v), found, ready, err)
			}
			if !ready {
				break
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
