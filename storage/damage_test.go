package storage

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/vfs"
)

// twoGenerations makes a store whose older values lie in a lower level than the newer ones of the same keys, and returns
// it closed, with its content and the name of the newer table.
func twoGenerations(t *testing.T) (disk *vfs.Mem, now map[string]string, newer string) {
	t.Helper()
	disk = vfs.NewMem()
	db := openTiny(t, disk)
	now = map[string]string{}
	for i := range 400 {
		mustSet(t, db, fmt.Sprintf("key%05d", i), "old")
		now[fmt.Sprintf("key%05d", i)] = "old"
	}
	must(t, db.Compact())
	for i := 100; i < 300; i += 2 {
		mustSet(t, db, fmt.Sprintf("key%05d", i), "new")
		now[fmt.Sprintf("key%05d", i)] = "new"
	}
	for i := 101; i < 300; i += 20 {
		_, err := db.Delete(fmt.Appendf(nil, "key%05d", i))
		must(t, err)
		delete(now, fmt.Sprintf("key%05d", i))
	}
	must(t, db.Flush())
	top := db.state.Load().version.levels[0]
	if len(top) != 1 {
		t.Fatalf("%d tables in level 0", len(top))
	}
	newer = db.name(tableName(top[0].Number))
	must(t, db.Close())
	return disk, now, newer
}

func openTiny(t *testing.T, fs vfs.FS) *DB {
	t.Helper()
	db, err := Open("/db", tinyDamageOptions(fs))
	must(t, err)
	return db
}

func tinyDamageOptions(fs vfs.FS) Options {
	o := tinyOptions(fs, SyncEverySecond)
	o.MemtableSize, o.L0Trigger = 1<<20, 4
	return o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustSet(t *testing.T, db *DB, key, value string) {
	t.Helper()
	_, err := db.Set([]byte(key), []byte(value))
	must(t, err)
}

// flip changes one bit of a file.
func flip(t *testing.T, fs vfs.FS, name string, at int) {
	t.Helper()
	data, err := vfs.ReadFile(fs, name)
	must(t, err)
	data[at] ^= 1 << (at % 8)
	must(t, vfs.WriteFile(fs, name, data))
}

// readAll reads every key and returns how many answered with damage. A wrong value, or an absent key that is there, ends
// the test.
func readAll(t *testing.T, db *DB, now map[string]string) (damaged int) {
	t.Helper()
	for i := range 400 {
		k := fmt.Sprintf("key%05d", i)
		v, there := now[k]
		got, found, err := db.Get(nil, []byte(k))
		switch {
		case IsCorrupt(err):
			damaged++
		case err != nil || found != there || string(got) != v:
			t.Fatalf("%s is %q, %v, %v; want %q, %v", k, got, found, err, v, there)
		}
	}
	return damaged
}

// scanAll walks everything both ways: it shows what is there, in order, and ends with an error if anything is missing.
func scanAll(t *testing.T, db *DB, now map[string]string) (err error) {
	t.Helper()
	it, err := db.NewIter(IterOptions{})
	must(t, err)
	defer it.Close()
	for _, move := range [][2]func() bool{{it.First, it.Next}, {it.Last, it.Prev}} {
		seen := 0
		for ok := move[0](); ok; ok = move[1]() {
			if v, there := now[string(it.Key())]; !there || v != string(it.Value()) {
				t.Fatalf("the iterator shows %q = %q, want %q, %v", it.Key(), it.Value(), v, there)
			}
			seen++
		}
		if it.Err() == nil && seen != len(now) {
			t.Fatalf("the iterator shows %d of %d keys and no error", seen, len(now))
		}
		err = it.Err()
		if err != nil && !IsCorrupt(err) {
			t.Fatal(err)
		}
	}
	return err
}

// TestDamageAtRest flips a bit at places all over a table, cuts it short and empties it. The engine opens, answers with
// the right value or with an error, also while and after the table is mended, takes writes, and serves what is refilled.
func TestDamageAtRest(t *testing.T) {
	disk, now, newer := twoGenerations(t)
	data, err := vfs.ReadFile(disk, newer)
	must(t, err)
	cases := map[string]func(*testing.T, *vfs.Mem){
		"cut":   func(t *testing.T, c *vfs.Mem) { must(t, vfs.WriteFile(c, newer, data[:len(data)/2])) },
		"empty": func(t *testing.T, c *vfs.Mem) { must(t, vfs.WriteFile(c, newer, nil)) },
	}
	for at := 0; at < len(data); at += 37 {
		cases[fmt.Sprintf("bit at %d", at)] = func(t *testing.T, c *vfs.Mem) { flip(t, c, newer, at) }
	}
	for at := len(data) - 200; at < len(data); at += 7 {
		cases[fmt.Sprintf("bit at %d", at)] = func(t *testing.T, c *vfs.Mem) { flip(t, c, newer, at) }
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := disk.Clone()
				damage(t, c)
				liveOn(t, c, now)
			})
		})
	}
}

