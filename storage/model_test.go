package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/storage/vfs"
)

// modelOp is one operation of a history; its sequence number is its index plus one.
type modelOp struct {
	key, value string
	hi         string
	kind       byte // 's'et, 'd'elete, 'r'ange
}

// model is the engine as a list of operations and the sorted map they make.
type model struct {
	ops []modelOp
	now map[string]string
}

func (m *model) do(o modelOp) {
	m.ops = append(m.ops, o)
	if m.now == nil {
		m.now = map[string]string{}
	}
	o.apply(m.now)
}

func (o modelOp) apply(to map[string]string) {
	switch o.kind {
	case 's':
		to[o.key] = o.value
	case 'd':
		delete(to, o.key)
	case 'r':
		maps.DeleteFunc(to, func(k, _ string) bool { return k >= o.key && k < o.hi })
	}
}

// cut forgets the operations after the first n, as a crash may.
func (m *model) cut(n int) {
	m.ops = m.ops[:n]
	m.now = map[string]string{}
	for _, o := range m.ops {
		o.apply(m.now)
	}
}

// tinyOptions make every mechanism turn over within a few hundred operations.
func tinyOptions(fs vfs.FS, policy SyncPolicy) Options {
	return Options{
		FS: fs, Fsync: policy, MemtableSize: 8 << 10, CacheSize: 256 << 10,
		BlockSize: 256, TableSize: 4 << 10, LevelSize: 16 << 10, LevelRatio: 3, L0Trigger: 2, L0Stop: 8, CompactionWorkers: 2,
	}
}

// world drives an engine and its model by random operations.
type world struct {
	t      *testing.T
	r      *rand.Rand
	disk   *vfs.Mem
	policy SyncPolicy
	db     *DB
	model  model
	// floor is how many operations must survive a loss of power, committed a loss of the process.
	floor, committed int
	snapshots        map[*Snapshot]map[string]string
}

func newWorld(t *testing.T, seed uint64, policy SyncPolicy) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), disk: vfs.NewMem(), policy: policy,
		snapshots: map[*Snapshot]map[string]string{},
	}
	w.open()
	return w
}

func (w *world) open() {
	db, err := Open("/db", tinyOptions(w.disk.View(), w.policy))
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	w.db = db
}

func (w *world) key() string {
	// Some keys begin with others, some share long prefixes, some are system keys.
	switch n := w.r.IntN(150); {
	case n < 100:
		return fmt.Sprintf("%c%03d", 'a'+n%3, n)
	case n < 120:
		return fmt.Sprintf("prefix-%s", "xxxxxxxxxxxxxxxxxxxx"[:n-100])
	default:
		return string([]byte{byte(n), byte(w.r.IntN(4))})
	}
}

