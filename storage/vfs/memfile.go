package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

// memFile is an open handle of a Mem.
type memFile struct {
	fs         *Mem
	node       *memNode
	name       string
	generation int
	readOnly   bool
	// position is where Read and Write go on; it and closed stand under fs.mu.
	position int
	closed   bool
}

// lock takes the file system's mutex for op and reports why the handle cannot be used; then the mutex is not held.
func (f *memFile) lock(op string) error {
	f.fs.mu.Lock()
	err := error(nil)
	switch {
	case f.generation != f.fs.generation:
		err = ErrDead
	case f.closed:
		err = fs.ErrClosed
	}
	if err != nil {
		f.fs.mu.Unlock()
		return &fs.PathError{Op: op, Path: f.name, Err: err}
	}
	return nil
}

// Read implements File.
func (f *memFile) Read(p []byte) (int, error) {
	if err := f.lock("read"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	n, err := f.readAt(p, f.position)
	f.position += n
	if n > 0 {
		err = nil
	}
	return n, err
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.lock("read"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return f.readAt(p, int(offset))
}

func (f *memFile) readAt(p []byte, offset int) (int, error) {
	if offset >= len(f.node.data) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.node.data[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write implements File.
func (f *memFile) Write(p []byte) (int, error) {
	if err := f.lock("write"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	n, err := f.writeAt(p, f.position)
	f.position += n
	return n, err
}

// WriteAt implements File.
func (f *memFile) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.lock("write"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return f.writeAt(p, int(offset))
}

func (f *memFile) writeAt(p []byte, offset int) (int, error) {
	if f.readOnly {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EBADF}
	}
	fits := len(p)
	grow := max(0, offset+len(p)-len(f.node.data))
	if free := f.fs.capacity - f.fs.used; f.fs.capacity >= 0 && int64(grow) > free {
		fits = max(0, len(p)-(grow-int(max(0, free))))
	}
	if fits > 0 {
		f.node.resize(f.fs, max(len(f.node.data), offset+fits))
		copy(f.node.data[offset:], p[:fits])
		f.node.touch(offset, offset+fits)
	}
	if fits < len(p) {
		return fits, &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	return fits, nil
}

// Sync implements File.
func (f *memFile) Sync() error {
	if err := f.lock("sync"); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	n := f.node
	for _, s := range n.dirty {
		n.persist(s.from, s.to)
	}
	n.dirty = nil
	n.durable = setLength(n.durable, len(n.data))
	return nil
}

// Truncate implements File. The new size is durable at once, as journalling file systems order it with the names.
func (f *memFile) Truncate(size int64) error {
	if err := f.lock("truncate"); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	if f.readOnly || size < 0 {
		return &fs.PathError{Op: "truncate", Path: f.name, Err: syscall.EINVAL}
	}
	n := f.node
	shrinks := int(size) < len(n.data)
	n.resize(f.fs, int(size))
	if shrinks {
		n.durable = n.durable[:min(len(n.durable), int(size))]
		kept := n.dirty[:0]
		for _, s := range n.dirty {
			if s.to = min(s.to, int(size)); s.from < s.to {
				kept = append(kept, s)
			}
		}
		n.dirty = kept
	}
	return nil
}

// Preallocate implements File. It reserves nothing, but refuses what could not fit.
func (f *memFile) Preallocate(size int64) error {
	if err := f.lock("fallocate"); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	if f.fs.capacity >= 0 && f.fs.used-int64(len(f.node.data))+size > f.fs.capacity {
		return &fs.PathError{Op: "fallocate", Path: f.name, Err: syscall.ENOSPC}
	}
	return nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	if err := f.lock("stat"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return int64(len(f.node.data)), nil
}

// Close implements File. Closing a dead handle is no error: the process that held it cannot care.
func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fmt.Errorf("close %s: %w", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

// resize sets the length of the current content, new bytes being zero. The caller holds m.mu.
func (n *memNode) resize(m *Mem, length int) {
	if n.links > 0 {
		m.used += int64(length - len(n.data))
	}
	n.data = setLength(n.data, length)
}

// touch notes an unsynced write; appends, by far the most, extend the last span.
func (n *memNode) touch(from, to int) {
	if last := len(n.dirty) - 1; last >= 0 && n.dirty[last].to == from {
		n.dirty[last].to = to
		return
	}
	n.dirty = append(n.dirty, span{from, to})
}

// persist copies a span of the current content to the durable one.
func (n *memNode) persist(from, to int) {
	to = min(to, len(n.data))
	if from >= to {
		return
	}
	n.durable = setLength(n.durable, max(len(n.durable), to))
	copy(n.durable[from:to], n.data[from:to])
}

// setLength returns b with the length n; bytes that come into view are zero.
func setLength(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n]
	}
	old := len(b)
	if n > cap(b) {
		grown := make([]byte, n, n+n/4)
		copy(grown, b)
		return grown
	}
	b = b[:n]
	clear(b[old:])
	return b
}
