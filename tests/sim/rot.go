package sim

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kvstore/storage"
	"kvstore/storage/offline"
)

// rots reports whether a fault flips bits in files of a name.
func (f Fault) rots(name string) bool {
	switch f {
	case RotLog:
		return filepath.Ext(name) == ".log"
	case RotManifest:
		return strings.HasPrefix(name, "MANIFEST-") || name == "CURRENT"
	}
	return filepath.Ext(name) == ".sst"
}

// rot flips a bit of one of the files of a machine's engine.
func (m *machine) rot(f Fault, draw uint64) bool {
	names, _ := m.disk.List(directory)
	names = slices.DeleteFunc(names, func(n string) bool { return !f.rots(n) })
	if len(names) == 0 {
		return false
	}
	name := filepath.Join(directory, names[draw%uint64(len(names))])
	info, err := m.disk.Stat(name)
	if err != nil || info.Size == 0 {
		return false
	}
	at := int64(draw >> 8 % uint64(info.Size))
	m.w.note("fault: in %s of %s, of %d bytes, a bit at %d flips", name, m.name(), info.Size, at)
	return m.disk.Flip(name, at, uint(draw>>5)) == nil
}

// rotUnread flips a bit in a file that is only read when the engine opens: of a
// process that is killed then.
func (w *World) rotUnread(s Strike, m *machine) {
	if w.down() >= w.c.MaxDown || m.process == nil || !w.mayLose(m, true) {
		return
	}
	m.wanted, m.behind = false, true
	m.kill()
	m.rotten = m.rot(s.Fault, s.Draw)
	w.loop.after(s.Length, m.start)
}

// repair is what an operator does with a directory that does not open, when the
// error says that it is damaged: kvstore storage repair, and a start.
func (m *machine) repair(p *process, err error) {
	m.w.note("%s is repaired: %v", m.name(), err)
	m.rotten = false
	m.w.background.Go(func() {
		report, err := offline.Repair(context.Background(), m.disk.View(), directory, offline.Options{})
		m.w.loop.after(0, func() {
			if m.process != p {
				return
			}
			m.end(time.Millisecond)
			if err != nil {
				m.w.fail("stands", "machine %s cannot be repaired: %v", m.name(), err)
				return
			}
			for _, step := range report.Steps {
				m.w.note("%s: %s", m.name(), step)
			}
			m.restart()
		})
	})
}

// damaged reports whether a machine cannot be blamed for not starting: its files
// have rotted.
func (m *machine) damaged(err error) bool {
	_, damage := errors.AsType[*storage.CorruptError](err)
	return m.rotten && damage
}
