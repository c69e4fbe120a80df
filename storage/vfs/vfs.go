// Package vfs is the engine's only door to files. Everything durable goes through FS and File, so that the same engine
// runs on the operating system (OS), on a simulated disk that loses power (Mem), and on a disk that fails on demand
// (Faulty).
//
// The contract is what a careful program may assume of a POSIX file system and no more:
//
//   - Written bytes survive the loss of the process at once, the loss of power only after File.Sync.
//   - A created, renamed, linked or removed name survives the loss of power only after FS.SyncDir of its directory.
//   - Bytes written and not synced may survive a power loss in part: any of their sectors may be old, new, or zero.
//   - Rename replaces the target atomically. Removing or renaming a file does not disturb its open handles.
//
// All methods may be called concurrently, those of one File included; Read and Write, which share the handle's
// position, are for one goroutine at a time.
package vfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
)

// FS is a file system. Names are paths as in package filepath. Errors wrap fs.ErrNotExist and fs.ErrExist where these
// apply, and syscall.ENOSPC when the disk is full (see IsFull).
type FS interface {
	// Create makes an empty file, or empties the one there is, for reading and writing.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// OpenAppend opens a file for reading and writing, makes it when there is none, and places Write at its end.
	OpenAppend(name string) (File, error)
	// Remove removes a file or an empty directory.
	Remove(name string) error
	Rename(from, to string) error
	// Link gives the file a second name. It fails with fs.ErrExist when the new name is taken.
	Link(from, to string) error
	// MkdirAll makes a directory and its parents.
	MkdirAll(dir string) error
	// List returns the names in a directory, sorted, without their path.
	List(dir string) ([]string, error)
	Stat(name string) (Info, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Lock takes an exclusive lock between processes on a file, made when there is none, until the returned Closer is
	// closed or the process ends. A lock held elsewhere is a *LockedError, at once.
	Lock(name string) (io.Closer, error)
	// Free returns the bytes still free for this user on the file system that holds path.
	Free(path string) (int64, error)
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Closer
	// Sync makes the file's content and size durable (fdatasync).
	Sync() error
	// Truncate sets the file's size.
	Truncate(size int64) error
	// Preallocate asks that the first size bytes have room on the disk, without changing the file's size. A file system
	// that cannot is no error; a full one is.
	Preallocate(size int64) error
	Size() (int64, error)
}

// StartWriteback asks that the system begin to write a part of the file to the disk, so that a later Sync finds little
// left to do and does not hold up the syncs of others. It promises nothing, and does nothing where there is no such call.
func StartWriteback(f File, offset, length int64) {
	if w, ok := f.(interface{ startWriteback(offset, length int64) }); ok {
		w.startWriteback(offset, length)
	}
}

// ReadResident fills p with the bytes at offset if the system has all of them in memory, so that nobody waits for a disk. It
// is false where it has not, where there is no such call, and after any error, which is ReadAt's to report.
func ReadResident(f File, p []byte, offset int64) bool {
	r, ok := f.(interface {
		ReadResident(p []byte, offset int64) bool
	})
	return ok && r.ReadResident(p, offset)
}

// Info describes a name.
type Info struct {
	Size int64
	Dir  bool
}

// LockedError says that another process, or another holder in this one, has the lock.
type LockedError struct {
	Name string
	// PID is the holder's process id, 0 when unknown.
	PID int
}

// Error implements the error interface.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is locked by another process", e.Name)
	}
	return fmt.Sprintf("%s is locked by process %d", e.Name, e.PID)
}

// IsFull reports whether err means that the disk, or the user's quota of it, is full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Exists reports whether name exists.
func Exists(fsys FS, name string) (bool, error) {
	_, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ReadFile returns the whole content of a file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// WriteFile replaces a file's content atomically and durably: after a crash the file has the old content or the new.
func WriteFile(fsys FS, name string, data []byte) error {
	temporary := name + ".tmp"
	f, err := fsys.Create(temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = fsys.Rename(temporary, name)
	}
	if err != nil {
		// The half-made file is of no use; that it may stay is not worth an error beside the first one.
		_ = fsys.Remove(temporary)
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// copyStep is what a copy takes between two looks at its context.
const copyStep = 4 << 20

// LinkOrCopy gives the file a second name, or a durable copy where the file system cannot link. A copy ends with ctx, and
// leaves its beginning.
func LinkOrCopy(ctx context.Context, fsys FS, from, to string) error {
	err := fsys.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	source, err := fsys.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := fsys.Create(to)
	if err != nil {
		return err
	}
	for err == nil {
		if err = ctx.Err(); err == nil {
			_, err = io.CopyN(target, source, copyStep)
		}
	}
	if err == io.EOF {
		err = target.Sync()
	}
	if closed := target.Close(); err == nil {
		err = closed
	}
	return err
}
