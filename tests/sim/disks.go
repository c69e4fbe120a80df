package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

func newDisk() *vfs.Mem { return vfs.NewMem() }

// trap ends a process at one of the moments at which it changes its disk.
type trap struct {
	left  atomic.Int64 // how many of them pass before
	power bool
	rand  *rand.Rand // used once
}

// inject is asked before everything a process does to its disk.
func (p *process) inject(op vfs.Op, _ string) error {
	switch op {
	case vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpCreate, vfs.OpRename, vfs.OpRemove, vfs.OpLink, vfs.OpTruncate:
	default:
		return nil
	}
	t := p.trap.Load()
	if t == nil || t.left.Add(-1) != 0 {
		return nil
	}
	m := p.machine
	if t.power {
		m.disk.Crash(t.rand)
	} else {
		m.disk.Kill()
	}
	m.w.loop.after(0, func() {
		if m.process != p {
			return // something else has ended it at the same time
		}
		m.w.note("%s ended in the middle of changing its disk", m.name())
		if t.power {
			m.lostPower()
		} else {
			m.end(time.Millisecond)
		}
	})
	return vfs.ErrDead
}

// excused reports whether a machine cannot be blamed for not starting or not
// stopping in order: its disk is full, or its clock was ahead or is behind.
func (m *machine) excused(err error) bool {
	if free, _ := m.disk.Free("/"); free < 1<<40 {
		return true
	}
	return (time.Now().Before(m.w.apart) || m.skew < m.right) && strings.Contains(err.Error(), "set the machine's clock right")
}

// mend ends what is wrong with a machine for longer.
func (m *machine) mend() {
	m.disk.SetCapacity(-1)
	m.setClock(m.right)
	if m.process != nil {
		m.process.trap.Store(nil)
	}
}

// setClock sets a machine's clock. One that was ahead stays ahead in the versions
// it makes, until the time they tell has come.
func (m *machine) setClock(skew time.Duration) {
	if until := time.Now().Add(m.skew - m.right + 15*time.Second); m.skew > m.right && until.After(m.w.apart) {
		m.w.apart = until
	}
	m.skew = skew
}

// empty takes a machine's data, and leaves who it is.
func (m *machine) empty() {
	m.disk.Kill()
	disk := newDisk()
	_ = disk.MkdirAll(directory) // it never fails
	for _, name := range []string{"node.json", "ring", "clock"} {
		name = filepath.Join(directory, name)
		if b, err := vfs.ReadFile(m.disk, name); err == nil {
			if err := vfs.WriteFile(disk, name, b); err != nil {
				m.w.fail("stands", "machine %s: %v", m.name(), err)
			}
		}
	}
	m.insert(image{disk: disk})
}

// contents are what is on a disk.
type contents struct {
	objects map[string][]byte // encoded, by name
	hints   []owed
}

// owed is a hint: a node misses a key.
type owed struct {
	target ring.NodeID
	name   string
}

// contents reads a machine's disk as it is now, whether it runs or not.
func (m *machine) contents() (*contents, error) {
	o := m.w.c.Storage
	o.FS = m.disk.Clone()
	db, err := storage.Open(directory, o)
	if err != nil {
		return nil, fmt.Errorf("disk of %s: %w", m.name(), err)
	}
	c := &contents{objects: make(map[string][]byte)}
	it, err := db.NewIter(storage.IterOptions{})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = c.add(it.Key(), it.Value())
	}
	return c, errors.Join(err, it.Err(), it.Close(), db.Close())
}

// firstSystemKey is where user keys end, and spaceHints that of hints; see their
// packages.
const firstSystemKey, spaceHints = 0x40, 0x43

func (c *contents) add(k, value []byte) error {
	switch {
	case k[0] < firstSystemKey:
		_, _, name, err := key.ParseUser(k)
		c.objects[string(name)] = slices.Clone(value)
		return err
	case k[0] == spaceHints && len(k) > 18:
		c.hints = append(c.hints, owed{ring.NodeID(binary.BigEndian.Uint64(k[1:])), string(k[18:])})
	}
	return nil
}

// decoded reads an object; nil is the empty one.
func decoded(b []byte) (*version.Object, error) {
	o := new(version.Object)
	if b == nil {
		return o, nil
	}
	return o, o.Decode(b)
}
