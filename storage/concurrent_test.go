package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/vfs"
)

// account is one of the keys whose values always sum to zero: every batch moves an amount from one to another.
func account(i int) []byte { return fmt.Appendf(nil, "account%03d", i) }

const accounts = 64

func sumOf(t *testing.T, it *Iter) int64 {
	t.Helper()
	sum, n := int64(0), 0
	for ok := it.First(); ok; ok = it.Next() {
		if bytes.HasPrefix(it.Key(), []byte("account")) {
			sum += int64(binary.BigEndian.Uint64(it.Value()))
			n++
		}
	}
	if it.Err() != nil || n != accounts {
		t.Errorf("%d accounts, %v", n, it.Err())
	}
	return sum
}

// TestReadersBesideWriters runs batches, range deletions, flushes, compactions and checkpoints beside readers that
// check that every view is consistent.
func TestReadersBesideWriters(t *testing.T) {
	disk := vfs.NewMem()
	db, err := Open("/db", tinyOptions(disk, SyncEverySecond))
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	for i := range accounts {
		b.Set(account(i), make([]byte, 8))
	}
	if _, err := db.Apply(&b); err != nil {
		t.Fatal(err)
	}
	var readers, writers sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				it, err := db.NewIter(IterOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if sum := sumOf(t, it); sum != 0 {
					t.Errorf("the accounts of an iterator sum to %d", sum)
				}
				it.Close()
				s := db.NewSnapshot()
				if it, err = s.NewIter(IterOptions{Lower: []byte("a"), Upper: []byte("b")}); err != nil {
					t.Error(err)
					return
				}
				if sum := sumOf(t, it); sum != 0 {
					t.Errorf("the accounts of a snapshot sum to %d", sum)
				}
				it.Close()
				s.Close()
				db.Expect(7)
				db.ExpectAll([]uint64{7, 1 << 60, 7})
				if _, found, err := db.Get(nil, account(7)); !found || err != nil {
					t.Errorf("account 7: %v, %v", found, err)
				}
			}
		})
	}
	writers.Go(func() { moveMoney(t, db) })
	writers.Go(func() {
		for i := range 1500 {
			if _, err := db.Set(fmt.Appendf(nil, "other%d", i%300), bytes.Repeat([]byte("x"), i%100)); err != nil {
				t.Error(err)
			}
			if i%100 == 0 {
				if err := errors.Join(db.DropRange([]byte("other"), []byte("other2")), db.Commit()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	writers.Go(func() {
		for i := range 5 {
			dir := fmt.Sprintf("/copy%d", i)
			if err := errors.Join(db.Checkpoint(context.Background(), dir), db.Compact()); err != nil {
				t.Error(err)
				return
			}
			copied, err := Open(dir, tinyOptions(disk, SyncEverySecond))
			if err != nil {
				t.Error(err)
				return
			}
			it, err := copied.NewIter(IterOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			if sum := sumOf(t, it); sum != 0 {
				t.Errorf("the accounts of a checkpoint sum to %d", sum)
			}
			if err := errors.Join(it.Close(), copied.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// moveMoney is the accounts' only writer.
func moveMoney(t *testing.T, db *DB) {
	r := rand.New(rand.NewPCG(1, 1))
	balance := make([]int64, accounts)
	var b Batch
	for range 1500 {
		from, to, amount := r.IntN(accounts), r.IntN(accounts), r.Int64N(1000)
		balance[from] -= amount
		balance[to] += amount
		b.Reset()
		if r.IntN(50) == 0 {
			// All are deleted and made anew, in one step.
			b.DeleteRange([]byte("account"), []byte("account~"))
			for i := range accounts {
				b.Set(account(i), binary.BigEndian.AppendUint64(nil, uint64(balance[i])))
			}
		}
		b.Set(account(from), binary.BigEndian.AppendUint64(nil, uint64(balance[from])))
		b.Set(account(to), binary.BigEndian.AppendUint64(nil, uint64(balance[to])))
		if _, err := db.Apply(&b); err != nil {
			t.Error(err)
			return
		}
	}
}

// TestGroupCommit lets many commits wait at once: all return, and share flushes.
func TestGroupCommit(t *testing.T) {
	disk := vfs.NewMem()
	// The first flush of the log holds the others up until all have asked.
	held, release := make(chan struct{}), make(chan struct{})
	var syncs atomic.Int64
	var armed atomic.Bool
	faulty := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, _ string) error {
		if op == vfs.OpSync && armed.Load() && syncs.Add(1) == 1 {
			close(held)
			<-release
		}
		return nil
	}}
	db, err := Open("/db", Options{FS: faulty, Fsync: SyncAlways})
	if err != nil {
		t.Fatal(err)
	}
	// Once writes go through the files of the first rotation are prepared or will not sync again.
	fill(t, db, 0, 1)
	db.Flush()
	fill(t, db, 1, 1)
	waitPrepared(db)
	armed.Store(true)
	const commits = 50
	results := make(chan error, commits)
	for i := range commits {
		if _, err := db.Set(fmt.Appendf(nil, "k%d", i), nil); err != nil {
			t.Fatal(err)
		}
		if ok, err := db.CommitAsync(func(err error) { results <- err }); ok || err != nil {
			t.Fatalf("commit %d: %v, %v", i, ok, err)
		}
		if i == 0 {
			<-held
		}
	}
	close(release)
	for range commits {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d flushes for a commit and %d that came meanwhile", n, commits-1)
	}
	if err := db.Commit(); err != nil {
		t.Fatal(err)
	}
	if ok, err := db.CommitAsync(nil); !ok || err != nil {
		t.Errorf("nothing is pending: %v, %v", ok, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// waitPrepared waits until the next rotation's files are there.
func waitPrepared(db *DB) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for len(db.next) < preparedAhead {
		db.room.Wait()
	}
}

// TestEverySecond writes without a commit; within two seconds a loss of power takes nothing.
func TestEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		db, err := Open("/db", Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Set([]byte("k"), []byte("v")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * syncInterval)
		if m := db.Metrics(); m.Durable != m.Visible || m.Syncs == 0 {
			t.Errorf("durable is %d of %d after two seconds", m.Durable, m.Visible)
		}
		after, err := Open("/db", Options{FS: disk.CrashClone(rand.New(rand.NewPCG(1, 1)))})
		if err != nil {
			t.Fatal(err)
		}
		if v, found, err := after.Get(nil, []byte("k")); !found || err != nil || string(v) != "v" {
			t.Errorf("after the crash: %q, %v, %v", v, found, err)
		}
		if err := errors.Join(after.Close(), db.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClosed(t *testing.T) {
	db, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := db.NewSnapshot()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, setErr := db.Set([]byte("k"), nil)
	_, _, getErr := db.Get(nil, []byte("k"))
	_, _, _, tryErr := db.TryGet(nil, []byte("k"))
	_, iterErr := db.NewIter(IterOptions{})
	_, _, snapErr := s.Get(nil, []byte("k"))
	for i, err := range []error{
		setErr, getErr, tryErr, iterErr, snapErr,
		db.Flush(), db.Compact(), db.Checkpoint(context.Background(), t.TempDir()), db.WriteError(), db.Close(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d on a closed engine: %v", i, err)
		}
	}
	s.Close()
	db.Metrics()
	db.Expect(1)
	db.ExpectAll([]uint64{1})
}

func TestLimits(t *testing.T) {
	db, err := Open("/db", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b Batch
	b.Set(make([]byte, MaxKeySize+1), nil)
	_, setErr := db.Set(make([]byte, MaxKeySize+1), nil)
	_, applyErr := db.Apply(&b)
	if !errors.Is(setErr, ErrTooLarge) || !errors.Is(applyErr, ErrTooLarge) {
		t.Errorf("a key over the limit: %v, %v", setErr, applyErr)
	}
	if _, err := db.Set(make([]byte, MaxKeySize), nil); err != nil {
		t.Errorf("a key at the limit: %v", err)
	}
	if _, err := Open("/other", Options{FS: vfs.NewMem(), Compression: "lzma"}); err == nil {
		t.Error("an unknown compression is taken")
	}
	if _, err := Open("/other", Options{FS: vfs.NewMem(), MemtableSize: 1}); err == nil {
		t.Error("a memtable of one byte is taken")
	}
}

// TestDropRangeGivesRoomBack drops everything: the tables go, and the deletion itself is forgotten.
func TestDropRangeGivesRoomBack(t *testing.T) {
	disk := vfs.NewMem()
	db, err := Open("/db", tinyOptions(disk, SyncNever))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, 0, 2000)
	if err := errors.Join(db.Compact(), db.DropRange([]byte("key00100"), []byte("key01900")), db.Compact()); err != nil {
		t.Fatal(err)
	}
	m := db.Metrics()
	entries := int64(0)
	for _, l := range m.Levels {
		entries += l.Entries
	}
	if m.RangeDeletions != 0 || entries != 200 {
		t.Errorf("%d range deletions and %d entries are left", m.RangeDeletions, entries)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// Every table file still there belongs to the tree.
	names, err := disk.List("/db")
	if err != nil {
		t.Fatal(err)
	}
	tables := 0
	for _, l := range m.Levels {
		tables += l.Tables
	}
	if n := len(slices.DeleteFunc(names, func(n string) bool { return !bytes.HasSuffix([]byte(n), []byte(".sst")) })); n != tables {
		t.Errorf("%d table files for %d tables", n, tables)
	}
}

// TestWritersWaitForFlushes holds the flusher up: writers stall, and go on with it.
func TestWritersWaitForFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		hold := make(chan struct{})
		faulty := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, name string) error {
			if op == vfs.OpCreate && bytes.HasSuffix([]byte(name), []byte(".sst")) {
				<-hold
			}
			return nil
		}}
		o := tinyOptions(faulty, SyncNever)
		db, err := Open("/db", o)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 2000 {
				if _, err := db.Set(fmt.Appendf(nil, "key%d", i), make([]byte, 50)); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		time.Sleep(3 * time.Second)
		if m := db.Metrics(); m.Stalls == 0 || m.Immutable != db.options.MaxImmutable {
			t.Errorf("%d stalls with %d memtables waiting", m.Stalls, m.Immutable)
		}
		close(hold)
		<-done
		if m := db.Metrics(); m.Delays == 0 || m.StallTime+m.DelayTime < 3*time.Second || m.LongestStall < 2*time.Second {
			t.Errorf("stalled for %v, %v of it at once, after %d delays of %v", m.StallTime, m.LongestStall, m.Delays, m.DelayTime)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
