package storage

import (
	"errors"
	"io/fs"

	"kvstore/storage/memtable"
	"kvstore/storage/vfs"
	"kvstore/storage/wal"
)

// preparedAhead is how many rotations are prepared. Making a log durable takes the disk's time, which may for once be
// longer than filling a small memtable.
const preparedAhead = 2

// runPreparer is the goroutine that prepares rotations. While writes are refused it waits; when a full disk has room again,
// the keeper kicks it.
func (d *DB) runPreparer() {
	for {
		if err := d.prepareNext(); err != nil {
			d.reserve.spending.Store(false)
			d.refuse(err)
		}
		// A range deletion may have waited for it.
		d.keeper.kick()
		select {
		case <-d.preparer.c:
		case <-d.quit:
			return
		}
	}
}

// prepareNext makes the logs and memtables of the next rotations unless they are there.
func (d *DB) prepareNext() error {
	for {
		d.mu.Lock()
		needed := len(d.next) < preparedAhead && d.refused == nil || len(d.next) == 0 && d.reserve.spending.Load()
		d.mu.Unlock()
		if !needed {
			return nil
		}
		w, err := d.createLog()
		if err != nil {
			return err
		}
		p := prepared{log: w, table: d.newMemtable()}
		d.mu.Lock()
		d.next = append(d.next, p)
		d.room.Broadcast()
		d.mu.Unlock()
	}
}

// offHeapSize is the size from which a memtable lies outside the Go heap: the collector lets the heap grow to twice what
// lives in it, and memtables are most of that. The many small ones of a simulation are not worth pages of their own.
const offHeapSize = 1 << 20

func (d *DB) newMemtable() *memtable.Table {
	size := int(d.options.MemtableSize)
	if size < offHeapSize {
		return memtable.New(size)
	}
	return memtable.NewOffHeap(size, d.pages)
}

// createLog makes a durable, empty log under an unused number, with room for a memtable's operations when the disk has
// it.
func (d *DB) createLog() (*wal.Writer, error) {
	w, err := d.createLogWith(d.options.MemtableSize)
	if vfs.IsFull(err) {
		// The reserve only spares the file system the growing. How much still fits is for the writes to find out.
		return d.createLogWith(0)
	}
	return w, err
}

func (d *DB) createLogWith(reserve int64) (*wal.Writer, error) {
	number := d.nextFile.Add(1) - 1
	name := d.name(logName(number))
	w, err := wal.Create(d.fs, name, number, reserve)
	if err == nil {
		if err = d.fs.SyncDir(d.dir); err == nil {
			return w, nil
		}
		w.Close()
	}
	if removed := d.fs.Remove(name); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		d.logger.Warn().Err(removed).Str("file", name).Msg("remove an unfinished log")
	}
	return nil, err
}
