package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a file system in memory that keeps apart what was written and what would survive a loss of power, for tests
// and simulation. It does no I/O, starts no goroutine and holds its one mutex briefly, so it works inside a
// testing/synctest bubble.
//
// Two stores are kept. The current one is what the running process sees. The durable one is what the platter holds: a
// file's content moves there by File.Sync, names by SyncDir. Kill ends the process and keeps the current store; Crash
// cuts the power: what is durable stays, and of the rest a random part (see crash.go). After either, every handle, lock
// and View taken before is dead and answers ErrDead, so that what still runs of the old process cannot touch the new
// one's files.
type Mem struct {
	mu sync.Mutex
	// generation counts Kill and Crash; a handle of an older one is dead.
	generation int
	// names and dirs are the current store; durableNames what survives. Directories are durable at once, which spares
	// callers nothing they must not do anyway and keeps the model small.
	names        map[string]*memNode
	durableNames map[string]*memNode
	dirs         map[string]bool
	// pending holds the changes of names that no SyncDir has made durable, oldest first.
	pending []nameChange
	locks   map[string]bool
	// capacity bounds the bytes of all files, negative without bound; used is their current sum.
	capacity int64
	used     int64
}

// memNode is one file's content, shared by all its names and handles.
type memNode struct {
	data    []byte
	durable []byte
	// dirty lists the written and unsynced spans [from, to) of data, in the order of writing.
	dirty []span
	links int
}

type span struct{ from, to int }

// nameChange is one step to be made durable: name refers to node, or to nothing when node is nil.
type nameChange struct {
	name string
	node *memNode
}

// ErrDead is the answer of a handle or View from before a Kill or Crash.
var ErrDead = fmt.Errorf("the process that opened this is gone: %w", os.ErrClosed)

var _ FS = (*Mem)(nil)

// NewMem returns an empty file system without a capacity limit.
func NewMem() *Mem {
	return &Mem{
		names:        map[string]*memNode{},
		durableNames: map[string]*memNode{},
		dirs:         map[string]bool{"/": true, ".": true},
		locks:        map[string]bool{},
		capacity:     -1,
	}
}

// SetCapacity bounds the sum of all files' bytes: writes past it fail with ENOSPC after as many bytes as fit. A
// negative bound is none.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Used returns the sum of all files' bytes.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.checkParent("create", name); err != nil {
		return nil, err
	}
	n := m.names[name]
	if n == nil {
		n = &memNode{}
		m.bind(name, n)
	} else {
		m.used -= int64(len(n.data))
		n.data = n.data[:0:0]
		n.durable = nil // An emptied file is empty on the disk too: truncation is journalled with the names.
		n.dirty = nil
	}
	return &memFile{fs: m, node: n, name: name, generation: m.generation}, nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	n := m.names[name]
	if n == nil {
		return nil, notExist("open", name)
	}
	return &memFile{fs: m, node: n, name: name, generation: m.generation, readOnly: true}, nil
}

// OpenAppend implements FS.
func (m *Mem) OpenAppend(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.checkParent("open", name); err != nil {
		return nil, err
	}
	n := m.names[name]
	if n == nil {
		n = &memNode{}
		m.bind(name, n)
	}
	return &memFile{fs: m, node: n, name: name, generation: m.generation, position: len(n.data)}, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if m.dirs[name] {
		if len(m.list(name)) > 0 {
			return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
		}
		delete(m.dirs, name)
		return nil
	}
	if m.names[name] == nil {
		return notExist("remove", name)
	}
	m.bind(name, nil)
	return nil
}

// Rename implements FS. Only files can be renamed.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	n := m.names[from]
	if n == nil {
		return notExist("rename", from)
	}
	if err := m.checkParent("rename", to); err != nil {
		return err
	}
	// The new name comes first, so that a crash between the two leaves both and never neither.
	m.bind(to, n)
	m.bind(from, nil)
	return nil
}

// Link implements FS.
func (m *Mem) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	n := m.names[from]
	if n == nil {
		return notExist("link", from)
	}
	if err := m.checkParent("link", to); err != nil {
		return err
	}
	if m.names[to] != nil {
		return &fs.PathError{Op: "link", Path: to, Err: fs.ErrExist}
	}
	m.bind(to, n)
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dir = filepath.Clean(dir); !m.dirs[dir]; dir = filepath.Dir(dir) {
		if m.names[dir] != nil {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		m.dirs[dir] = true
	}
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if !m.dirs[dir] {
		return nil, notExist("list", dir)
	}
	return m.list(dir), nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if m.dirs[name] {
		return Info{Dir: true}, nil
	}
	n := m.names[name]
	if n == nil {
		return Info{}, notExist("stat", name)
	}
	return Info{Size: int64(len(n.data))}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if !m.dirs[dir] {
		return notExist("sync", dir)
	}
	m.pending = slices.DeleteFunc(m.pending, func(c nameChange) bool {
		if filepath.Dir(c.name) != dir {
			return false
		}
		c.apply(m.durableNames)
		return true
	})
	return nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if m.locks[name] {
		return nil, &LockedError{Name: name, PID: os.Getpid()}
	}
	if err := m.checkParent("lock", name); err != nil {
		return nil, err
	}
	if m.names[name] == nil {
		m.bind(name, &memNode{})
	}
	m.locks[name] = true
	return &memLock{fs: m, name: name, generation: m.generation}, nil
}

// Free implements FS. Without a capacity it is a number too large to matter.
func (m *Mem) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity < 0 {
		return 1 << 50, nil
	}
	return max(0, m.capacity-m.used), nil
}

// checkParent reports why name cannot be made. The caller holds mu.
func (m *Mem) checkParent(op, name string) error {
	if !m.dirs[filepath.Dir(name)] {
		return notExist(op, name)
	}
	if m.dirs[name] {
		return &fs.PathError{Op: op, Path: name, Err: syscall.EISDIR}
	}
	return nil
}

// bind makes name refer to node, or to nothing, now and, after a SyncDir, durably. The caller holds mu.
func (m *Mem) bind(name string, n *memNode) {
	if old := m.names[name]; old != nil {
		old.links--
		if old.links == 0 {
			m.used -= int64(len(old.data))
		}
	}
	if n != nil {
		if n.links == 0 {
			m.used += int64(len(n.data))
		}
		n.links++
	}
	c := nameChange{name, n}
	c.apply(m.names)
	m.pending = append(m.pending, c)
}

func (c nameChange) apply(names map[string]*memNode) {
	if c.node == nil {
		delete(names, c.name)
		return
	}
	names[c.name] = c.node
}

// list returns the sorted names in dir. The caller holds mu.
func (m *Mem) list(dir string) []string {
	found := []string{}
	for name := range m.names {
		if filepath.Dir(name) == dir {
			found = append(found, filepath.Base(name))
		}
	}
	for name := range m.dirs {
		if filepath.Dir(name) == dir && name != dir {
			found = append(found, filepath.Base(name))
		}
	}
	slices.SortFunc(found, strings.Compare)
	return found
}

func notExist(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// memLock is a held lock.
type memLock struct {
	fs         *Mem
	name       string
	generation int
}

// Close releases the lock; after a Kill or Crash it is released already and may be another's.
func (l *memLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.generation == l.fs.generation {
		delete(l.fs.locks, l.name)
	}
	return nil
}
