package storage

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/vfs"
)

func reserveOptions(disk vfs.FS) Options {
	o := tinyOptions(disk, SyncEverySecond)
	o.MemtableSize, o.Reserve = 64<<10, 512<<10
	return o
}

// fillUp writes until the disk is full, and returns what was acknowledged.
func fillUp(t *testing.T, db *DB, disk *vfs.Mem) map[string]string {
	t.Helper()
	now := map[string]string{}
	synctest.Wait() // for the reserve
	disk.SetCapacity(disk.Used() + 300_000)
	for i := 0; ; i++ {
		k, v := fmt.Sprintf("key%05d", i), strings.Repeat("v", 200)
		_, err := db.Set([]byte(k), []byte(v))
		if err == nil {
			now[k] = v // visible, be it refused: the log takes it with the reserve
			err = db.Commit()
		}
		if err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if len(now) < 500 {
		t.Fatalf("only %d keys were written", len(now))
	}
	return now
}

func wantAll(t *testing.T, db *DB, now map[string]string) {
	t.Helper()
	for i := range len(now) + 100 {
		k := fmt.Sprintf("key%05d", i)
		got, found, err := db.Get(nil, []byte(k))
		if v, there := now[k]; err != nil || found != there || string(got) != v {
			t.Fatalf("%s is %.10q, %v, %v; want %.10q, %v", k, got, found, err, v, there)
		}
	}
}

// remove deletes some keys, durably, on a disk that takes no other writes.
func remove(t *testing.T, db *DB, now map[string]string, from int) {
	t.Helper()
	for i := from; i < from+100; i++ {
		k := fmt.Sprintf("key%05d", i)
		_, err := db.Delete([]byte(k))
		if i%2 == 0 {
			_, err = db.SetUrgent([]byte(k), []byte("gone"), 0)
			now[k] = "gone"
		} else {
			delete(now, k)
		}
		must(t, err)
		must(t, db.Commit())
	}
	if _, err := db.Set([]byte("another"), nil); !errors.Is(err, ErrFull) {
		t.Errorf("a full disk takes a write: %v", err)
	}
}

// TestDeletionsOnAFullDisk: reads and deletions go on when the disk is full, and writes when there is room again.
func TestDeletionsOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		db, err := Open("/db", reserveOptions(disk))
		must(t, err)
		now := fillUp(t, db, disk)
		time.Sleep(3 * retryInterval)
		wantAll(t, db, now)
		remove(t, db, now, 0)
		wantAll(t, db, now)
		// What was deleted stays so after the loss of the process, with the disk as full as it was.
		killed := disk.Clone()
		after, err := Open("/db", reserveOptions(killed))
		must(t, err)
		wantAll(t, after, now)
		must(t, after.Close())

		time.Sleep(3 * retryInterval)
		if !errors.Is(db.WriteError(), ErrFull) {
			t.Errorf("writes are taken: %v", db.WriteError())
		}
		disk.SetCapacity(-1)
		time.Sleep(3 * retryInterval)
		must(t, db.WriteError())
		mustSet(t, db, "key00000", "again")
		now["key00000"] = "again"
		must(t, db.Flush())
		if there, _ := vfs.Exists(disk, "/db/"+reserveName); !there {
			t.Error("there is no reserve again")
		}
		must(t, db.Close())
		db, err = Open("/db", reserveOptions(disk))
		must(t, err)
		wantAll(t, db, now)
		must(t, db.Close())
	})
}

// TestOpenOnAFullDisk opens an engine, with logs to be replayed, where not a byte is free.
func TestOpenOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := vfs.NewMem()
		db, err := Open("/db", reserveOptions(whole))
		must(t, err)
		now := map[string]string{}
		for i := range 150 {
			now[fmt.Sprintf("key%05d", i)] = "value"
			mustSet(t, db, fmt.Sprintf("key%05d", i), "value")
		}
		must(t, db.DropRange([]byte("key00010"), []byte("key00020")))
		for i := 10; i < 20; i++ {
			delete(now, fmt.Sprintf("key%05d", i))
		}
		must(t, db.Commit())
		synctest.Wait()
		disk := whole.Clone()
		must(t, db.Close())

		disk.SetCapacity(disk.Used())
		for _, from := range []int{20, 30} { // the second start finds no reserve, but the room that it has left
			db, err = Open("/db", reserveOptions(disk))
			must(t, err)
			wantAll(t, db, now)
			remove(t, db, now, from)
			time.Sleep(2 * retryInterval)
			wantAll(t, db, now)
			must(t, db.Close())
		}
		disk.SetCapacity(-1)
		db, err = Open("/db", reserveOptions(disk))
		must(t, err)
		wantAll(t, db, now)
		mustSet(t, db, "key00001", "new")
		now["key00001"] = "new"
		must(t, db.Compact())
		wantAll(t, db, now)
		must(t, db.Close())
	})
}

// TestAFailedFlushStaysFailed: after one failed flush of the log no other is believed, whatever the disk says then.
func TestAFailedFlushStaysFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failing atomic.Bool
		var syncs atomic.Int64
		disk := vfs.NewMem()
		fs := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, name string) error {
			if op == vfs.OpSync && strings.HasSuffix(name, ".log") {
				syncs.Add(1)
				if failing.Load() {
					return errors.New("input/output error")
				}
			}
			return nil
		}}
		o := tinyOptions(fs, SyncAlways)
		db, err := Open("/db", o)
		must(t, err)
		mustSet(t, db, "a", "1")
		must(t, db.Commit())
		synctest.Wait()
		failing.Store(true)
		mustSet(t, db, "b", "2")
		if err := db.Commit(); !errors.Is(err, ErrReadOnly) {
			t.Fatalf("a failed flush is %v", err)
		}
		failing.Store(false)
		synctest.Wait()
		before := syncs.Load()
		time.Sleep(time.Minute)
		for range 3 {
			if _, err := db.Set([]byte("c"), nil); !errors.Is(err, ErrReadOnly) {
				t.Errorf("a write after a failed flush: %v", err)
			}
			if err := db.Commit(); !errors.Is(err, ErrReadOnly) {
				t.Errorf("a commit after a failed flush: %v", err)
			}
		}
		if n := syncs.Load() - before; n != 0 {
			t.Errorf("the log was flushed %d times more", n)
		}
		if v, found, err := db.Get(nil, []byte("a")); !found || err != nil || string(v) != "1" {
			t.Errorf("a read after a failed flush: %q, %v, %v", v, found, err)
		}
		_ = db.Close()
		db, err = Open("/db", o)
		must(t, err)
		mustSet(t, db, "c", "3")
		must(t, db.Commit())
		must(t, db.Close())
	})
}
