package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/manifest"
	"kvstore/storage/vfs"
)

// failing is a way in which the disk fails: at one call, or from one call on until the engine is closed.
type failing struct {
	name    string
	err     error
	forever bool
}

func failings() []failing {
	return []failing{
		{"an I/O error once", syscall.EIO, false},
		{"an I/O error for good", syscall.EIO, true},
		{"a full disk once", syscall.ENOSPC, false},
		{"a full disk for good", syscall.ENOSPC, true},
	}
}

// handles knows the open handles of a file system, locks included.
type handles struct {
	vfs.FS
	mu   sync.Mutex
	open map[io.Closer]string
}

type handle struct {
	vfs.File
	of *handles
}

type heldLock struct {
	io.Closer
	of *handles
}

func (h *handles) note(c io.Closer, name string) {
	h.mu.Lock()
	h.open[c] = name
	h.mu.Unlock()
}

func (h *handles) forget(c io.Closer) {
	h.mu.Lock()
	delete(h.open, c)
	h.mu.Unlock()
}

func (h *handles) take(f vfs.File, err error, name string) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	taken := &handle{f, h}
	h.note(taken, name)
	return taken, nil
}

func (h *handles) Create(name string) (vfs.File, error) {
	f, err := h.FS.Create(name)
	return h.take(f, err, name)
}

func (h *handles) Open(name string) (vfs.File, error) {
	f, err := h.FS.Open(name)
	return h.take(f, err, name)
}

func (h *handles) OpenAppend(name string) (vfs.File, error) {
	f, err := h.FS.OpenAppend(name)
	return h.take(f, err, name)
}

func (h *handles) Lock(name string) (io.Closer, error) {
	l, err := h.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	held := &heldLock{l, h}
	h.note(held, name)
	return held, nil
}

func (h *handle) Close() error {
	h.of.forget(h)
	return h.File.Close()
}

func (l *heldLock) Close() error {
	l.of.forget(l)
	return l.Closer.Close()
}

// injected is one run of a fixed script in which one call of the file system fails.
type injected struct {
	world
	how   failing
	at    int64
	calls atomic.Int64
	off   atomic.Bool
	// hit is the call that failed, the first one if all do.
	hit  atomic.Pointer[string]
	open *handles
}

func (i *injected) fs() vfs.FS {
	i.open = &handles{FS: i.disk.View(), open: map[io.Closer]string{}}
	return &vfs.Faulty{FS: i.open, Inject: func(op vfs.Op, name string) error {
		n := i.calls.Add(1) - 1
		if i.off.Load() || n < i.at || n > i.at && !i.how.forever {
			return nil
		}
		what := fmt.Sprintf("%v %s", op, name)
		i.hit.CompareAndSwap(nil, &what)
		return i.how.err
	}}
}

func (i *injected) fatalf(format string, args ...any) {
	i.t.Helper()
	hit := "nothing yet"
	if h := i.hit.Load(); h != nil {
		hit = *h
	}
	if i.db != nil {
		// A bubble waits for the engine's goroutines.
		i.db.Close()
	}
	i.t.Fatalf("%s at call %d, %s: %s", i.how.name, i.at, hit, fmt.Sprintf(format, args...))
}

// clear expects of an error that it says what the disk said, and does not take a failing disk for damaged data.
func (i *injected) clear(what string, err error) {
	i.t.Helper()
	switch {
	case err == nil:
	case i.hit.Load() == nil:
		i.fatalf("%s: %v", what, err)
	case !errors.Is(err, i.how.err) || IsCorrupt(err):
		i.fatalf("%s fails with something else: %v", what, err)
	}
}

func (i *injected) write(n int) {
	for range n {
		o := i.randomOp()
		var b Batch
		o.addTo(&b)
		_, err := i.db.Apply(&b)
		i.clear("Apply", err)
		if errors.Is(err, ErrFull) && !i.how.forever {
			// One refusal of the disk is mended by its next try.
			time.Sleep(2 * retryInterval)
			if err := i.db.WriteError(); err != nil {
				i.fatalf("writes are refused though there is room: %v", err)
			}
		}
		if err == nil {
			i.model.do(o)
		}
	}
	err := i.db.Commit()
	i.clear("Commit", err)
	if err == nil {
		i.commited()
	}
}

// read compares what can be read with the model; what cannot be read is an error and not absent.
func (i *injected) read() {
	for range 15 {
		k := i.key()
		want, present := i.model.now[k]
		v, found, err := i.db.Get(nil, []byte(k))
		i.clear("Get", err)
		if err == nil && (found != present || string(v) != want) {
			i.fatalf("Get(%q) = %.40q, %v; want %.40q, %v", k, v, found, want, present)
		}
		v, found, ready, err := i.db.TryGet(nil, []byte(k))
		i.clear("TryGet", err)
		if err == nil && ready && (found != present || string(v) != want) {
			i.fatalf("TryGet(%q) = %.40q, %v; want %.40q, %v", k, v, found, want, present)
		}
	}
	got, err := digestOf(i.db)
	i.clear("iterate", err)
	if err == nil && got != digestMap(i.model.now) {
		i.fatalf("the iterator shows something else than the model")
	}
}