func (w *world) randomOp() modelOp {
	switch n := w.r.IntN(100); {
	case n < 75:
		size := w.r.IntN(60)
		if w.r.IntN(50) == 0 {
			size = w.r.IntN(12000)
		}
		return modelOp{kind: 's', key: w.key(), value: fmt.Sprintf("%d-%s", len(w.model.ops), bytes.Repeat([]byte{'v'}, size))}
	case n < 98:
		return modelOp{kind: 'd', key: w.key()}
	default:
		lo, hi := w.key(), w.key()
		if lo > hi {
			lo, hi = hi, lo
		}
		return modelOp{kind: 'r', key: lo, hi: hi + "\x00"}
	}
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// step does one random thing to engine and model.
func (w *world) step() {
	switch n := w.r.IntN(1000); {
	case n < 700:
		w.writeOne()
	case n < 800:
		w.applyBatch()
	case n < 900:
		w.check(w.db.Commit())
		w.commited()
	case n < 940:
		w.get()
	case n < 960:
		w.walk(w.db.NewIter, w.model.now)
	case n < 970:
		w.check(w.db.Flush())
		w.floor = max(w.floor, len(w.model.ops))
	case n < 973:
		w.check(w.db.Compact())
		w.floor = max(w.floor, len(w.model.ops))
	case n < 980:
		w.snapshots[w.db.NewSnapshot()] = maps.Clone(w.model.now)
	case n < 990:
		w.closeSnapshot()
	case n < 993:
		w.checkpoint()
	default:
		w.restart()
	}
}

func (w *world) commited() {
	w.committed = len(w.model.ops)
	if w.policy == SyncAlways {
		w.floor = len(w.model.ops)
	}
}

func (w *world) writeOne() {
	o := w.randomOp()
	var lsn LSN
	var err error
	switch o.kind {
	case 's':
		lsn, err = w.db.Set([]byte(o.key), []byte(o.value))
	case 'd':
		lsn, err = w.db.Delete([]byte(o.key))
	case 'r':
		err = w.db.DropRange([]byte(o.key), []byte(o.hi))
		lsn = LSN(len(w.model.ops) + 1)
	}
	w.check(err)
	w.model.do(o)
	if lsn != LSN(len(w.model.ops)) {
		w.t.Fatalf("LSN %d after %d operations", lsn, len(w.model.ops))
	}
}

func (w *world) applyBatch() {
	var b Batch
	for range 1 + w.r.IntN(20) {
		o := w.randomOp()
		switch o.kind {
		case 's':
			b.Set([]byte(o.key), []byte(o.value))
		case 'd':
			b.Delete([]byte(o.key))
		case 'r':
			b.DeleteRange([]byte(o.key), []byte(o.hi))
		}
		w.model.do(o)
	}
	lsn, err := w.db.Apply(&b)
	w.check(err)
	if lsn != LSN(len(w.model.ops)) {
		w.t.Fatalf("LSN %d after %d operations", lsn, len(w.model.ops))
	}
}

func (w *world) get() {
	for range 20 {
		k := w.key()
		w.getKey(k)
	}
}

func (w *world) getKey(k string) {
	w.t.Helper()
	want, present := w.model.now[k]
	got, found, err := w.db.Get([]byte("dst:"), []byte(k))
	if errors.Is(err, ErrFull) {
		return // the log has another version
	}
	w.check(err)
	if found != present || string(got) != "dst:"+want {
		w.t.Fatalf("Get(%q) = %.40q, %v; want %.40q, %v", k, got, found, want, present)
	}
	got, found, ready, err := w.db.TryGet(nil, []byte(k))
	w.check(err)
	if ready && (found != present || string(got) != want) {
		w.t.Fatalf("TryGet(%q) = %.40q, %v; want %.40q, %v", k, got, found, want, present)
	}
}

// walk compares a random walk of an iterator with the sorted map.
func (w *world) walk(open func(IterOptions) (*Iter, error), now map[string]string) {
	w.t.Helper()
	var o IterOptions
	if w.r.IntN(2) == 0 {
		o.Lower = []byte(w.key())
	}
	if w.r.IntN(2) == 0 {
		o.Upper = []byte(w.key())
	}
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(now)), func(k string) bool {
		return o.Lower != nil && k < string(o.Lower) || o.Upper != nil && k >= string(o.Upper)
	})
	it, err := open(o)
	w.check(err)
	defer it.Close()
	at := -1
	for range 60 {
		var ok bool
		switch n := w.r.IntN(12); {
		case n < 4 && at >= 0:
			ok, at = it.Next(), at+1
		case n < 8 && at >= 0:
			ok, at = it.Prev(), at-1
		case n == 8:
			ok, at = it.First(), 0
		case n == 9:
			ok, at = it.Last(), len(keys)-1
		case n == 10:
			k := w.key()
			at, _ = slices.BinarySearch(keys, k)
			ok = it.SeekGE([]byte(k))
		default:
			k := w.key()
			at, _ = slices.BinarySearch(keys, k)
			at--
			ok = it.SeekLT([]byte(k))
		}
		w.check(it.Err())
		if at >= len(keys) {
			at = -1
		}
		if ok != (at >= 0) || it.Valid() != ok {
			w.t.Fatalf("iterator valid %v, %v; want place %d of %d, bounds %q to %q", ok, it.Valid(), at, len(keys), o.Lower, o.Upper)
		}
		if ok && (string(it.Key()) != keys[at] || string(it.Value()) != now[keys[at]]) {
			w.t.Fatalf("iterator on %q = %.40q, want %q = %.40q", it.Key(), it.Value(), keys[at], now[keys[at]])
		}
	}
}

