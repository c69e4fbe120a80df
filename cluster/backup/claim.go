package backup

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"kvstore/storage/vfs"
)

// lockName is the file whose lock claims a directory: the engine's own (storage.LockName), so that nobody opens what is
// half made.
const lockName = "LOCK"

// Claim is a directory in which one backup is made, and none beside it: two nodes of one machine can be given the same.
type Claim struct {
	fsys    vfs.FS
	dir     string
	existed bool
	lock    io.Closer
}

// NewClaim claims a directory that is absent or empty, and makes it. The claim ends with Keep or Discard.
func NewClaim(fsys vfs.FS, dir string) (*Claim, error) {
	if err := Empty(fsys, dir); err != nil {
		return nil, err
	}
	existed, err := vfs.Exists(fsys, dir)
	if err != nil {
		return nil, err
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	c := &Claim{fsys: fsys, dir: dir, existed: existed}
	if c.lock, err = fsys.Lock(c.file()); err != nil {
		if held, ok := errors.AsType[*vfs.LockedError](err); ok {
			return nil, fmt.Errorf("process %d is writing a backup to %s: name another directory", held.PID, dir)
		}
		return nil, err
	}
	// Another may have been here between the first look and the lock.
	names, err := list(fsys, dir)
	if err == nil && len(names) > 0 {
		err = notEmpty(dir, names)
	}
	if err != nil {
		return nil, errors.Join(err, c.Keep())
	}
	return c, nil
}

func (c *Claim) file() string { return filepath.Join(c.dir, lockName) }

// Keep ends the claim. What is in the directory stays.
func (c *Claim) Keep() error {
	return errors.Join(c.fsys.Remove(c.file()), c.lock.Close())
}

// Discard removes what was begun in the directory, and the directory if it was not there before.
func (c *Claim) Discard() error {
	return errors.Join(Discard(c.fsys, c.dir, c.existed), c.lock.Close())
}

// list returns the files of a directory, in order, less the lock of who makes them.
func list(fsys vfs.FS, dir string) ([]string, error) {
	names, err := fsys.List(dir)
	names = slices.DeleteFunc(names, func(name string) bool { return name == lockName })
	slices.Sort(names)
	return names, err
}