func liveOn(t *testing.T, disk *vfs.Mem, content map[string]string) {
	var told []Damage
	o := tinyDamageOptions(disk)
	o.OnDamage = func(d Damage) { told = append(told, d) }
	db, err := Open("/db", o)
	must(t, err)
	now := maps.Clone(content)
	before := readAll(t, db, now)
	must(t, ignoreDamage(scanAll(t, db, now)))
	time.Sleep(3 * doctorRetry) // for the doctor
	damaged := readAll(t, db, now)
	if before > 0 && damaged == 0 || before == 0 && len(told) == 0 || len(told) != 1 {
		t.Errorf("%d keys were damaged, then %d; told %v", before, damaged, told)
	}
	if err := scanAll(t, db, now); err == nil {
		t.Error("an iterator passes over what is lost")
	}
	// Writes go on, and are read.
	mustSet(t, db, "key00150", "newest")
	now["key00150"] = "newest"
	must(t, db.Flush())
	must(t, db.Compact())
	if got := readAll(t, db, now); got > damaged {
		t.Errorf("%d keys are damaged after a compaction, %d before", got, damaged)
	}
	must(t, db.Close())
	if db, err = Open("/db", tinyDamageOptions(disk)); err != nil {
		t.Fatal(err)
	}
	lost := db.Lost()
	if len(lost) == 0 || db.Metrics().LostRanges != len(lost) {
		t.Errorf("lost %v, metrics %d", lost, db.Metrics().LostRanges)
	}
	readAll(t, db, now)
	for _, r := range lost {
		refill(t, db, r, now)
	}
	if len(db.Lost()) != 0 {
		t.Errorf("still lost: %v", db.Lost())
	}
	if n := readAll(t, db, now); n != 0 {
		t.Errorf("%d keys are damaged after all was refilled", n)
	}
	must(t, scanAll(t, db, now))
	must(t, db.Close())
	if names, err := disk.List("/db/" + QuarantineName); len(names) == 0 {
		t.Errorf("nothing was kept aside: %v", err)
	}
}

func ignoreDamage(err error) error {
	if IsCorrupt(err) {
		return nil
	}
	return err
}

// refill stores again what a range should hold.
func refill(t *testing.T, db *DB, r Range, now map[string]string) {
	t.Helper()
	for i := range 400 {
		k := fmt.Sprintf("key%05d", i)
		if k < string(r.Lo) || k >= string(r.Hi) {
			continue
		}
		if v, there := now[k]; there {
			mustSet(t, db, k, v)
		} else {
			_, err := db.Delete([]byte(k))
			must(t, err)
		}
	}
	must(t, db.Refilled(r.Lo, r.Hi))
}

// TestRefilledInParts forgets a lost range piece by piece.
// TestACompactionLeavesADamagedTableToTheDoctor opens a store whose damaged table is due for compaction.
func TestACompactionLeavesADamagedTableToTheDoctor(t *testing.T) {
	disk, _, newer := twoGenerations(t)
	flip(t, disk, newer, 100)
	synctest.Test(t, func(t *testing.T) {
		o := tinyDamageOptions(disk)
		o.L0Trigger, o.CompactionWorkers = 1, 1
		db, err := Open("/db", o)
		must(t, err)
		time.Sleep(10 * time.Second)
		if n := db.metrics.compactionErrors.Load(); n > 2 {
			t.Errorf("a compaction failed %d times in ten seconds", n)
		}
		if len(db.Lost()) == 0 {
			t.Error("the damaged table was not mended")
		}
		must(t, ignoreDamage(db.Close()))
	})
}

func TestRefilledInParts(t *testing.T) {
	disk, now, newer := twoGenerations(t)
	must(t, vfs.WriteFile(disk, newer, nil))
	db := openTiny(t, disk)
	all := readAll(t, db, now)
	last := all
	for from := 100; from < 300; from += 10 {
		lo, hi := fmt.Sprintf("key%05d", from), fmt.Sprintf("key%05d", from+10)
		refill(t, db, Range{[]byte(lo), []byte(hi)}, now)
		left := readAll(t, db, now)
		if left >= last && last > 0 {
			t.Fatalf("%d keys are damaged after a refill, %d before", left, last)
		}
		last = left
		if v, found, err := db.GetLeft(nil, []byte(lo)); err != nil || found != (now[lo] != "") || string(v) != now[lo] {
			t.Errorf("left of %s: %q, %v, %v", lo, v, found, err)
		}
		it, err := db.NewIter(IterOptions{Left: true})
		must(t, err)
		n := 0
		for ok := it.First(); ok; ok = it.Next() {
			n++
		}
		must(t, it.Close())
		if n < len(now)-all {
			t.Errorf("%d keys are left", n)
		}
	}
	if last != 0 || len(db.Lost()) != 0 {
		t.Errorf("%d damaged, lost %v", last, db.Lost())
	}
	must(t, db.Close())
}

// TestRewrittenTablesAreWhole rewrites tables for a range deletion that covers them in part.
func TestRewrittenTablesAreWhole(t *testing.T) {
	disk := vfs.NewMem()
	db := openTiny(t, disk)
	for i := range 400 {
		mustSet(t, db, fmt.Sprintf("key%05d", i), strings.Repeat("v", 50))
	}
	must(t, db.Compact())
	before := tablesBelow(db)
	must(t, db.DropRange([]byte("key00003"), []byte("key00005")))
	must(t, db.Flush())
	must(t, db.Compact())
	if after := tablesBelow(db); after > before+10 {
		t.Errorf("%d tables after a rewrite, %d before", after, before)
	}
	must(t, db.Close())
}

func tablesBelow(db *DB) (n int) {
	m := db.Metrics()
	for _, l := range m.Levels[1:] {
		n += l.Tables
	}
	return n
}