// script is what every run does.
func (i *injected) script() {
	i.write(6)
	i.read()
	i.clear("Flush", i.db.Flush())
	i.write(6)
	s := i.db.NewSnapshot()
	then := maps.Clone(i.model.now)
	i.write(6)
	i.clear("Compact", i.db.Compact())
	i.read()
	copied := maps.Clone(i.model.now)
	err := i.db.Checkpoint(context.Background(), "/copy")
	i.clear("Checkpoint", err)
	if err != nil {
		copied = nil
	}
	for k, want := range then {
		v, found, err := s.Get(nil, []byte(k))
		i.clear("Get of a snapshot", err)
		if err == nil && (!found || string(v) != want) {
			i.fatalf("the snapshot has %q = %.40q, %v; want %.40q", k, v, found, want)
		}
	}
	s.Close()
	err = i.db.DropRange([]byte("a"), []byte("b1"))
	i.clear("DropRange", err)
	if err == nil {
		i.model.do(modelOp{kind: 'r', key: "a", hi: "b1"})
	}
	i.clear("Compact", i.db.Compact())
	i.read()
	i.write(3)
	if copied != nil {
		i.checkCopy(copied)
	}
}

// checkCopy opens the checkpoint on a disk that works.
func (i *injected) checkCopy(want map[string]string) {
	db, err := Open("/copy", tinyOptions(i.disk.CrashClone(rand.New(rand.NewPCG(1, 1))), SyncNever))
	if err != nil {
		i.fatalf("open the checkpoint: %v", err)
	}
	got, err := digestOf(db)
	if err != nil || got != digestMap(want) {
		i.fatalf("the checkpoint is something else than the model (%v)", err)
	}
	if err := db.Close(); err != nil {
		i.fatalf("close the checkpoint: %v", err)
	}
}

// run runs the script on a copy of the disk, and reports whether there was a call to fail.
func (i *injected) run() bool {
	db, err := Open("/db", tinyOptions(i.fs(), i.policy))
	i.clear("Open", err)
	if err == nil {
		i.db = db
		if int(db.Metrics().Visible) != len(i.model.ops) {
			i.fatalf("%d operations recovered of %d", db.Metrics().Visible, len(i.model.ops))
		}
		i.script()
		if i.r.IntN(3) == 0 {
			i.disk.Kill()
			i.closeDead(db)
		} else {
			i.clear("Close", db.Close())
		}
	}
	for _, name := range i.open.open {
		i.fatalf("%s is open after Close", name)
	}
	done := i.calls.Load() > i.at
	i.off.Store(true)
	i.reopen(i.disk.Clone(), i.committed)
	i.reopen(i.disk.CrashClone(i.r), i.floor)
	return done
}

// reopen expects that nothing that was promised is gone, and that no file is left of what failed.
func (i *injected) reopen(disk *vfs.Mem, floor int) {
	db, err := Open("/db", tinyOptions(disk, i.policy))
	if err != nil {
		i.fatalf("open again: %v", err)
	}
	last := int(db.Metrics().Visible)
	then := model{ops: i.model.ops}
	if last < floor || last > len(then.ops) {
		i.fatalf("%d operations recovered of %d, %d were promised", last, len(then.ops), floor)
	}
	then.cut(last)
	got, err := digestOf(db)
	if err != nil || got != digestMap(then.now) {
		i.fatalf("the content is not that of the first %d operations (%v)", last, err)
	}
	if err := db.Close(); err != nil {
		i.fatalf("close again: %v", err)
	}
	names, err := disk.List("/db")
	if err != nil {
		i.fatalf("%v", err)
	}
	state, err := manifest.Load(disk, "/db")
	if err != nil {
		i.fatalf("%v", err)
	}
	tables, manifests := len(state.Tables), 0
	for _, n := range names {
		switch {
		case strings.HasSuffix(n, ".sst"):
			tables--
		case strings.HasPrefix(n, "MANIFEST-"):
			manifests++
		case strings.HasSuffix(n, ".tmp"):
			i.fatalf("%s is left", n)
		}
	}
	if tables != 0 || manifests != 1 {
		i.fatalf("%d table files too few and %d manifests: %q", tables, manifests, names)
	}
}

// populated returns a disk with tables, range deletions and a log to be replayed, and the model of it.
func populated(t *testing.T, seed uint64, policy SyncPolicy) (*vfs.Mem, model) {
	w := newWorld(t, seed, policy)
	for step := range 60 {
		w.writeOne()
		if step == 30 {
			w.check(w.db.Flush())
		}
	}
	w.check(w.db.Commit())
	w.disk.Kill()
	w.closeDead(w.db)
	return w.disk, w.model
}

// TestEveryCallFails fails every call of the file system, one by one, while an engine is opened, recovers, writes, reads,
// flushes, compacts, makes a checkpoint, drops a range and closes. Every method says so or goes on; what was acknowledged
// is never lost, what is read never wrong, no handle stays open, and a disk that works again is all the next Open needs.
func TestEveryCallFails(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed uint64) {
		for n, how := range failings() {
			t.Run(how.name, func(t *testing.T) {
				t.Parallel()
				policy := SyncPolicy((seed + uint64(n)) % 3)
				disk, m := populated(t, seed, policy)
				for at := int64(n % every); ; at += every {
					more := false
					synctest.Test(t, func(t *testing.T) {
						i := injected{how: how, at: at}
						i.world = world{t: t, r: rand.New(rand.NewPCG(seed, 3)), disk: disk.Clone(), policy: policy}
						i.model = model{ops: append([]modelOp(nil), m.ops...), now: maps.Clone(m.now)}
						i.committed = len(m.ops)
						if policy == SyncAlways {
							i.floor = len(m.ops)
						}
						more = i.run()
					})
					if !more {
						t.Logf("%d calls", at)
						break
					}
				}
			})
		}
	})
}

// addTo adds the operation to a batch.
func (o modelOp) addTo(b *Batch) {
	switch o.kind {
	case 's':
		b.Set([]byte(o.key), []byte(o.value))
	case 'd':
		b.Delete([]byte(o.key))
	case 'r':
		b.DeleteRange([]byte(o.key), []byte(o.hi))
	}
}
