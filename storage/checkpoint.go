package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"kvstore/storage/manifest"
	"kvstore/storage/vfs"
)

// Checkpoint makes dir, which must be absent or empty, an engine of its own with the content of the present moment;
// writes go on meanwhile. It flushes the memory and then links the tables, so it costs no room until tables are
// replaced; where the file system cannot link, it copies them. When it fails, or ctx ends, what it made stays, without a
// CURRENT. The caller may hold the lock of the directory, LockName, meanwhile.
func (d *DB) Checkpoint(ctx context.Context, dir string) error {
	if err := d.checkpoint(ctx, dir); err != nil {
		return fmt.Errorf("checkpoint to %s: %w", dir, err)
	}
	return nil
}

func (d *DB) checkpoint(ctx context.Context, dir string) error {
	if err := d.fs.MkdirAll(dir); err != nil {
		return err
	}
	names, err := d.fs.List(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(names, func(name string) bool { return name != lockName }) {
		return &fs.PathError{Op: "checkpoint", Path: dir, Err: fs.ErrExist}
	}
	if err := d.Flush(); err != nil {
		return err
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.background.Done()
	// From here on the files of the sum are kept, whatever compactions do.
	d.keeper.pin()
	defer d.keeper.unpin()
	sum := d.currentSum()
	for _, t := range sum.Tables {
		from, to := d.name(tableName(t.Number)), filepath.Join(dir, tableName(t.Number))
		if err := vfs.LinkOrCopy(ctx, d.fs, from, to); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	l, err := manifest.Create(d.fs, dir, sum.Next, sum)
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	// The directory's own name is the parent's to keep.
	return d.fs.SyncDir(filepath.Dir(filepath.Clean(dir)))
}

// currentSum returns a copy of the manifest's state, which needs no log.
func (d *DB) currentSum() *manifest.State {
	d.tree.token.take()
	defer d.tree.token.put()
	sum := manifest.NewState()
	e := d.tree.sum.Edit()
	e.Log = 0
	e.Next = d.nextFile.Load()
	if err := sum.Apply(e); err != nil {
		panic(err) // The sum of edits is an edit.
	}
	return sum
}