func (w *world) closeSnapshot() {
	for s, then := range w.snapshots {
		w.walk(s.NewIter, then)
		for range 20 {
			k := w.key()
			want, present := then[k]
			got, found, err := s.Get(nil, []byte(k))
			w.check(err)
			if found != present || string(got) != want {
				w.t.Fatalf("snapshot Get(%q) = %.40q, %v; want %.40q, %v", k, got, found, want, present)
			}
		}
		s.Close()
		delete(w.snapshots, s)
		return
	}
}

func (w *world) checkpoint() {
	dir := fmt.Sprintf("/checkpoint%d", len(w.model.ops))
	if ok, _ := vfs.Exists(w.disk, dir); ok {
		return
	}
	w.check(w.db.Checkpoint(context.Background(), dir))
	w.floor = len(w.model.ops)
	db, err := Open(dir, tinyOptions(w.disk.View(), w.policy))
	w.check(err)
	compareAll(w.t, db, w.model.now)
	w.check(db.Close())
	names, err := w.disk.List(dir)
	w.check(err)
	for _, n := range names {
		w.check(w.disk.Remove(dir + "/" + n))
	}
	w.check(w.disk.SyncDir(dir))
	w.check(w.disk.Remove(dir))
}

// restart ends the engine in one of three ways and opens it again.
func (w *world) restart() {
	for s := range w.snapshots {
		s.Close()
	}
	clear(w.snapshots)
	old := w.db
	floor := len(w.model.ops)
	switch w.r.IntN(3) {
	case 0:
		w.check(old.Close())
	case 1:
		floor = w.committed
		w.disk.Kill()
		w.closeDead(old)
	default:
		floor = w.floor
		w.disk.Crash(w.r)
		w.closeDead(old)
	}
	w.open()
	last := int(w.db.Metrics().Visible)
	if last < floor || last > len(w.model.ops) {
		w.t.Fatalf("recovered %d operations of %d, at least %d were promised", last, len(w.model.ops), floor)
	}
	w.model.cut(last)
	w.floor, w.committed = last, last
	compareAll(w.t, w.db, w.model.now)
}

// closeDead closes an engine whose disk is gone; it must end, with whatever error.
func (w *world) closeDead(db *DB) {
	if err := db.Close(); errors.Is(err, ErrClosed) {
		w.t.Fatalf("close: %v", err)
	}
}

// compareAll compares the whole content, forward and backward.
func compareAll(t *testing.T, db *DB, now map[string]string) {
	t.Helper()
	it, err := db.NewIter(IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	keys := slices.Sorted(maps.Keys(now))
	i := 0
	for ok := it.First(); ok; ok = it.Next() {
		if i == len(keys) || string(it.Key()) != keys[i] || string(it.Value()) != now[keys[i]] {
			t.Fatalf("key %d is %q = %.40q, want one of %d keys", i, it.Key(), it.Value(), len(keys))
		}
		i++
	}
	if it.Err() != nil || i != len(keys) {
		t.Fatalf("forward: %d keys of %d, %v", i, len(keys), it.Err())
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		i--
		if i < 0 || string(it.Key()) != keys[i] || string(it.Value()) != now[keys[i]] {
			t.Fatalf("backward: key %d is %q = %.40q", i, it.Key(), it.Value())
		}
	}
	if it.Err() != nil || i != 0 {
		t.Fatalf("backward: %d keys are missing, %v", i, it.Err())
	}
}

func TestEngineAgainstModel(t *testing.T) {
	for n := range 16 * *seeds {
		seed := *fromSeed + uint64(n)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed, SyncPolicy(seed%3))
			for range 1500 {
				w.step()
			}
			for s := range w.snapshots {
				s.Close()
			}
			w.check(w.db.Close())
		})
	}
}
