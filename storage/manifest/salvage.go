package manifest

import (
	"errors"
	"io"

	"kvstore/storage/corrupt"
	"kvstore/storage/vfs"
	"kvstore/storage/wal"
)

// Salvage reads a manifest as far as it can be read. whole says that this is all of it, but for an edit cut short at the
// end, so that the state is the one that was in force.
func Salvage(fsys vfs.FS, name string) (state *State, whole bool, err error) {
	state = NewState()
	err = Each(fsys, name, func(_ int64, e *Edit) error { return state.Apply(e) })
	switch {
	case err == nil:
		return state, true, nil
	case corrupt.Is(err):
		return state, false, nil
	}
	return nil, false, err
}

// Each calls fn with each edit of a manifest and its place, in order. It ends with fn's first error as a *corrupt.Error,
// or with the damage it met.
func Each(fsys vfs.FS, name string, fn func(offset int64, e *Edit) error) error {
	r, err := wal.Open(fsys, name)
	if err != nil {
		return err
	}
	defer r.Close()
	for edits := uint64(0); ; edits++ {
		at := r.Offset()
		record, err := r.Next()
		switch {
		case err == io.EOF && edits > 0:
			return nil
		case err == io.EOF:
			return corrupt.New(name, at, "the manifest is empty")
		case corrupt.Is(err):
			return cut(r, edits, err)
		case err != nil:
			return err
		case record.First != edits+1 || record.Format != formatEdit:
			return corrupt.New(name, at, "edit %d of format %d stands where edit %d is due", record.First, record.Format, edits+1)
		}
		e, err := Decode(record.Payload)
		if err == nil {
			err = fn(at, &e)
		}
		if _, is := errors.AsType[*corrupt.Error](err); err != nil && !is {
			err = corrupt.New(name, at, "%v", err)
		}
		if err != nil {
			return err
		}
	}
}
