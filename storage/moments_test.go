package storage

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/storage/manifest"
	"kvstore/storage/vfs"
)

// The flags of the tests that run seeds: more of them than a usual run has time for, and one of them again.
var (
	seeds    = flag.Int("seeds", 1, "how many times as many seeds the random tests of the engine run")
	fromSeed = flag.Uint64("seed", 0, "the first seed of the random tests of the engine")
)

// eachSeed runs test as a subtest for each of n seeds, or of -seeds times as many.
func eachSeed(t *testing.T, n int, test func(t *testing.T, seed uint64)) {
	for i := range n * *seeds {
		seed := *fromSeed + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { test(t, seed) })
		if t.Failed() {
			t.Fatalf("again with: go test ./storage -run '^%s$' -seed=%d", t.Name(), seed)
		}
	}
}

// digest is a hash of the whole content of an engine.
var digestSeed = maphash.MakeSeed()

func digestMap(now map[string]string) uint64 {
	var sum uint64
	for k, v := range now {
		sum += digestPair([]byte(k), []byte(v))
	}
	return sum
}

func digestPair(key, value []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(digestSeed)
	h.Write(key)
	h.WriteByte(0xff)
	h.Write(value)
	return h.Sum64()
}

// digestOf reads everything in both directions, and again by Get.
func digestOf(db *DB) (sum uint64, err error) {
	it, err := db.NewIter(IterOptions{})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	var last []byte
	for ok := it.First(); ok; ok = it.Next() {
		if last != nil && bytes.Compare(last, it.Key()) >= 0 {
			return 0, fmt.Errorf("%q comes after %q", it.Key(), last)
		}
		last = append(last[:0], it.Key()...)
		sum += digestPair(it.Key(), it.Value())
		v, found, err := db.Get(nil, it.Key())
		if err != nil {
			return 0, fmt.Errorf("get %q: %w", it.Key(), err)
		}
		if !found || !bytes.Equal(v, it.Value()) {
			return 0, fmt.Errorf("the iterator has %q = %.40q, Get %.40q, %v", it.Key(), it.Value(), v, found)
		}
	}
	if it.Err() != nil {
		return 0, it.Err()
	}
	back := sum
	for ok := it.Last(); ok; ok = it.Prev() {
		back -= digestPair(it.Key(), it.Value())
	}
	if it.Err() == nil && back != 0 {
		return 0, errors.New("forward and backward differ")
	}
	return sum, it.Err()
}

// promise is what the engine has said to its caller, read beside it by whoever takes a moment.
type promise struct {
	mu sync.Mutex
	// committed is how many operations survive the loss of the process, durable how many that of power.
	committed, durable int
	// acks has, under SyncEverySecond, when how many operations were acknowledged.
	acks []ack
	// copied is how many operations the finished checkpoint has, -1 while there is none.
	copied int
}

type ack struct {
	at time.Time
	n  int
}

// floors returns how many operations a process that is killed now, and a machine that loses power now, must recover.
func (p *promise) floors(policy SyncPolicy) (killed, lost, copied int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if policy == SyncEverySecond {
		for _, a := range p.acks {
			if time.Since(a.at) > syncInterval {
				p.durable = max(p.durable, a.n)
			}
		}
	}
	return p.committed, p.durable, p.copied
}

// verdict is what a crash at a moment left: an engine with the first last operations, and perhaps a checkpoint.
type verdict struct {
	moment       string
	last         int
	digest       uint64
	copied       int
	copiedDigest uint64
}

// witness takes the disk of a running engine at every change of it, crashes the copy in both ways, opens what is left,
// and keeps what it found. Everything it does is done on the goroutine that is about to change the disk.
type witness struct {
	t      *testing.T
	disk   *vfs.Mem
	policy SyncPolicy
	// told is what the engine has promised; sure, which may be nil, is what it believes to be durable itself.
	told *promise
	sure func() uint64
	// exact, unless negative, is what every crash must recover: that of an engine that is itself recovering.
	exact int
	// share is the part of the moments that are taken.
	share float64

	mu       sync.Mutex
	r        *rand.Rand
	verdicts []verdict
	kinds    map[string]int
	nested   int
	moments  atomic.Int64
}

