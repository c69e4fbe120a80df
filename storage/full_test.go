package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/vfs"
)

// TestFullDiskAgainstModel lets the disk be full again and again, at any moment of flushes and compactions. Refused writes
// leave no trace, taken ones are all there.
func TestFullDiskAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fillAndFree(t, seed) })
		})
	}
}

func fillAndFree(t *testing.T, seed uint64) {
	w := newWorld(t, seed, SyncPolicy(seed%3))
	refused := 0
	for range 20 {
		w.disk.SetCapacity(w.disk.Used() + w.r.Int64N(40_000))
		for range 100 {
			o := w.randomOp()
			var b Batch
			switch o.kind {
			case 's':
				b.Set([]byte(o.key), []byte(o.value))
			case 'd':
				b.Delete([]byte(o.key))
			case 'r':
				b.DeleteRange([]byte(o.key), []byte(o.hi))
			}
			_, err := w.db.Apply(&b)
			if err == nil {
				w.model.do(o)
				err = w.db.Commit()
			}
			if err != nil {
				refused++
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
			}
			if w.r.IntN(10) == 0 {
				w.getKey(w.key())
			}
		}
		w.disk.SetCapacity(-1)
		time.Sleep(3 * retryInterval)
		if err := w.db.WriteError(); err != nil {
			t.Fatalf("writes are refused though there is room: %v", err)
		}
		w.check(w.db.Commit())
		w.commited()
		compareAll(t, w.db, w.model.now)
		if w.r.IntN(4) == 0 {
			w.restart()
		}
	}
	if refused == 0 {
		t.Error("the disk was never full")
	}
	w.check(w.db.Close())
}

// TestWhatTheLogDoesNotHoldIsNotRead: what a full disk did not take may be gone after a crash, so from then on it is
// neither read nor taken for absent; it can be read when the log has it.
func TestWhatTheLogDoesNotHoldIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		db, err := Open("/db", Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		set := func(key, value string) {
			if _, err := db.Set([]byte(key), []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		set("old", "1")
		set("kept", "1")
		if err := db.Commit(); err != nil {
			t.Fatal(err)
		}
		disk.SetCapacity(disk.Used())
		set("old", "2")
		set("new", "1")
		if err := db.Commit(); !errors.Is(err, ErrFull) {
			t.Fatalf("commit on a full disk: %v", err)
		}
		for _, k := range []string{"old", "new"} {
			if v, found, err := db.Get([]byte("dst:"), []byte(k)); !errors.Is(err, ErrFull) || found || string(v) != "dst:" {
				t.Errorf("Get(%s) = %q, %v, %v", k, v, found, err)
			}
			if _, _, ready, err := db.TryGet(nil, []byte(k)); !errors.Is(err, ErrFull) || !ready {
				t.Errorf("TryGet(%s): ready %v, %v", k, ready, err)
			}
		}
		for k, want := range map[string]string{"kept": "1", "never": ""} {
			if v, found, err := db.Get([]byte("dst:"), []byte(k)); err != nil || found != (want != "") || string(v) != "dst:"+want {
				t.Errorf("Get(%s) = %q, %v, %v", k, v, found, err)
			}
		}
		disk.SetCapacity(-1)
		time.Sleep(3 * retryInterval)
		for k, want := range map[string]string{"old": "2", "new": "1"} {
			if v, _, err := db.Get(nil, []byte(k)); err != nil || string(v) != want {
				t.Errorf("with room again: Get(%s) = %q, %v", k, v, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestReadsAllocateNothing(t *testing.T) {
	db, err := Open("/db", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	keys := benchKeys(2000)
	get := func() {
		dst := make([]byte, 0, 64)
		r := rand.New(rand.NewPCG(1, 1))
		allocs := testing.AllocsPerRun(1000, func() {
			if v, found, err := db.Get(dst, keys[r.IntN(len(keys))]); !found || err != nil || len(v) != 20 {
				t.Fatal(v, found, err)
			}
		})
		if allocs != 0 {
			t.Errorf("Get allocates %v times", allocs)
		}
	}
	for _, k := range keys {
		if _, err := db.Set(k, k[:20]); err != nil {
			t.Fatal(err)
		}
	}
	get()
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if _, _, err := db.Get(nil, k); err != nil {
			t.Fatal(err)
		}
	}
	get()
}
