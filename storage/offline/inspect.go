package offline

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"kvstore/storage"
	"kvstore/storage/entry"
	"kvstore/storage/manifest"
	"kvstore/storage/sstable"
	"kvstore/storage/vfs"
	"kvstore/storage/wal"
)

// Look says what Inspect prints besides a summary.
type Look struct {
	// Keys prints every record's key, Blocks every block of a table.
	Keys, Blocks bool
}

// Inspect prints a table, a log or a manifest, or a directory's manifest in force, for people. It takes no lock: an
// engine may have the file open, and be writing the end of a log.
func Inspect(fsys vfs.FS, path string, look Look, out io.Writer) error {
	info, err := fsys.Stat(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	i := inspector{fs: fsys, look: look, out: w}
	base := filepath.Base(path)
	switch {
	case info.Dir:
		err = i.directory(path)
	case strings.HasPrefix(base, "MANIFEST-"):
		err = i.manifest(path)
	case filepath.Ext(stem(base)) == ".sst":
		err = i.table(path, info.Size)
	case filepath.Ext(stem(base)) == ".log":
		err = i.log(path, info.Size)
	case base == manifest.CurrentName:
		err = i.directory(filepath.Dir(path))
	default:
		err = fmt.Errorf("%s is not a file that can be inspected: tables (.sst), logs (.log), manifests (MANIFEST-) and directories can", path)
	}
	return errors.Join(err, w.Flush())
}

// stem is a file's name without the number that the quarantine appends to a second file of a name.
func stem(base string) string {
	if _, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(base), ".")); err == nil {
		return strings.TrimSuffix(base, filepath.Ext(base))
	}
	return base
}

type inspector struct {
	fs   vfs.FS
	look Look
	out  *bufio.Writer
}

func (i *inspector) line(format string, args ...any) { fmt.Fprintf(i.out, format+"\n", args...) }

// directory prints the manifest in force.
func (i *inspector) directory(path string) error {
	files, err := storage.ListFiles(i.fs, path)
	if err != nil {
		return err
	}
	d := &directory{fs: i.fs, path: path, files: files}
	base := d.manifestName()
	if base == "" {
		return fmt.Errorf("%s holds no store: there is no manifest", path)
	}
	i.line("%s: %s, %s, manifest %s", path, plural(len(files.Tables), "table file"), plural(len(files.Logs), "log"), base)
	return i.manifest(d.name(base))
}

// manifest prints the edits and the state that they sum up to.
func (i *inspector) manifest(path string) error {
	state := manifest.NewState()
	edits := 0
	i.line("manifest %s", filepath.Base(path))
	err := manifest.Each(i.fs, path, func(offset int64, e *manifest.Edit) error {
		edits++
		i.line("  edit %d at offset %d:%s", edits, offset, describeEdit(e))
		return state.Apply(e)
	})
	i.line("state after %s: next file %d, first log %d, operations in tables up to %d", plural(edits, "edit"), state.Next, state.Log, state.Flushed)
	i.levels(state)
	for _, r := range state.Edit().Ranges {
		i.line("  range deletion %d: from %s to %s", r.Seq, Key(r.Lo), Key(r.Hi))
	}
	for _, m := range state.Edit().Marks {
		i.line("  lost up to operation %d: from %s to %s", m.Seq, Key(m.Lo), Key(m.Hi))
	}
	if state.Repaired {
		i.line("  the store was repaired and its node has not started since")
	}
	return err
}

func describeEdit(e *manifest.Edit) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	for _, t := range e.Added {
		add("adds table %d to level %d", t.Number, t.Level)
	}
	for _, n := range e.Removed {
		add("removes table %d", n)
	}
	for _, r := range e.Ranges {
		add("adds range deletion %d", r.Seq)
	}
	for _, n := range e.Unranged {
		add("ends range deletion %d", n)
	}
	for _, m := range e.Marks {
		add("marks lost range %d", m.ID)
	}
	for _, n := range e.Unmarked {
		add("ends lost range %d", n)
	}
	if e.Log != 0 {
		add("logs count from %d", e.Log)
	}
	if e.Flushed != 0 {
		add("tables have operation %d", e.Flushed)
	}
	if e.Sums != nil {
		add("changes sums")
	}
	if len(parts) == 0 {
		return " nothing"
	}
	return " " + strings.Join(parts, ", ")
}

