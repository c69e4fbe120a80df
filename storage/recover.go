package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"kvstore/storage/corrupt"
	"kvstore/storage/manifest"
	"kvstore/storage/sum"
	"kvstore/storage/wal"
)

// recover brings the engine to where it was: the manifest's tables, and behind them what the logs hold. Replayed
// operations are written to tables at once, and one fresh manifest makes all of it the new start; until that is in
// force a crash finds the old start.
func (d *DB) recover() error {
	files, err := listFiles(d.fs, d.dir)
	if err != nil {
		return err
	}
	state, err := manifest.Load(d.fs, d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.checkNew(files); err != nil {
			return err
		}
		state, err = manifest.NewState(), nil
		state.Exact = sum.All()
	}
	if err != nil {
		return err
	}
	d.tree.sum = state
	d.nextFile.Store(max(state.Next, files.last+1))
	if err := d.openTables(); err != nil {
		return err
	}
	r := newReplay(d)
	if err := r.run(files.logs); err != nil {
		r.builder.abandon()
		return err
	}
	if err := d.begin(r); err != nil {
		return err
	}
	d.removeUnknown(files)
	return nil
}

// checkNew verifies that a directory without CURRENT never had one: the first Open may have been cut short behind
// making its log, but nothing was written.
func (d *DB) checkNew(files fileSet) error {
	missing := &CorruptError{File: d.name(manifest.CurrentName), Reason: "it is missing, but there are tables or logs"}
	if len(files.tables) > 0 {
		return missing
	}
	for _, n := range files.logs {
		info, err := d.fs.Stat(d.name(logName(n)))
		if err != nil {
			return err
		}
		if info.Size > wal.HeaderSize {
			return missing
		}
	}
	return nil
}

// openTables opens the tables of the manifest and publishes a state of them and an empty memtable.
func (d *DB) openTables() error {
	var byLevel [levels][]*table
	var opened []*table
	err := error(nil)
	for _, m := range d.tree.sum.Edit().Added {
		var t *table
		if t, err = d.openTable(m); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				// Nothing but a damaged end of the manifest explains that; then what took its place is there.
				err = &CorruptError{File: d.name(tableName(m.Number)), Reason: "the table is missing"}
				break
			}
			damage, ok := errors.AsType[*CorruptError](err)
			if !ok {
				break
			}
			err = nil
			d.loseTable(m, damage)
			continue
		}
		opened = append(opened, t)
		byLevel[m.Level] = append(byLevel[m.Level], t)
	}
	if err == nil {
		err = checkLevels(byLevel)
	}
	if err == nil {
		v := newVersion(byLevel, d.tree.sum.Flushed)
		v.lost = newLostSet(d.tree.sum.Edit().Marks)
		d.sums.begin(d.tree.sum)
		d.active = d.emptyMemory(d.sums.newLayer())
		d.publish(d.active, nil, v, newRangeSet(d.tree.sum.Edit().Ranges))
		d.releaseVersion(v)
	}
	for _, t := range opened {
		d.releaseTable(t)
	}
	return err
}

func (d *DB) emptyMemory(sums *memorySums) *memory {
	return &memory{table: d.newMemtable(), sums: sums}
}

// checkLevels verifies what lookups rely on: below level 0 tables do not overlap.
func checkLevels(byLevel [levels][]*table) error {
	for level := 1; level < levels; level++ {
		tables := slices.SortedFunc(slices.Values(byLevel[level]), func(a, b *table) int {
			return bytes.Compare(a.Smallest, b.Smallest)
		})
		for i := 1; i < len(tables); i++ {
			if a, b := tables[i-1], tables[i]; bytes.Compare(a.Largest, b.Smallest) >= 0 {
				return corrupt.New("manifest", 0, "tables %d and %d of level %d overlap", a.Number, b.Number, level)
			}
		}
	}
	return nil
}

// begin puts the engine where the replay ended: a new log, and a manifest that names the replayed tables.
func (d *DB) begin(r *replay) error {
	tables := r.builder.done
	w, err := d.createLog()
	if err != nil {
		d.dropTables(tables)
		return err
	}
	d.pending = segment{log: w, record: wal.Begin(nil)}
	c := change{edit: manifest.Edit{Log: w.Number(), Flushed: r.last}, added: tables}
	for _, rd := range d.state.Load().ranges.list() {
		if rd.Seq > d.tree.sum.Flushed {
			c.edit.Ranges = append(c.edit.Ranges, rd)
		}
	}
	for _, t := range tables {
		c.edit.Added = append(c.edit.Added, t.Table)
	}
	replayed := d.active.sums
	if n := len(r.held); n > 0 {
		// What was replayed stays in the logs until it is flushed.
		c.edit = manifest.Edit{Log: r.held[n-1].log}
	} else {
		replayed.addTo(&c.edit)
	}
	number := d.nextFile.Add(1) - 1
	c.edit.Next = d.nextFile.Load()
	if err := d.tree.sum.Apply(&c.edit); err != nil {
		return fmt.Errorf("add replayed tables: %w", err)
	}
	d.tree.manifest, err = manifest.Create(d.fs, d.dir, number, d.tree.sum)
	if err != nil {
		// The disk may have the manifest all the same, so the tables' files stay; the next Open knows whether they are
		// needed.
		for _, t := range tables {
			d.releaseTable(t)
		}
		return err
	}
	if len(r.held) == 0 {
		d.active = d.emptyMemory(d.sums.newLayer())
	}
	d.active.log = w.Number()
	s := d.state.Load()
	d.publish(d.active, r.held, s.version, s.ranges)
	c.edit.Inexact = nil // known already
	d.install(&c)
	if len(r.held) == 0 {
		d.foldSums(replayed)
	}
	d.seq = r.last
	d.visible.Store(r.last)
	d.written.Store(r.last)
	d.durable.Store(r.last)
	return nil
}

// fileSet is what a directory holds of the engine's files, by kind; last is the largest number among them.
type fileSet struct {
	tables, logs []uint64
	others       []string
	last         uint64
}

type lister interface {
	List(dir string) ([]string, error)
}

// listFiles sorts the names in the directory. Names that are not the engine's are left alone.
func listFiles(l lister, dir string) (fileSet, error) {
	names, err := l.List(dir)
	if err != nil {
		return fileSet{}, err
	}
	var f fileSet
	for _, name := range names {
		base, ext, _ := strings.Cut(name, ".")
		manifestNumber, isManifest := strings.CutPrefix(base, "MANIFEST-")
		if isManifest {
			base = manifestNumber
		}
		number, err := strconv.ParseUint(base, 10, 64)
		switch {
		case ext == "tmp":
			f.others = append(f.others, name)
			continue
		case err != nil:
			continue
		case isManifest && ext == "":
			f.others = append(f.others, name)
		case ext == "sst":
			f.tables = append(f.tables, number)
		case ext == "log":
			f.logs = append(f.logs, number)
		default:
			continue
		}
		f.last = max(f.last, number)
	}
	slices.Sort(f.tables)
	slices.Sort(f.logs)
	return f, nil
}

// removeUnknown removes what the new manifest does not name: files of interrupted work, replayed logs, old manifests.
func (d *DB) removeUnknown(f fileSet) {
	for _, n := range f.tables {
		if _, ok := d.tree.sum.Tables[n]; !ok {
			d.keeper.remove(d.name(tableName(n)))
		}
	}
	for _, n := range f.logs {
		if len(d.state.Load().immutable) == 0 || n < d.tree.sum.Log {
			d.keeper.remove(d.name(logName(n)))
		}
	}
	for _, name := range f.others {
		d.keeper.remove(d.name(name))
	}
}
