package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sync implements File with fdatasync, which spares the journal a commit when only times changed.
func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

// startWriteback does what StartWriteback says. An error is Sync's to report.
func (f *osFile) startWriteback(offset, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}

// ReadResident does what the function of this name says, by a read that takes what the page cache has and does not wait.
func (f *osFile) ReadResident(p []byte, offset int64) bool {
	n, err := unix.Preadv2(int(f.Fd()), [][]byte{p}, offset, unix.RWF_NOWAIT)
	return err == nil && n == len(p)
}

// Preallocate implements File with fallocate, keeping the size, so that a reader's end of file stays the last byte
// written.
func (f *osFile) Preallocate(size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
		switch {
		case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		case !errors.Is(err, unix.EINTR):
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
		}
	}
}
