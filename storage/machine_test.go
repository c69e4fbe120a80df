package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/storage/vfs"
)

// engine is a machine with options drawn anew at each start.
type engine struct {
	t         *testing.T
	r         *rand.Rand
	disk      *vfs.Mem
	options   Options
	db        *DB
	copies    int
	snapshots []*Snapshot
	iters     []*Iter
}

// draw returns random options, all of which must do the same.
func draw(r *rand.Rand, fs vfs.FS) Options {
	o := Options{
		FS: fs, Fsync: SyncPolicy(r.IntN(3)),
		Compression:  []string{"s2", "zstd", "none"}[r.IntN(3)],
		MemtableSize: []int64{4 << 10, 8 << 10, 64 << 10, 1 << 20}[r.IntN(4)],
		CacheSize:    []int64{0, 4 << 10, 256 << 10, 4 << 20}[r.IntN(4)],
		MaxImmutable: 1 + r.IntN(4),
		BlockSize:    []int{128, 256, 1 << 10, 4 << 10, 32 << 10}[r.IntN(5)],
		TableSize:    []int64{1 << 10, 4 << 10, 32 << 10, 1 << 20}[r.IntN(4)],
		LevelSize:    []int64{1 << 10, 8 << 10, 64 << 10, 1 << 20}[r.IntN(4)],
		LevelRatio:   []int{2, 3, 10}[r.IntN(3)],
		L0Trigger:    1 + r.IntN(6), CompactionWorkers: 1 + r.IntN(3),
	}
	o.L0Stop = o.L0Trigger + 1 + r.IntN(10)
	return o
}

func (e *engine) check(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("%+v: %v", e.options, err)
	}
}

func (e *engine) open() {
	e.options = draw(e.r, e.disk.View())
	db, err := Open("/db", e.options)
	e.check(err)
	e.db = db
}

func (e *engine) apply(ops []modelOp, alone bool) {
	if alone && ops[0].kind != 'r' {
		var err error
		if o := ops[0]; o.kind == 's' {
			_, err = e.db.Set([]byte(o.key), []byte(o.value))
		} else {
			_, err = e.db.Delete([]byte(o.key))
		}
		e.check(err)
		return
	}
	var b Batch
	for _, o := range ops {
		o.addTo(&b)
	}
	_, err := e.db.Apply(&b)
	e.check(err)
}

func (e *engine) get(key string) string {
	v, found, ready, err := e.db.TryGet(nil, []byte(key))
	e.check(err)
	if !ready {
		v, found, err = e.db.Get(nil, []byte(key))
		e.check(err)
	}
	return show(string(v), found)
}

func (e *engine) getAt(snapshot int, key string) string {
	v, found, err := e.snapshots[snapshot].Get(nil, []byte(key))
	e.check(err)
	return show(string(v), found)
}

func (e *engine) snapshot() { e.snapshots = append(e.snapshots, e.db.NewSnapshot()) }

func (e *engine) iter(snapshot int, lower, upper string) {
	var o IterOptions
	if lower != "" {
		o.Lower = []byte(lower)
	}
	if upper != "" {
		o.Upper = []byte(upper)
	}
	open := e.db.NewIter
	if snapshot >= 0 {
		open = e.snapshots[snapshot].NewIter
	}
	it, err := open(o)
	e.check(err)
	e.iters = append(e.iters, it)
}

func (e *engine) move(iter int, m move) string {
	it := e.iters[iter]
	ok := false
	switch m.how {
	case 'f':
		ok = it.First()
	case 'l':
		ok = it.Last()
	case 'n':
		ok = it.Next()
	case 'p':
		ok = it.Prev()
	case 's':
		ok = it.SeekGE([]byte(m.key))
	case 'b':
		ok = it.SeekLT([]byte(m.key))
	}
	e.check(it.Err())
	if ok != it.Valid() {
		e.t.Fatalf("%c is %v, Valid %v", m.how, ok, it.Valid())
	}
	if !ok {
		return "-"
	}
	return showAt(string(it.Key()), string(it.Value()))
}

func (e *engine) closeIter(iter int) {
	e.check(e.iters[iter].Close())
	e.iters = slices.Delete(e.iters, iter, iter+1)
}

func (e *engine) closeSnapshot(snapshot int) {
	e.snapshots[snapshot].Close()
	e.snapshots = slices.Delete(e.snapshots, snapshot, snapshot+1)
}

func (e *engine) maintain(kind acting) string {
	switch kind {
	case commits:
		e.check(e.db.Commit())
	case flushes:
		e.check(e.db.Flush())
	case compacts:
		e.check(e.db.Compact())
	case copies:
		e.copies++
		dir := fmt.Sprintf("/copy%d", e.copies)
		e.check(e.db.Checkpoint(context.Background(), dir))
		db, err := Open(dir, draw(e.r, e.disk.View()))
		e.check(err)
		defer func() { e.check(db.Close()) }()
		return e.content(db)
	case restarts:
		e.check(e.db.Close())
		e.open()
		return e.content(e.db)
	case kills:
		e.check(e.db.Commit())
		e.disk.Kill()
		e.db.Close()
		e.open()
		return e.content(e.db)
	}
	return ""
}

func (e *engine) content(db *DB) string {
	sum, err := digestOf(db)
	e.check(err)
	n := 0
	it, err := db.NewIter(IterOptions{})
	e.check(err)
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	e.check(it.Close())
	return fmt.Sprint(n, sum)
}
