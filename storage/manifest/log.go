package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"kvstore/storage/corrupt"
	"kvstore/storage/vfs"
	"kvstore/storage/wal"
)

const (
	// CurrentName is the file that names the manifest in force.
	CurrentName = "CURRENT"
	// formatEdit is the record format of an edit.
	formatEdit uint8 = 2
)

// Name returns the name of the manifest with that number.
func Name(number uint64) string { return fmt.Sprintf("MANIFEST-%06d", number) }

// Log writes the manifest in force. Its methods are for one goroutine at a time.
type Log struct {
	writer *wal.Writer
	// edits counts the edits written; it numbers the records.
	edits uint64
	// base is how large the manifest was when it summed up the one before.
	base   int64
	buffer []byte
}

// Create writes a manifest whose first edit makes state, and makes CURRENT name it. The number must be unused. Until
// Create returns nil the manifest before is in force.
func Create(fsys vfs.FS, dir string, number uint64, state *State) (*Log, error) {
	name := filepath.Join(dir, Name(number))
	w, err := wal.Create(fsys, name, number, 0)
	if err != nil {
		return nil, err
	}
	l := &Log{writer: w}
	err = l.Append(state.Edit())
	l.base = w.Size()
	if err == nil {
		// The manifest's own name must last before CURRENT points to it.
		err = fsys.SyncDir(dir)
	}
	if err == nil {
		err = vfs.WriteFile(fsys, filepath.Join(dir, CurrentName), []byte(Name(number)+"\n"))
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("create manifest %s: %w", name, err)
	}
	return l, nil
}

// SyncError is an Append whose outcome is unknown: the edit was written, but the disk did not confirm it.
type SyncError struct{ Err error }

// Error implements the error interface.
func (e *SyncError) Error() string { return e.Err.Error() }

// Unwrap returns the disk's error.
func (e *SyncError) Unwrap() error { return e.Err }

// Append writes an edit durably. After an error other than a *SyncError the edit did not happen and Append can be tried
// again.
func (l *Log) Append(e *Edit) error {
	l.buffer = e.Append(wal.Begin(l.buffer[:0]))
	// Every edit is synced before the next is written, so each record vouches for the ones before it.
	if err := l.writer.Write(l.buffer, formatEdit, l.edits+1, l.edits); err != nil {
		return err
	}
	l.edits++
	if err := l.writer.Sync(); err != nil {
		return &SyncError{err}
	}
	return nil
}

// Grown returns the bytes of the edits since Create.
func (l *Log) Grown() int64 { return l.writer.Size() - l.base }

// Edits returns how many edits it has.
func (l *Log) Edits() uint64 { return l.edits }

// Number returns the manifest's number.
func (l *Log) Number() uint64 { return l.writer.Number() }

// Close closes the manifest; every edit is durable already.
func (l *Log) Close() error { return l.writer.Close() }

// Load reads the state of the manifest in force. The error is fs.ErrNotExist when the directory has none, and a
// *corrupt.Error when it is damaged. An edit cut short at the end never took effect and is left out.
func Load(fsys vfs.FS, dir string) (*State, error) {
	current, err := vfs.ReadFile(fsys, filepath.Join(dir, CurrentName))
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(string(current), "\n")
	if !strings.HasPrefix(base, "MANIFEST-") || base != filepath.Base(base) {
		return nil, corrupt.New(filepath.Join(dir, CurrentName), 0, "it names no manifest")
	}
	name := filepath.Join(dir, base)
	state := NewState()
	err = Each(fsys, name, func(_ int64, e *Edit) error { return state.Apply(e) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt.New(name, 0, "the manifest that %s names is missing", CurrentName)
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return state, nil
}

// InForce reports whether CURRENT names the manifest with that number, as far as can be read.
func InForce(fsys vfs.FS, dir string, number uint64) bool {
	current, err := vfs.ReadFile(fsys, filepath.Join(dir, CurrentName))
	return err == nil && string(current) == Name(number)+"\n"
}

// cut returns nil when the damage at which r stopped is a torn last edit, and the damage otherwise. The first edit was
// durable before CURRENT named the file.
func cut(r *wal.Reader, edits uint64, damage error) error {
	tail, err := r.Tail()
	if err != nil {
		return err
	}
	if edits > 0 && tail.Torn(edits, tail.Durable, false) {
		return nil
	}
	return damage
}
