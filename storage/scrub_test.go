package storage

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/vfs"
)

// TestScrubberFindsDamage flips a bit in a table that nobody reads, and waits for a period.
func TestScrubberFindsDamage(t *testing.T) {
	disk, now, newer := twoGenerations(t)
	synctest.Test(t, func(t *testing.T) {
		c := disk.Clone()
		var told []Damage
		o := tinyDamageOptions(c)
		o.ScrubPeriod = time.Hour
		o.OnDamage = func(d Damage) { told = append(told, d) }
		db, err := Open("/db", o)
		must(t, err)
		flipInPlace(t, c, newer, 1000)
		before := db.Metrics()
		time.Sleep(o.ScrubPeriod + time.Minute)
		m := db.Metrics()
		if m.ScrubPasses == 0 || m.DamageFound != 1 || m.TablesMended != 1 || len(told) != 1 || len(told[0].Lost) == 0 {
			t.Errorf("%d passes, damage %d, mended %d, told %v", m.ScrubPasses, m.DamageFound, m.TablesMended, told)
		}
		if !strings.Contains(told[0].Err.File, newer) || told[0].Err.Offset == 0 && told[0].Err.Reason == "" {
			t.Errorf("told %v", told[0].Err)
		}
		if m.Cache.Misses > before.Cache.Misses+20 || m.ScrubBytes == 0 {
			t.Errorf("%d blocks went through the cache, %d bytes were verified", m.Cache.Misses-before.Cache.Misses, m.ScrubBytes)
		}
		if readAll(t, db, now) == 0 {
			t.Error("nothing is lost")
		}
		must(t, db.Close())
	})
}

// flipInPlace changes one bit of a file behind the back of those who have it open.
func flipInPlace(t *testing.T, fs vfs.FS, name string, at int64) {
	t.Helper()
	f, err := fs.OpenAppend(name)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	must(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b[:], at)
	must(t, errors.Join(err, f.Close()))
}

// TestScrubberIsEvenAndResumes: a pass takes its period, and goes on after a restart where it was.
func TestScrubberIsEvenAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		o := tinyDamageOptions(disk)
		o.ScrubPeriod = 10 * time.Hour
		db, err := Open("/db", o)
		must(t, err)
		for first := range 2 { // so that tables are merged, and cut, and not moved
			for i := first; i < 3000; i += 2 {
				mustSet(t, db, fmt.Sprintf("key%05d", i), strings.Repeat(fmt.Sprint(i), 20))
			}
			must(t, db.Compact())
		}
		must(t, db.Close())
		db, err = Open("/db", o)
		must(t, err)
		m := db.Metrics()
		total := int64(0)
		for _, l := range m.Levels {
			total += l.Bytes
		}
		time.Sleep(5 * time.Hour)
		half := db.Metrics().ScrubBytes
		if half < total/4 || half > total*3/4 {
			t.Errorf("%d of %d bytes are verified after half of the period", half, total)
		}
		must(t, db.Close())
		db, err = Open("/db", o)
		must(t, err)
		time.Sleep(5*time.Hour + time.Minute)
		if m := db.Metrics(); m.ScrubPasses != 1 || m.ScrubBytes > total-half/2 {
			t.Errorf("after a restart: %d passes, %d bytes more than the %d of %d", m.ScrubPasses, m.ScrubBytes, half, total)
		}
		must(t, db.Close())
	})
}

// TestScrubMendsLogAndManifest: what is damaged on the disk and whole in memory is written again.
func TestScrubMendsLogAndManifest(t *testing.T) {
	for _, kind := range []string{"log", "manifest"} {
		t.Run(kind, func(t *testing.T) {
			disk := vfs.NewMem()
			o := tinyDamageOptions(disk)
			db, err := Open("/db", o)
			must(t, err)
			now := fill(t, db, 0, 100)
			must(t, db.Flush())
			maps.Copy(now, fill(t, db, 100, 100))
			name := "/db/" + logName(db.active.log)
			if kind == "manifest" {
				name = db.name("MANIFEST-" + fmt.Sprintf("%06d", db.tree.manifest.Number()))
			}
			flipInPlace(t, disk, name, 90)
			must(t, db.Scrub(t.Context()))
			if m := db.Metrics(); m.DamageFound != 1 || m.LostRanges != 0 {
				t.Errorf("%+v", m)
			}
			must(t, db.Close())
			db, err = Open("/db", o)
			must(t, err)
			compareAll(t, db, now)
			must(t, db.Close())
		})
	}
}

// TestDiskDelay: work that does not come back counts as long as it lasts, and for a while after.
func TestDiskDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		stuck := map[vfs.Op]bool{}
		fs := &vfs.Faulty{FS: vfs.NewMem(), Inject: func(op vfs.Op, name string) error {
			mu.Lock()
			wait := stuck[op] && strings.HasSuffix(name, ".log")
			mu.Unlock()
			if wait {
				time.Sleep(3 * time.Second)
			}
			return nil
		}}
		db, err := Open("/db", tinyOptions(fs, SyncEverySecond))
		must(t, err)
		synctest.Wait()
		set := func(op vfs.Op, yes bool) {
			mu.Lock()
			stuck[op] = yes
			mu.Unlock()
		}
		set(vfs.OpSync, true)
		mustSet(t, db, "a", "1")
		time.Sleep(2500 * time.Millisecond)
		if write, flush := db.DiskDelay(); write > time.Second || flush < time.Second {
			t.Errorf("during a flush: %v, %v", write, flush)
		}
		set(vfs.OpSync, false)
		time.Sleep(20 * time.Second)
		if write, flush := db.DiskDelay(); write != 0 || flush != 0 {
			t.Errorf("long after: %v, %v", write, flush)
		}
		set(vfs.OpWrite, true)
		mustSet(t, db, "b", "2")
		must(t, db.Commit())
		if write, _ := db.DiskDelay(); write < 3*time.Second {
			t.Errorf("after a slow write: %v", write)
		}
		set(vfs.OpWrite, false)
		must(t, db.Close())
	})
}

// Whatever bit of a table flips while the engine is open, once a scrub has mended it a restart finds no more damage: also
// where the bit is in what the engine has in memory and does not read again.
func TestAScrubbedTableOpensAgain(t *testing.T) {
	disk, now, newer := twoGenerations(t)
	info, err := disk.Stat(newer)
	must(t, err)
	whole := 0
	for at := range info.Size {
		if at%29 != 0 && at < info.Size-160 {
			continue // the blocks of records are large, what comes behind them is not
		}
		disk := disk.Clone()
		db := openTiny(t, disk)
		flipInPlace(t, disk, newer, at)
		must(t, db.Scrub(t.Context()))
		lost := db.Lost()
		must(t, db.Close())
		db = openTiny(t, disk)
		must(t, db.Scrub(t.Context()))
		if again := db.Lost(); !reflect.DeepEqual(again, lost) {
			t.Fatalf("bit %d of %d: lost is %x, and after a restart %x", at, info.Size, lost, again)
		}
		if damaged := readAll(t, db, now); damaged == 0 {
			whole++
		}
		must(t, db.Close())
	}
	if whole < 20 {
		t.Errorf("only %d flips cost nothing", whole)
	}
}
