package memtable

import (
	"bytes"
	"encoding/binary"
	"testing"

	"kvstore/storage/entry"
)

// TestPagesAreUsedAgain fills tables one after another from a pool: what the one before wrote is not seen in the next, a
// second table's worth of pages is not kept, and a closed pool keeps none.
func TestPagesAreUsedAgain(t *testing.T) {
	const size = 1 << 20
	pool := NewPool(size)
	fill := func(seed uint64, bytesToWrite int64) *Table {
		table := NewOffHeap(size, pool)
		value := bytes.Repeat([]byte{0xff}, 100)
		for i := uint64(1); table.Bytes() < bytesToWrite; i++ {
			key := binary.BigEndian.AppendUint64(nil, i*seed>>2)
			if _, _, _, found := table.Get(key, entry.MaxSeq); found {
				t.Fatalf("key %d of %x is there before it was set", i, seed)
			}
			table.Set(key, i, entry.KindSet, value)
		}
		return table
	}
	kept := func() int {
		pool.mu.Lock()
		defer pool.mu.Unlock()
		return len(pool.pages)
	}
	fill(0x9e3779b97f4a7c15, size/2).Free()
	half := kept()
	if half < 10 {
		t.Fatalf("%d pages are kept of half a table", half)
	}
	second := fill(0xbf58476d1ce4e5b9, size/4)
	if now := kept(); now >= half {
		t.Errorf("%d pages wait, %d before a table was filled", now, half)
	}
	second.Free()
	fill(0x94d049bb133111eb, 3*size).Free()
	if most := size/pageSizeOf(size) + 1; kept() > most {
		t.Errorf("%d pages are kept, more than %d", kept(), most)
	}
	last := fill(0x9e3779b97f4a7c15, size/2)
	pool.Close()
	last.Free()
	if kept() != 0 {
		t.Errorf("a closed pool keeps %d pages", kept())
	}
}
