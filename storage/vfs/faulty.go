package vfs

import "io"

// Op names an operation for a Faulty file system's predicate.
type Op uint8

// The operations that can be made to fail: all of them.
const (
	OpCreate Op = iota
	OpOpen
	OpRemove
	OpRename
	OpLink
	OpMkdir
	OpList
	OpSyncDir
	OpLock
	OpRead
	OpWrite
	OpSync
	OpTruncate
	OpPreallocate
	OpStat
	OpSize
	OpFree
	// OpClose closes the file all the same: there is no handle left that could be closed again.
	OpClose
)

// String returns the operation's name.
func (o Op) String() string {
	return [...]string{"create", "open", "remove", "rename", "link", "mkdir", "list", "syncdir", "lock", "read", "write", "sync",
		"truncate", "preallocate", "stat", "size", "free", "close"}[o]
}

// Mutates reports whether the operation changes what a crash may leave.
func (o Op) Mutates() bool {
	switch o {
	case OpOpen, OpList, OpRead, OpStat, OpSize, OpFree, OpClose:
		return false
	}
	return true
}

// Faulty passes operations on to another file system unless its predicate has an error for them.
type Faulty struct {
	FS
	// Inject is asked before each operation on the named file, concurrently, with no lock held; an error is the
	// operation's result, and the operation is not done. A write that is to be torn is the predicate's to make.
	Inject func(op Op, name string) error
}

var _ FS = (*Faulty)(nil)

// Create implements FS.
func (f *Faulty) Create(name string) (File, error) { return f.open(OpCreate, f.FS.Create, name) }

// Open implements FS.
func (f *Faulty) Open(name string) (File, error) { return f.open(OpOpen, f.FS.Open, name) }

// OpenAppend implements FS.
func (f *Faulty) OpenAppend(name string) (File, error) {
	return f.open(OpOpen, f.FS.OpenAppend, name)
}

func (f *Faulty) open(op Op, open func(string) (File, error), name string) (File, error) {
	if err := f.Inject(op, name); err != nil {
		return nil, err
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, name: name, inject: f.Inject}, nil
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	if err := f.Inject(OpRemove, name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// Rename implements FS; the predicate sees the new name.
func (f *Faulty) Rename(from, to string) error {
	if err := f.Inject(OpRename, to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// Link implements FS; the predicate sees the new name.
func (f *Faulty) Link(from, to string) error {
	if err := f.Inject(OpLink, to); err != nil {
		return err
	}
	return f.FS.Link(from, to)
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(dir string) error {
	if err := f.Inject(OpMkdir, dir); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir)
}

// List implements FS.
func (f *Faulty) List(dir string) ([]string, error) {
	if err := f.Inject(OpList, dir); err != nil {
		return nil, err
	}
	return f.FS.List(dir)
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(dir string) error {
	if err := f.Inject(OpSyncDir, dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

// Lock implements FS.
func (f *Faulty) Lock(name string) (io.Closer, error) {
	if err := f.Inject(OpLock, name); err != nil {
		return nil, err
	}
	return f.FS.Lock(name)
}

// Stat implements FS.
func (f *Faulty) Stat(name string) (Info, error) {
	if err := f.Inject(OpStat, name); err != nil {
		return Info{}, err
	}
	return f.FS.Stat(name)
}

// Free implements FS.
func (f *Faulty) Free(path string) (int64, error) {
	if err := f.Inject(OpFree, path); err != nil {
		return 0, err
	}
	return f.FS.Free(path)
}

type faultyFile struct {
	File
	name   string
	inject func(op Op, name string) error
}

func (f *faultyFile) Read(p []byte) (int, error) {
	if err := f.inject(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.inject(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, offset)
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.inject(OpWrite, f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.inject(OpWrite, f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, offset)
}

func (f *faultyFile) Sync() error {
	if err := f.inject(OpSync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.inject(OpTruncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Preallocate(size int64) error {
	if err := f.inject(OpPreallocate, f.name); err != nil {
		return err
	}
	return f.File.Preallocate(size)
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.inject(OpSize, f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultyFile) Close() error {
	err := f.inject(OpClose, f.name)
	if closed := f.File.Close(); err == nil {
		err = closed
	}
	return err
}
