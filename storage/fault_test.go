package storage

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/vfs"
)

// TestFullDisk fills the disk under the engine, gives room again, and expects that nothing acknowledged was lost.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		o := tinyOptions(disk, SyncEverySecond)
		db, err := Open("/db", o)
		if err != nil {
			t.Fatal(err)
		}
		now := fill(t, db, 0, 100)
		synctest.Wait()
		disk.SetCapacity(disk.Used() + 2000)
		acknowledged := 0
		for i := 0; err == nil; i++ {
			k, v := fmt.Sprintf("full%05d", i), strings.Repeat("v", 100)
			if _, err = db.Set([]byte(k), []byte(v)); err == nil {
				err = db.Commit()
			}
			if err == nil {
				now[k] = v
				acknowledged++
			}
		}
		if !errors.Is(err, ErrFull) || !errors.Is(db.WriteError(), ErrFull) {
			t.Fatalf("a full disk gave %v, WriteError %v", err, db.WriteError())
		}
		if _, err := db.Set([]byte("refused"), nil); !errors.Is(err, ErrFull) {
			t.Fatalf("Set on a full disk: %v", err)
		}
		if v, found, err := db.Get(nil, []byte("key00007")); !found || err != nil || string(v) != "value7" {
			t.Fatalf("Get on a full disk: %q, %v, %v", v, found, err)
		}
		time.Sleep(3 * retryInterval)
		if !errors.Is(db.WriteError(), ErrFull) {
			t.Fatalf("writes are taken though the disk is full: %v", db.WriteError())
		}
		disk.SetCapacity(-1)
		time.Sleep(2 * retryInterval)
		if err := db.WriteError(); err != nil {
			t.Fatalf("writes are refused though there is room: %v", err)
		}
		maps.Copy(now, fill(t, db, 200, 300))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if db, err = Open("/db", o); err != nil {
			t.Fatal(err)
		}
		for k, v := range now {
			if got, found, err := db.Get(nil, []byte(k)); !found || err != nil || string(got) != v {
				t.Fatalf("%q = %q, %v, %v after the disk was full", k, got, found, err)
			}
		}
		if acknowledged == 0 {
			t.Error("nothing was written before the disk was full")
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFailedSync(t *testing.T) {
	disk := vfs.NewMem()
	var broken atomic.Bool
	faulty := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, name string) error {
		if broken.Load() && op == vfs.OpSync && strings.HasSuffix(name, ".log") {
			return errors.New("input/output error")
		}
		return nil
	}}
	db, err := Open("/db", Options{FS: faulty, Fsync: SyncAlways})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, 0, 10)
	broken.Store(true)
	if _, err := db.Set([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("Commit after a failed sync: %v", err)
	}
	broken.Store(false)
	if _, err := db.Set([]byte("k"), []byte("v")); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("Set after a failed sync: %v", err)
	}
	asked := make(chan error, 1)
	if ok, err := db.CommitAsync(func(err error) { asked <- err }); ok || err != nil {
		t.Fatalf("CommitAsync: %v, %v", ok, err)
	}
	if err := <-asked; !errors.Is(err, ErrReadOnly) {
		t.Fatalf("CommitAsync after a failed sync: %v", err)
	}
	if v, found, err := db.Get(nil, []byte("key00003")); !found || err != nil || string(v) != "value3" {
		t.Fatalf("Get after a failed sync: %q, %v, %v", v, found, err)
	}
	db.Close()
	if db, err = Open("/db", Options{FS: faulty}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Set([]byte("k"), []byte("v")); err != nil {
		t.Fatalf("Set after opening again: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCloseSaysWhatItCouldNotWrite has the last write, or the last flush, of an engine fail.
func TestCloseSaysWhatItCouldNotWrite(t *testing.T) {
	failure := errors.New("input/output error")
	for _, broken := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		var armed atomic.Bool
		faulty := &vfs.Faulty{FS: vfs.NewMem(), Inject: func(op vfs.Op, name string) error {
			if op == broken && armed.Load() && strings.HasSuffix(name, ".log") {
				return failure
			}
			return nil
		}}
		db, err := Open("/db", Options{FS: faulty, Fsync: SyncNever})
		if err != nil {
			t.Fatal(err)
		}
		waitPrepared(db)
		if _, err := db.Set([]byte("k"), []byte("v")); err != nil {
			t.Fatal(err)
		}
		armed.Store(true)
		if err := db.Close(); !errors.Is(err, failure) {
			t.Errorf("Close after a failed %v: %v", broken, err)
		}
		if m := db.Metrics(); m.Durable != 0 {
			t.Errorf("after a failed %v %d operations count as durable", broken, m.Durable)
		}
	}
}

func TestDamagedTable(t *testing.T) {
	disk := vfs.NewMem()
	o := Options{FS: disk, Compression: "none"}
	db, err := Open("/db", o)
	if err != nil {
		t.Fatal(err)
	}
	now := fill(t, db, 0, 2000)
	if err := errors.Join(db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := disk.List("/db")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".sst") {
			data, err := vfs.ReadFile(disk, "/db/"+n)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/3] ^= 4
			if err := vfs.WriteFile(disk, "/db/"+n, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if db, err = Open("/db", o); err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for k, v := range now {
		got, found, err := db.Get(nil, []byte(k))
		switch {
		case IsCorrupt(err):
			damaged++
		case !found || err != nil || !bytes.Equal(got, []byte(v)):
			t.Fatalf("%q = %q, %v, %v", k, got, found, err)
		}
	}
	if damaged == 0 || damaged == len(now) {
		t.Errorf("%d of %d keys are in the damaged block", damaged, len(now))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLocked(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"mem": vfs.NewMem(), "os": vfs.OS{}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db, err := Open(dir, Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(dir, Options{FS: fs})
			held, ok := errors.AsType[*vfs.LockedError](err)
			if !errors.Is(err, ErrLocked) || !ok || held.PID == 0 {
				t.Errorf("opened twice: %v", err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = Open(dir, Options{FS: fs}); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestUnknownManifest leaves it open whether the manifest has an edit, and expects that none follows: a compaction that
// removes a table twice would make the manifest contradict itself.
func TestUnknownManifest(t *testing.T) {
	disk := vfs.NewMem()
	var armed atomic.Bool
	faulty := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, name string) error {
		if op == vfs.OpSync && strings.Contains(name, "MANIFEST") && armed.Swap(false) {
			return errors.New("input/output error")
		}
		return nil
	}}
	o := tinyOptions(faulty, SyncNever)
	o.L0Trigger = 7 // Only Compact compacts.
	db, err := Open("/db", o)
	if err != nil {
		t.Fatal(err)
	}
	now := fill(t, db, 0, 50)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	for range 3 {
		if err := db.Compact(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("Compact after a failed sync of the manifest: %v", err)
		}
		// Compact does not even begin while writes are refused, but the workers' compactions under way go on.
		if _, err := db.runJob(db.chooseAll); !errors.Is(err, ErrReadOnly) {
			t.Errorf("a compaction after a failed sync of the manifest: %v", err)
		}
	}
	compareAll(t, db, now)
	db.Close()
	if db, err = Open("/db", tinyOptions(disk, SyncNever)); err != nil {
		t.Fatal(err)
	}
	compareAll(t, db, now)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCloseFlushesEveryLog closes an engine under SyncNever whose full memtables are in no table yet. Close promises what a
// policy without flushes does not: nothing is lost behind it.
func TestCloseFlushesEveryLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		hold := make(chan struct{})
		faulty := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, name string) error {
			if op == vfs.OpCreate && strings.HasSuffix(name, ".sst") {
				<-hold
				return errors.New("input/output error")
			}
			return nil
		}}
		o := tinyOptions(faulty, SyncNever)
		o.MaxImmutable = 4
		db, err := Open("/db", o)
		if err != nil {
			t.Fatal(err)
		}
		now := fill(t, db, 0, 500)
		if m := db.Metrics(); m.Immutable < 2 {
			t.Fatalf("only %d memtables wait", m.Immutable)
		}
		time.Sleep(2 * syncInterval)
		closed := make(chan error)
		go func() { closed <- db.Close() }()
		synctest.Wait()
		close(hold)
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(10) {
			db, err := Open("/db", tinyOptions(disk.CrashClone(rand.New(rand.NewPCG(seed, 1))), SyncNever))
			if err != nil {
				t.Fatalf("crash %d: %v", seed, err)
			}
			compareAll(t, db, now)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
