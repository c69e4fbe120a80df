package wal

import (
	"errors"
	"fmt"

	"kvstore/storage/vfs"
)

// Writer appends records to one log. Write is for one goroutine at a time; Sync may run beside it.
type Writer struct {
	name   string
	number uint64
	tag    uint32
	file   vfs.File
	// offset is where the next record begins: behind the last one that was written whole.
	offset int64
	// reserved is how far the file has room on the disk, and end where it ends, once Extend has put its end behind the
	// records.
	reserved, end int64
}

// Create makes the log and its header durable, with room for preallocate bytes, so that the first Write to it finds
// everything done. The name's directory is the caller's to sync. On error nothing is left behind but perhaps the name.
func Create(fsys vfs.FS, name string, number uint64, preallocate int64) (*Writer, error) {
	f, err := fsys.Create(name)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(appendHeader(nil, number))
	if err == nil && preallocate > 0 {
		err = f.Preallocate(preallocate)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("create log %s: %w", name, err)
	}
	return &Writer{name: name, number: number, tag: tagOf(number), file: f, offset: HeaderSize, reserved: preallocate}, nil
}

// Write seals record, made by Begin and a payload behind it, and writes it with one call. After an error the record can
// be written again: it goes to the same place, over whatever part of it arrived.
func (w *Writer) Write(record []byte, format uint8, first, durable uint64) error {
	if len(record) > RecordHeaderSize+MaxPayload {
		panic("wal: record over the limit")
	}
	seal(record, w.tag, format, first, durable)
	if _, err := w.file.WriteAt(record, w.offset); err != nil {
		return fmt.Errorf("write log %s: %w", w.name, err)
	}
	w.offset += int64(len(record))
	return nil
}

// extendStep is by how much the file's end runs ahead of the records: thousands of small ones.
const extendStep = 512 << 10

// Extend puts the file's end ahead of the next size bytes of records, within the room that Create reserved. A Sync
// after each record then has no new size to write, which takes it two thirds of the time. It is for the goroutine that
// writes.
func (w *Writer) Extend(size int) error {
	if w.offset+int64(size) <= w.end || w.offset+int64(size) > w.reserved {
		return nil
	}
	end := min(w.offset+int64(size)+extendStep, w.reserved)
	if err := w.file.Truncate(end); err != nil {
		return fmt.Errorf("extend log %s: %w", w.name, err)
	}
	w.end = end
	return nil
}

// Sync makes all records written so far durable.
func (w *Writer) Sync() error {
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync log %s: %w", w.name, err)
	}
	return nil
}

// Number returns the log's number.
func (w *Writer) Number() uint64 { return w.number }

// Size returns the bytes written.
func (w *Writer) Size() int64 { return w.offset }

// Close gives back the room behind the last record and closes the file, without syncing it.
func (w *Writer) Close() error {
	err := error(nil)
	if w.end > w.offset {
		err = w.file.Truncate(w.offset)
	}
	return errors.Join(err, w.file.Close())
}
