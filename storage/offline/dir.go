package offline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"kvstore/storage"
	"kvstore/storage/corrupt"
	"kvstore/storage/manifest"
	"kvstore/storage/vfs"
)

// directory is an engine's directory, locked.
type directory struct {
	fs    vfs.FS
	path  string
	files storage.Files
	lock  io.Closer
}

// open locks a directory and lists its files. The error wraps storage.ErrLocked and a *vfs.LockedError when an engine
// has it open.
func open(fsys vfs.FS, path string) (*directory, error) {
	info, err := fsys.Stat(path)
	if err == nil && !info.Dir {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a directory")}
	}
	if err != nil {
		return nil, err
	}
	d := &directory{fs: fsys, path: path}
	if d.files, err = storage.ListFiles(fsys, path); err != nil {
		return nil, err
	}
	if len(d.files.Tables)+len(d.files.Logs)+len(d.files.Others) == 0 {
		return nil, fmt.Errorf("%s holds no store: there is no table, log or manifest", path)
	}
	if d.lock, err = fsys.Lock(d.name(storage.LockName)); err != nil {
		if _, ok := errors.AsType[*vfs.LockedError](err); ok {
			err = fmt.Errorf("%w: %w", storage.ErrLocked, err)
		}
		return nil, err
	}
	return d, nil
}

func (d *directory) close() error { return d.lock.Close() }

func (d *directory) name(base string) string { return filepath.Join(d.path, base) }

func (d *directory) exists(base string) bool {
	there, err := vfs.Exists(d.fs, d.name(base))
	return err == nil && there
}

// manifestName returns the base name of the manifest in force; without a CURRENT that names one it is that of the newest.
func (d *directory) manifestName() string {
	if current, err := vfs.ReadFile(d.fs, d.name(manifest.CurrentName)); err == nil {
		base := strings.TrimSuffix(string(current), "\n")
		if strings.HasPrefix(base, "MANIFEST-") && base == filepath.Base(base) && d.exists(base) {
			return base
		}
	}
	newest := ""
	for _, name := range d.files.Others {
		if strings.HasPrefix(name, "MANIFEST-") && !strings.HasSuffix(name, ".tmp") && (len(name) > len(newest) || len(name) == len(newest) && name > newest) {
			newest = name
		}
	}
	return newest
}

// setAside moves a file into the quarantine. A file of that name from an earlier repair stays; this one gets another.
func (d *directory) setAside(base string) error {
	dir := d.name(storage.QuarantineName)
	if err := d.fs.MkdirAll(dir); err != nil {
		return err
	}
	names, err := d.fs.List(dir)
	if err != nil {
		return err
	}
	to := base
	for i := 2; slices.Contains(names, to); i++ {
		to = fmt.Sprintf("%s.%d", base, i)
	}
	if err := d.fs.Rename(d.name(base), filepath.Join(dir, to)); err != nil {
		return err
	}
	return errors.Join(d.fs.SyncDir(dir), d.fs.SyncDir(d.path))
}

// damageOf returns the damage that an error reports, if it does.
func damageOf(err error) (*corrupt.Error, bool) { return errors.AsType[*corrupt.Error](err) }
