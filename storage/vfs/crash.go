package vfs

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// sector is the unit in which a power loss keeps or loses unsynced bytes: a page of the kernel's cache, the unit of
// writeback.
const sector = 4096

// Kill ends the process that uses the file system: what was written stays, handles, locks and views die.
func (m *Mem) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endProcess()
}

// Crash cuts the power. Durable content and names stay. Of the unsynced changes of names a random prefix stays; of each
// file's unsynced bytes, by the draw, nothing, everything, a prefix, or any set of sectors, and what is lost reads as
// it did before, or as zero. Handles, locks and views die.
func (m *Mem) Crash(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endProcess()
	for _, c := range m.pending[:r.IntN(len(m.pending)+1)] {
		c.apply(m.durableNames)
	}
	m.pending = nil
	m.names = maps.Clone(m.durableNames)
	m.used = 0
	seen := map[*memNode]bool{}
	// The order of names decides what each file draws, so that a seed replays.
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		n := m.names[name]
		if !seen[n] {
			seen[n] = true
			n.links = 0
			n.crash(r)
			m.used += int64(len(n.data))
		}
		n.links++
	}
}

// CrashClone returns what Crash would leave, as a file system of its own; the receiver goes on undisturbed.
func (m *Mem) CrashClone(r *rand.Rand) *Mem {
	c := m.Clone()
	c.Crash(r)
	return c
}

// Flip inverts a bit of a file as it lies on the disk, behind the back of whoever has it open.
func (m *Mem) Flip(name string, offset int64, bit uint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[filepath.Clean(name)]
	if n == nil {
		return notExist("flip", name)
	}
	if offset < 0 || offset >= int64(len(n.data)) {
		return &fs.PathError{Op: "flip", Path: name, Err: io.EOF}
	}
	n.data[offset] ^= 1 << (bit % 8)
	if offset < int64(len(n.durable)) {
		n.durable[offset] ^= 1 << (bit % 8)
	}
	return nil
}

// Clone returns a copy, unsynced state included, without the receiver's handles and locks.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	copies := map[*memNode]*memNode{nil: nil}
	copyOf := func(n *memNode) *memNode {
		if _, ok := copies[n]; !ok {
			copies[n] = &memNode{
				data: slices.Clone(n.data), durable: slices.Clone(n.durable), dirty: slices.Clone(n.dirty), links: n.links,
			}
		}
		return copies[n]
	}
	c := NewMem()
	for name, n := range m.names {
		c.names[name] = copyOf(n)
	}
	for name, n := range m.durableNames {
		c.durableNames[name] = copyOf(n)
	}
	for _, p := range m.pending {
		c.pending = append(c.pending, nameChange{p.name, copyOf(p.node)})
	}
	c.dirs = maps.Clone(m.dirs)
	c.capacity, c.used = m.capacity, m.used
	return c
}

// endProcess invalidates handles, locks and views. The caller holds mu.
func (m *Mem) endProcess() {
	m.generation++
	clear(m.locks)
}

// crash replaces the current content by what the power loss leaves of it, and makes that durable.
func (n *memNode) crash(r *rand.Rand) {
	total := 0
	for _, s := range n.dirty {
		total += s.to - s.from
	}
	if total > 0 {
		n.keepSome(r, total)
	}
	n.dirty = nil
	n.data = slices.Clone(n.durable)
}

// keepSome makes a random part of the unsynced bytes durable.
func (n *memNode) keepSome(r *rand.Rand, total int) {
	const nothing, everything, prefix = 0, 1, 2
	how, left := r.IntN(4), r.IntN(total+1)
	for _, s := range n.dirty {
		switch how {
		case nothing:
		case everything:
			n.persist(s.from, s.to)
		case prefix:
			n.persist(s.from, min(s.to, s.from+left))
			left = max(0, left-(s.to-s.from))
		default:
			for from := s.from; from < s.to; {
				to := min(s.to, (from/sector+1)*sector)
				if r.IntN(2) == 0 {
					n.persist(from, to)
				}
				from = to
			}
		}
	}
}

// View returns the file system as the present process sees it: after a Kill or Crash all its methods fail with ErrDead.
// An engine under test gets a View, so that its goroutines, should they outlive the crash, cannot change the files of
// the next.
func (m *Mem) View() FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &view{fs: m, generation: m.generation}
}

type view struct {
	fs         *Mem
	generation int
}

// alive reports whether the view's process still runs. A Kill between this check and the operation is as if the
// operation had been just in time, but for new handles: those are checked again by open.
func (v *view) alive() error {
	v.fs.mu.Lock()
	defer v.fs.mu.Unlock()
	if v.generation != v.fs.generation {
		return ErrDead
	}
	return nil
}

func (v *view) open(open func(string) (File, error), name string) (File, error) {
	if err := v.alive(); err != nil {
		return nil, err
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	f.(*memFile).generation = v.generation
	return f, nil
}

func (v *view) Create(name string) (File, error)     { return v.open(v.fs.Create, name) }
func (v *view) Open(name string) (File, error)       { return v.open(v.fs.Open, name) }
func (v *view) OpenAppend(name string) (File, error) { return v.open(v.fs.OpenAppend, name) }

func (v *view) Remove(name string) error {
	if err := v.alive(); err != nil {
		return err
	}
	return v.fs.Remove(name)
}

func (v *view) Rename(from, to string) error {
	if err := v.alive(); err != nil {
		return err
	}
	return v.fs.Rename(from, to)
}

func (v *view) Link(from, to string) error {
	if err := v.alive(); err != nil {
		return err
	}
	return v.fs.Link(from, to)
}

func (v *view) MkdirAll(dir string) error {
	if err := v.alive(); err != nil {
		return err
	}
	return v.fs.MkdirAll(dir)
}

func (v *view) List(dir string) ([]string, error) {
	if err := v.alive(); err != nil {
		return nil, err
	}
	return v.fs.List(dir)
}

func (v *view) Stat(name string) (Info, error) {
	if err := v.alive(); err != nil {
		return Info{}, err
	}
	return v.fs.Stat(name)
}

func (v *view) SyncDir(dir string) error {
	if err := v.alive(); err != nil {
		return err
	}
	return v.fs.SyncDir(dir)
}

func (v *view) Lock(name string) (io.Closer, error) {
	if err := v.alive(); err != nil {
		return nil, err
	}
	return v.fs.Lock(name)
}

func (v *view) Free(path string) (int64, error) {
	if err := v.alive(); err != nil {
		return 0, err
	}
	return v.fs.Free(path)
}