// fs returns the disk as the engine under test is to see it: with a moment before each change, and one in the middle of
// each write.
func (w *witness) fs() vfs.FS {
	return &vfs.Faulty{FS: tearing{w.disk.View(), w}, Inject: func(op vfs.Op, name string) error {
		if op.Mutates() {
			w.moment(op.String(), name)
		}
		return nil
	}}
}

// tearing interrupts writes in the middle.
type tearing struct {
	vfs.FS
	w *witness
}

func (f tearing) Create(name string) (vfs.File, error) { return f.tear(f.FS.Create(name))(name) }

func (f tearing) OpenAppend(name string) (vfs.File, error) {
	return f.tear(f.FS.OpenAppend(name))(name)
}

func (f tearing) tear(file vfs.File, err error) func(name string) (vfs.File, error) {
	return func(name string) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return &tornFile{file, name, f.w}, nil
	}
}

type tornFile struct {
	vfs.File
	name string
	w    *witness
}

func (f *tornFile) Write(p []byte) (int, error) {
	at := f.w.cut(len(p))
	n, err := f.File.Write(p[:at])
	if err != nil {
		return n, err
	}
	f.w.moment("torn", f.name)
	m, err := f.File.Write(p[at:])
	return n + m, err
}

func (f *tornFile) WriteAt(p []byte, offset int64) (int, error) {
	at := f.w.cut(len(p))
	n, err := f.File.WriteAt(p[:at], offset)
	if err != nil {
		return n, err
	}
	f.w.moment("torn", f.name)
	m, err := f.File.WriteAt(p[at:], offset+int64(at))
	return n + m, err
}

func (w *witness) cut(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n + 1)
}

// kindOf is the kind of a file by its name, with the operation.
func kindOf(op, name string) string {
	base := filepath.Base(name)
	dir := ""
	if strings.HasPrefix(name, "/copy") {
		dir = "checkpoint/"
	}
	switch ext := filepath.Ext(base); {
	case ext == ".log" || ext == ".sst":
		base = ext
	case strings.HasPrefix(base, "MANIFEST-"):
		base = "manifest"
	}
	return op + " " + dir + base
}

// moment crashes copies of the disk as it is now.
func (w *witness) moment(op, name string) {
	// What is promised is read first, so that the copy has it.
	killed, lost, copied := w.told.floors(w.policy)
	if w.sure != nil {
		lost = max(lost, int(w.sure()))
	}
	n := w.moments.Add(1)
	w.mu.Lock()
	w.kinds[kindOf(op, name)]++
	taken := w.r.Float64() < w.share
	r := rand.New(rand.NewPCG(w.r.Uint64(), 1))
	w.mu.Unlock()
	if !taken {
		return
	}
	what := fmt.Sprintf("moment %d, %s %s", n, op, name)
	process := w.disk.Clone()
	w.judge(what+", process killed", process, killed, copied, false, r)
	w.judge(what+", power lost", w.disk.CrashClone(r), lost, copied, w.exact < 0 && n%nestedShare == 5, r)
}

// nestedShare is how many losses of power there are to one whose recovery is crashed in its turn.
const nestedShare = 250

