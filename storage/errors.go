package storage

import (
	"errors"
	"fmt"

	"kvstore/storage/corrupt"
	"kvstore/storage/vfs"
)

var (
	// ErrClosed says that the engine, snapshot or iterator is closed.
	ErrClosed = errors.New("the engine is closed")
	// ErrFull says that the disk is full: writes are refused until there is room again, reads go on.
	ErrFull = errors.New("the disk is full")
	// ErrReadOnly says that the disk failed to take what was written: writes are refused until the engine is opened
	// again, reads go on.
	ErrReadOnly = errors.New("the disk failed and writes are refused")
	// ErrLocked says that another process has the directory open; the message names its process id when that is known.
	ErrLocked = errors.New("the directory is in use")
	// ErrTooLarge says that a key, value or batch is over its limit.
	ErrTooLarge = errors.New("too large")
)

// CorruptError reports damaged bytes by file and offset. It is never mistaken for absence.
type CorruptError = corrupt.Error

// IsCorrupt reports whether err is, or wraps, a *CorruptError.
func IsCorrupt(err error) bool { return corrupt.Is(err) }

// refusal returns what a failed write to the disk means for later writes.
func refusal(err error) error {
	if vfs.IsFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrReadOnly, err)
}
