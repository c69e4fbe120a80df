package storage

import (
	"fmt"
	"testing"

	"kvstore/storage/vfs"
)

// TestIterMemoryIsReused closes iterators twice while others take over their memory: each still shows its own keys.
func TestIterMemoryIsReused(t *testing.T) {
	d, err := Open("/db", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i := range 100 {
		if _, err := d.Set(fmt.Appendf(nil, "k%02d", i), fmt.Appendf(nil, "v%02d", i)); err != nil {
			t.Fatal(err)
		}
	}
	iter := func(lower, upper string) *Iter {
		it, err := d.NewIter(IterOptions{Lower: []byte(lower), Upper: []byte(upper)})
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	expect := func(it *Iter, from, to int) {
		t.Helper()
		i := from
		for ok := it.First(); ok; ok = it.Next() {
			if string(it.Key()) != fmt.Sprintf("k%02d", i) || string(it.Value()) != fmt.Sprintf("v%02d", i) {
				t.Fatalf("%s = %s, want number %d", it.Key(), it.Value(), i)
			}
			i++
		}
		if i != to || it.Err() != nil {
			t.Fatalf("the keys end at %d, want %d, %v", i, to, it.Err())
		}
	}
	old := iter("k10", "k20")
	expect(old, 10, 20)
	for range 3 {
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		a := iter("k30", "k40")
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		b := iter("k50", "k70")
		if old.First() || old.Valid() || old.Next() || old.Prev() || old.SeekGE(nil) {
			t.Fatal("a closed iterator moves")
		}
		expect(a, 30, 40)
		expect(b, 50, 70)
		expect(a, 30, 40)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		old = a
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWithin compares the tables that may hold keys in a range with those that overlap it.
func TestWithin(t *testing.T) {
	var tables []*table
	for i := range 4 {
		tbl := &table{}
		tbl.Smallest, tbl.Largest = []byte{byte(10 * i)}, []byte{byte(10*i + 5)}
		tables = append(tables, tbl)
	}
	bound := func(n int) []byte {
		if n < 0 {
			return nil
		}
		return []byte{byte(n)}
	}
	for lo := -1; lo < 40; lo++ {
		for hi := -1; hi < 40; hi++ {
			if hi >= 0 && hi < lo {
				continue
			}
			got := within(tables, bound(lo), bound(hi))
			want := 0
			for _, tbl := range tables {
				if (hi < 0 || int(tbl.Smallest[0]) < hi) && int(tbl.Largest[0]) >= lo {
					if want >= len(got) || got[want] != tbl {
						t.Fatalf("from %d to %d: %d tables, the one from %v is missing", lo, hi, len(got), tbl.Smallest)
					}
					want++
				}
			}
			if want != len(got) {
				t.Errorf("from %d to %d: %d tables, want %d", lo, hi, len(got), want)
			}
		}
	}
}
