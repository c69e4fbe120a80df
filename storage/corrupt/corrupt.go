// Package corrupt holds the error by which every layer of the engine reports damaged bytes, so that callers can name
// the file and never mistake damage for absence.
package corrupt

import (
	"errors"
	"fmt"
)

// Error says that the bytes of a file are not what was written: a checksum that does not match, a length that cannot
// be, a format that is unknown.
type Error struct {
	// File is the name of the damaged file, as the engine knows it.
	File string
	// Offset is where in the file the damaged unit (block, record, footer) begins.
	Offset int64
	// Reason says what does not hold.
	Reason string
}

// Error implements the error interface.
func (e *Error) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s", e.File, e.Offset, e.Reason)
}

// New returns an Error whose reason is formatted as by fmt.Sprintf.
func New(file string, offset int64, format string, args ...any) *Error {
	return &Error{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// Is reports whether err is, or wraps, an Error.
func Is(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}