// judge opens what a crash left. With nest the recovery is crashed at every moment too.
func (w *witness) judge(what string, ruin *vfs.Mem, floor, copied int, nest bool, r *rand.Rand) {
	v := verdict{moment: what, copied: -1}
	fs := vfs.FS(ruin)
	var inner *witness
	if nest {
		// A loss of power settles which operations there are; a crash of the recovery must not change that.
		n := openAndCount(w.t, ruin.Clone())
		inner = &witness{t: w.t, disk: ruin, policy: w.policy, told: &promise{copied: -1}, exact: n, share: 1, r: r, kinds: map[string]int{}}
		fs = inner.fs()
	}
	o := tinyOptions(fs, w.policy)
	o.CacheSize = 16 << 10
	db, err := Open("/db", o)
	if err != nil {
		w.t.Errorf("%s: open: %v", what, err)
		return
	}
	v.last = int(db.Metrics().Visible)
	if v.digest, err = digestOf(db); err != nil {
		w.t.Errorf("%s: read: %v", what, err)
	}
	if inner == nil && r.IntN(10) == 0 {
		// What was recovered can be written to, and survives being killed.
		if _, err := db.Set([]byte("after"), []byte("crash")); err != nil {
			w.t.Errorf("%s: write: %v", what, err)
		}
		if err := db.Commit(); err != nil {
			w.t.Errorf("%s: commit: %v", what, err)
		}
		if n := openAndCount(w.t, ruin.Clone()); n != v.last+1 {
			w.t.Errorf("%s: %d operations after %d and one more", what, n, v.last)
		}
	}
	if err := db.Close(); err != nil {
		w.t.Errorf("%s: close: %v", what, err)
	}
	switch {
	case w.exact >= 0 && v.last != w.exact:
		w.t.Errorf("%s of a recovery: %d operations, %d without it", what, v.last, w.exact)
	case v.last < floor:
		w.t.Errorf("%s: %d operations recovered, %d were promised", what, v.last, floor)
	}
	if copied < 0 || r.IntN(10) == 0 {
		w.judgeCopy(&v, ruin, copied)
	}
	w.mu.Lock()
	w.verdicts = append(w.verdicts, v)
	if inner != nil {
		w.verdicts = append(w.verdicts, inner.verdicts...)
		w.nested += len(inner.verdicts)
	}
	w.mu.Unlock()
}

// judgeCopy opens the checkpoint, which must be whole when it was finished, and when it looks finished.
func (w *witness) judgeCopy(v *verdict, ruin *vfs.Mem, copied int) {
	finished, err := vfs.Exists(ruin, "/copy/"+manifest.CurrentName)
	if err != nil || !finished {
		if copied >= 0 {
			w.t.Errorf("%s: the checkpoint is gone (%v)", v.moment, err)
		}
		return
	}
	db, err := Open("/copy", tinyOptions(ruin, w.policy))
	if err != nil {
		w.t.Errorf("%s: open the checkpoint: %v", v.moment, err)
		return
	}
	v.copied = int(db.Metrics().Visible)
	if v.copiedDigest, err = digestOf(db); err != nil {
		w.t.Errorf("%s: read the checkpoint: %v", v.moment, err)
	}
	if err := db.Close(); err != nil {
		w.t.Errorf("%s: close the checkpoint: %v", v.moment, err)
	}
	if copied >= 0 && v.copied != copied {
		w.t.Errorf("%s: the checkpoint has %d operations and not %d", v.moment, v.copied, copied)
	}
}

// openAndCount returns how many operations an engine has recovered.
func openAndCount(t *testing.T, disk *vfs.Mem) int {
	db, err := Open("/db", tinyOptions(disk, SyncNever))
	if err != nil {
		t.Errorf("open: %v", err)
		return -1
	}
	defer db.Close()
	return int(db.Metrics().Visible)
}

// compare checks that every crash left what the first so many operations make.
func (w *witness) compare(ops []modelOp) {
	w.t.Helper()
	digests := make([]uint64, 1, len(ops)+1)
	now := map[string]string{}
	for _, o := range ops {
		o.apply(now)
		digests = append(digests, digestMap(now))
	}
	for _, v := range w.verdicts {
		switch {
		case v.last >= len(digests) || digests[v.last] != v.digest:
			w.t.Errorf("%s: the content is not that of the first %d operations of %d", v.moment, v.last, len(ops))
		case v.copied >= 0 && (v.copied >= len(digests) || digests[v.copied] != v.copiedDigest):
			w.t.Errorf("%s: the checkpoint is not that of the first %d operations", v.moment, v.copied)
		}
	}
}

