package storage

import (
	"bytes"
	"fmt"
	"runtime"

	"kvstore/storage/compaction"
	"kvstore/storage/corrupt"
	"kvstore/storage/entry"
	"kvstore/storage/manifest"
	"kvstore/storage/sstable"
	"kvstore/storage/vfs"
)

// get looks key up in one table as of seq; records below deleted are hidden. It is known when the table settles the
// question: live then says whether the key is there.
func (t *table) get(dst, key []byte, seq, deleted uint64, io bool) (value []byte, live, known, ready bool, err error) {
	var kind entry.Kind
	var at uint64
	ready = true
	if io {
		value, kind, at, known, err = t.reader.Get(dst, key, seq)
	} else {
		value, kind, at, known, ready, err = t.reader.TryGet(dst, key, seq)
	}
	if err != nil {
		return dst, false, false, ready, fmt.Errorf("get: %w", err)
	}
	if !known || kind != entry.KindSet || at < deleted {
		return dst, false, known, ready, nil
	}
	return value, true, true, ready, nil
}

// openTable opens a table that the manifest describes.
func (d *DB) openTable(m manifest.Table) (*table, error) {
	name := d.name(tableName(m.Number))
	f, err := d.fs.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil && size != m.Size {
		err = corrupt.New(name, size, "the table has %d bytes and not the %d the manifest names", size, m.Size)
	}
	var r *sstable.Reader
	if err == nil {
		r, err = sstable.Open(f, size, sstable.ReaderOptions{Cache: d.cache, FileNum: m.Number, Name: name, Hot: m.Level <= 1})
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	t := &table{Table: m, reader: r}
	t.refs.Store(1)
	return t, nil
}

// builder writes the records of a flush or compaction into tables of one level.
type builder struct {
	db    *DB
	level int
	// cutter says where a table of a level below 0 ends.
	cutter compaction.Cutter
	// warm has the tables' blocks cached as they are written.
	warm bool
	// pacer makes the work rest for the sake of others; nil for what others wait for.
	pacer *pacer

	number uint64
	file   vfs.File
	writer *sstable.Writer
	last   []byte
	clean  uint64
	done   []*table
	bytes  int64
}

// build writes what keep retains of the iterator's records and returns the tables, open and durable. After an error
// nothing is left of them.
func (b *builder) build(it entry.Iterator, keep sieve, stop <-chan struct{}) ([]*table, error) {
	err := b.run(it, keep, stop)
	if err == nil {
		err = b.finish()
	}
	if err == nil && len(b.done) > 0 {
		// The names must last before the manifest speaks of them.
		err = b.db.fs.SyncDir(b.db.dir)
	}
	if err != nil {
		b.abandon()
		return nil, err
	}
	return b.done, nil
}

func (b *builder) run(it entry.Iterator, keep sieve, stop <-chan struct{}) error {
	// yieldInterval is how many records pass before whoever else wants this processor gets it. That is some fifty
	// microseconds; by itself the scheduler would let an event loop wait for ten milliseconds.
	const yieldInterval = 128
	b.clean = keep.clean
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%yieldInterval == 0 {
			select {
			case <-stop:
				return ErrClosed
			default:
			}
			b.pacer.rest(stop)
			runtime.Gosched()
		}
		key := it.Key()
		if !keep.Keep(key, it.Seq(), it.Kind()) {
			continue
		}
		if b.writer != nil && b.mustEnd(key) {
			if err := b.finish(); err != nil {
				return err
			}
		}
		if b.writer == nil {
			if err := b.begin(); err != nil {
				return err
			}
		}
		if err := b.writer.Add(key, it.Seq(), it.Kind(), it.Value()); err != nil {
			return err
		}
		b.last = append(b.last[:0], key...)
	}
	return it.Err()
}

// mustEnd reports whether the open table ends before key. The records of one key stay in one table, which lookups below
// level 0 rely on.
func (b *builder) mustEnd(key []byte) bool {
	return b.level > 0 && !bytes.Equal(b.last, key) && b.cutter.Before(key, b.writer.EstimatedSize())
}

func (b *builder) begin() error {
	b.number = b.db.nextFile.Add(1) - 1
	f, err := b.db.fs.Create(b.db.name(tableName(b.number)))
	if err != nil {
		return err
	}
	b.file = f
	o := sstable.WriterOptions{BlockSize: b.db.options.BlockSize, Compression: b.db.options.Compression}
	if b.level == 0 {
		// What is flushed is soon merged into the levels below; until then its room is less dear than the time.
		o.Compression = "none"
	}
	if b.warm {
		o.Cache, o.FileNum = b.db.cache, b.number
	}
	b.writer = sstable.NewWriter(f, o)
	return nil
}

// finish makes the open table durable and opens it for reading.
func (b *builder) finish() error {
	if b.writer == nil {
		return nil
	}
	info, err := b.writer.Finish()
	b.writer = nil
	if closed := b.file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		var t *table
		t, err = b.db.openTable(manifest.Table{
			Number: b.number, Level: b.level, Size: info.Size, MinSeq: info.MinSeq, MaxSeq: info.MaxSeq,
			Entries: info.Entries, Deletes: info.Deletes, Smallest: info.Smallest, Largest: info.Largest,
		})
		if err == nil {
			t.clean = b.clean
			b.done = append(b.done, t)
			b.bytes += info.Size
			return t.reader.Warm()
		}
	}
	b.db.keeper.remove(b.db.name(tableName(b.number)))
	return err
}

// abandon removes what was written.
func (b *builder) abandon() {
	if b.writer != nil {
		b.writer = nil
		// The build has failed already; the file goes.
		_ = b.file.Close()
		b.db.keeper.remove(b.db.name(tableName(b.number)))
	}
	b.db.dropTables(b.done)
}