// levels prints the tables by level.
func (i *inspector) levels(state *manifest.State) {
	tables := state.Edit().Added
	for level := range manifest.Levels {
		n, size := 0, int64(0)
		for _, t := range tables {
			if t.Level == level {
				n++
				size += t.Size
			}
		}
		if n == 0 {
			continue
		}
		i.line("  level %d: %s, %d bytes", level, plural(n, "table"), size)
		for _, t := range tables {
			if t.Level == level {
				i.line("    table %d: %d bytes, %s, %s, operations %d to %d, from %s to %s", t.Number, t.Size,
					plural(int(t.Entries), "record"), plural(int(t.Deletes), "deletion"), t.MinSeq, t.MaxSeq, Key(t.Smallest), Key(t.Largest))
			}
		}
	}
}

// log prints the records of a log, and the operations with Keys.
func (i *inspector) log(path string, size int64) error {
	number, _ := strconv.ParseUint(strings.TrimSuffix(stem(filepath.Base(path)), ".log"), 10, 64) // 0 names no log: then the header tells
	i.line("log %s: %d bytes", filepath.Base(path), size)
	records, ops := 0, uint64(0)
	err := wal.Salvage(i.fs, path, number, func(p *wal.Piece) error {
		if p.Damage != nil {
			i.line("  damaged at offset %d, %d bytes: %s", p.Offset, p.Length, p.Damage.Reason)
			return nil
		}
		n, whole := countOps(p.Record.Payload)
		records, ops = records+1, ops+n
		i.line("  record at offset %d: %d bytes, operations %d to %d, durable then %d", p.Offset, p.Length, p.Record.First, p.Record.First+n-1, p.Record.Durable)
		if !whole {
			i.line("    its operations do not decode")
		}
		if i.look.Keys {
			i.operations(p.Record.First, p.Record.Payload)
		}
		return nil
	})
	i.line("%s, %s", plural(records, "record"), plural(int(ops), "operation"))
	return err
}

func (i *inspector) operations(seq uint64, payload []byte) {
	for ; len(payload) > 0; seq++ {
		op, rest, ok := wal.NextOp(payload)
		if !ok {
			return
		}
		payload = rest
		switch op.Kind {
		case wal.OpDeleteRange:
			i.line("    %d delete from %s to %s", seq, Key(op.Key), Key(op.Value))
		case wal.OpDelete, wal.OpDeleteSum:
			i.line("    %d delete %s", seq, Key(op.Key))
		default:
			i.line("    %d set %s = %d bytes", seq, Key(op.Key), len(op.Value))
		}
	}
}

// table prints a table's properties, and its blocks or records if asked.
func (i *inspector) table(path string, size int64) error {
	f, err := i.fs.Open(path)
	if err != nil {
		return err
	}
	r, err := sstable.Open(f, size, sstable.ReaderOptions{Name: path})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer r.Close()
	info := r.Info()
	i.line("table %s: %d bytes, %s, %s, operations %d to %d", filepath.Base(path), size, plural(int(info.Entries), "record"),
		plural(int(info.Deletes), "deletion"), info.MinSeq, info.MaxSeq)
	i.line("  from %s", Key(info.Smallest))
	i.line("  to   %s", Key(info.Largest))
	if err := i.blocks(r); err != nil {
		return err
	}
	if i.look.Keys {
		return i.records(r)
	}
	return nil
}

// blocks prints the sum of the blocks, and each of them with Blocks.
func (i *inspector) blocks(r *sstable.Reader) error {
	var data, partitions, stored, length, filter, damaged int
	err := r.Blocks(func(b *sstable.BlockInfo) error {
		if b.Kind == "data" {
			data++
		} else {
			partitions++
		}
		stored, length, filter = stored+b.Stored, length+b.Length, filter+b.Filter
		if b.Damage != nil {
			damaged++
			i.line("  %s block at offset %d is damaged: %s", b.Kind, b.Offset, b.Damage.Reason)
		} else if i.look.Blocks {
			i.line("  %s block at offset %d: %d bytes stored, %d of contents (%s), %s, up to %s", b.Kind, b.Offset, b.Stored, b.Length, b.Compression,
				plural(b.Rows, "row"), Key(b.Last))
		}
		return nil
	})
	i.line("  %s, %s, %d bytes stored of %d of contents, %d of filters, %d damaged", plural(data, "data block"), plural(partitions, "partition"), stored, length, filter, damaged)
	return err
}

func (i *inspector) records(r *sstable.Reader) error {
	walk := r.NewSalvage()
	for ok := walk.First(); ok; ok = walk.Next() {
		if walk.Kind() == entry.KindDelete {
			i.line("  %d delete %s", walk.Seq(), Key(walk.Key()))
		} else {
			i.line("  %d set %s = %d bytes", walk.Seq(), Key(walk.Key()), len(walk.Value()))
		}
	}
	for _, l := range walk.Lost {
		i.line("  cannot be read: from %s to %s: %s", Key(l.Lo), Key(l.Hi), l.Damage.Reason)
	}
	return walk.Close()
}
