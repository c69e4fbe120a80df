package offline

import (
	"bytes"
	"errors"
	"io/fs"

	"kvstore/storage"
	"kvstore/storage/compaction"
	"kvstore/storage/entry"
	"kvstore/storage/manifest"
	"kvstore/storage/sstable"
	"kvstore/storage/vfs"
)

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// rebuild makes a state of the tables that are there. partial is what could be read of the manifest: a table that it
// removed is one that a crash left behind.
func (r *repair) rebuild(partial *manifest.State) error {
	r.state = manifest.NewState()
	var walks []*sstable.Salvage
	var readers []*sstable.Reader
	var used []uint64
	defer func() {
		for _, reader := range readers {
			_ = reader.Close() // it was only read
		}
	}()
	last := partial.Flushed
	for _, n := range r.files.Tables {
		reader, _, err := openTable(r.directory, n)
		if damage, ok := damageOf(err); ok {
			r.say("%s %s: left out", storage.TableName(n), describe(damage))
			used = append(used, n)
			continue
		}
		if err != nil {
			return err
		}
		readers, walks, used = append(readers, reader), append(walks, reader.NewSalvage()), append(used, n)
		last = max(last, reader.Info().MaxSeq)
	}
	tables, err := r.merge(walks)
	if err != nil {
		return err
	}
	for i, w := range walks {
		for _, l := range w.Lost {
			r.say("%s %s: left out", storage.TableName(used[i]), describe(l.Damage))
		}
	}
	for _, t := range tables {
		r.state.Tables[t.Number] = t
	}
	r.state.Flushed, r.changed = last, true
	r.say("the manifest is rebuilt from %s; range deletions, and the order of the tables, are lost", plural(len(used), "table"))
	r.lose(last)
	for _, n := range used {
		if err := r.setAside(storage.TableName(n)); err != nil {
			return err
		}
	}
	return nil
}

// rebuiltLevel is where rebuilt tables are put: nothing lies below.
const rebuiltLevel = manifest.Levels - 1

// tableSize is about how large a rebuilt table grows.
const tableSize = 32 << 20

// merge writes what the walks show, of each key the newest record, to new tables.
func (r *repair) merge(walks []*sstable.Salvage) (tables []manifest.Table, err error) {
	children := make([]entry.Iterator, len(walks))
	for i, w := range walks {
		children[i] = w
	}
	it := compaction.NewMerge(children...)
	keep := compaction.NewFilter(nil, false, nil)
	var w *tableWriter
	var last []byte
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if !keep.Keep(it.Key(), it.Seq(), it.Kind()) {
			continue
		}
		if w != nil && w.EstimatedSize() > tableSize && !bytes.Equal(last, it.Key()) {
			if tables, err = w.finish(tables); err != nil {
				break
			}
			w = nil
		}
		if w == nil {
			if w, err = r.newTable(); err != nil {
				break
			}
		}
		last = append(last[:0], it.Key()...)
		err = w.Add(it.Key(), it.Seq(), it.Kind(), it.Value())
	}
	if err == nil {
		err = it.Err()
	}
	if w != nil {
		if err != nil {
			return nil, errors.Join(err, w.file.Close())
		}
		tables, err = w.finish(tables)
	}
	if err == nil {
		err = errors.Join(it.Close(), r.fs.SyncDir(r.path))
	}
	return tables, err
}

// tableWriter writes one rebuilt table.
type tableWriter struct {
	*sstable.Writer
	file   vfs.File
	number uint64
}

func (r *repair) newTable() (*tableWriter, error) {
	number := r.number()
	f, err := r.fs.Create(r.name(storage.TableName(number)))
	if err != nil {
		return nil, err
	}
	return &tableWriter{sstable.NewWriter(f, sstable.WriterOptions{}), f, number}, nil
}

// finish appends the finished table to tables.
func (w *tableWriter) finish(tables []manifest.Table) ([]manifest.Table, error) {
	info, err := w.Finish()
	if closed := w.file.Close(); err == nil {
		err = closed
	}
	return append(tables, manifest.Table{
		Number: w.number, Level: rebuiltLevel, Size: info.Size, MinSeq: info.MinSeq, MaxSeq: info.MaxSeq,
		Entries: info.Entries, Deletes: info.Deletes, Smallest: info.Smallest, Largest: info.Largest,
	}), err
}