// TestCrashAtEveryMoment loses the process, and the power, before every change of the disk and in the middle of every
// write, and expects of what is left exactly what was promised: whole operations, in order, all that were committed
// after a kill in every mode; after a loss of power all of them under SyncAlways, and under SyncEverySecond all that
// are a second old. Recoveries are crashed in the same way.
func TestCrashAtEveryMoment(t *testing.T) {
	for _, policy := range []SyncPolicy{SyncAlways, SyncEverySecond, SyncNever} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			eachSeed(t, 2, func(t *testing.T, seed uint64) {
				synctest.Test(t, func(t *testing.T) { crashAtEveryMoment(t, seed, policy) })
			})
		})
	}
}

func crashAtEveryMoment(t *testing.T, seed uint64, policy SyncPolicy) {
	disk := vfs.NewMem()
	told := &promise{copied: -1}
	var engine atomic.Pointer[DB]
	w := &witness{
		t: t, disk: disk, policy: policy, told: told, exact: -1, share: 1,
		r: rand.New(rand.NewPCG(seed, 1)), kinds: map[string]int{},
		sure: func() uint64 {
			if db := engine.Load(); db != nil {
				return db.durable.Load()
			}
			return 0
		},
	}
	h := world{t: t, r: rand.New(rand.NewPCG(seed, 2)), policy: policy}
	open := func() {
		db, err := Open("/db", tinyOptions(w.fs(), policy))
		if err != nil {
			t.Fatal(err)
		}
		h.db = db
		engine.Store(db)
	}
	tell := func(flushed bool) {
		told.mu.Lock()
		defer told.mu.Unlock()
		n := len(h.model.ops)
		told.committed = n
		if flushed || policy == SyncAlways {
			told.durable = n
		}
		told.acks = append(told.acks, ack{time.Now(), n})
	}
	commit := func() {
		h.check(h.db.Commit())
		tell(false)
	}
	open()
	for step := range 100 {
		if time.Sleep(time.Duration(h.r.IntN(300)) * time.Millisecond); h.r.IntN(4) == 0 {
			h.applyBatch()
		} else {
			h.writeOne()
		}
		if h.r.IntN(3) == 0 {
			commit()
		}
		switch step {
		case 20, 75:
			h.check(h.db.Flush())
			tell(true)
		case 40:
			h.check(h.db.Compact())
			tell(true)
		case 50:
			n := len(h.model.ops)
			h.check(h.db.Checkpoint(context.Background(), "/copy"))
			tell(true)
			told.mu.Lock()
			told.copied = n
			told.mu.Unlock()
		case 62:
			commit()
			disk.Kill()
			h.closeDead(h.db)
			open()
		case 88:
			h.check(h.db.Close())
			tell(true)
			open()
		}
	}
	h.check(h.db.Close())
	w.compare(h.model.ops)
	for _, kind := range []string{
		"create .log", "write .log", "torn .log", "sync .log", "remove .log", "create .sst", "write .sst", "torn .sst", "sync .sst",
		"remove .sst", "create manifest", "write manifest", "torn manifest", "sync manifest", "remove manifest",
		"create CURRENT.tmp", "write CURRENT.tmp", "torn CURRENT.tmp", "sync CURRENT.tmp", "rename CURRENT", "lock LOCK",
		"link checkpoint/.sst", "write checkpoint/manifest", "sync checkpoint/manifest", "rename checkpoint/CURRENT",
	} {
		if w.kinds[kind] == 0 {
			t.Errorf("no crash at %s, but at %v", kind, w.kinds)
		}
	}
	if w.nested == 0 {
		t.Error("no recovery was crashed")
	}
	t.Logf("%d moments, %d verdicts, %d of them of recoveries, %d operations", w.moments.Load(), len(w.verdicts), w.nested, len(h.model.ops))
}
