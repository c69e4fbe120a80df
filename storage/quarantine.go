package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"kvstore/storage/vfs"
)

// QuarantineName is the directory, in the engine's own, to which damaged files are moved. Nothing reads them, and none but
// the oldest tables, of more than Options.MaxQuarantine bytes, are removed.
const QuarantineName = "quarantine"

// setAside gives a table's file a second name in the quarantine. That it cannot is logged: the file may be damaged in a
// way that it cannot even be copied.
func (d *DB) setAside(number uint64) {
	dir := d.name(QuarantineName)
	err := d.fs.MkdirAll(dir)
	if err == nil {
		err = vfs.LinkOrCopy(context.Background(), d.fs, d.name(tableName(number)), filepath.Join(dir, tableName(number)))
	}
	if err == nil {
		err = d.fs.SyncDir(dir)
	}
	if err != nil {
		d.logger.Warn().Err(err).Uint64("table", number).Msg("a damaged table cannot be kept aside")
	}
	if err := d.boundQuarantine(number); err != nil {
		d.logger.Warn().Err(err).Msg("the quarantine cannot be kept within its bound")
	}
}

// boundQuarantine removes tables from the quarantine, those of the lowest numbers first, until they are within the bound.
// The one just set aside stays, however large: it is what somebody will look at.
func (d *DB) boundQuarantine(latest uint64) error {
	type file struct {
		number uint64
		size   int64
	}
	dir := d.name(QuarantineName)
	names, err := d.fs.List(dir)
	if err != nil {
		return err
	}
	var kept []file
	total := int64(0)
	for _, name := range names {
		var f file
		if _, err := fmt.Sscanf(name, "%d.sst", &f.number); err != nil || name != tableName(f.number) {
			continue // what an operator's repair has moved there
		}
		info, err := d.fs.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		f.size = info.Size
		kept, total = append(kept, f), total+f.size
	}
	slices.SortFunc(kept, func(a, b file) int { return cmp.Compare(a.number, b.number) })
	var errs []error
	for _, f := range kept {
		if total <= d.options.MaxQuarantine {
			break
		}
		if f.number == latest {
			continue
		}
		if err := d.fs.Remove(filepath.Join(dir, tableName(f.number))); err != nil {
			errs = append(errs, err)
			continue
		}
		total -= f.size
		d.logger.Warn().Uint64("table", f.number).Int64("bytes", f.size).Msg("the quarantine is full: its oldest damaged table is removed")
	}
	return errors.Join(errs...)
}
