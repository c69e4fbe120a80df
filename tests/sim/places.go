package sim

import (
	"errors"
	"slices"
	"time"

	"kvstore/cluster"
	"kvstore/storage/vfs"
)

// replace puts an empty disk into a machine, whose node takes its old place by its
// name. The disk that was there may come back later.
func (w *World) replace(s Strike, m *machine) {
	if w.down() >= w.c.MaxDown || m.process == nil || m.process.node == nil || !w.mayLose(m, true) {
		return
	}
	w.note("fault: %s gets an empty disk", m.name())
	m.wanted, m.behind = false, true
	swap := func() {
		m.swap(image{disk: newDisk()})
		w.loop.after(s.Length, m.start)
	}
	if s.Draw%2 == 0 {
		m.stop(swap)
		return
	}
	m.disk.Kill()
	m.lostPower()
	swap()
}

// swap puts a disk into a machine that is down, and puts the one that was there aside.
func (m *machine) swap(other image) {
	before := image{m.disk, m.rotten}
	m.insert(other)
	m.spare = before
}

// image is a disk that is in no machine, and whether it is rotten; see machine.
type image struct {
	disk   *vfs.Mem
	rotten bool
}

// copied is an image of a machine's disk as it is now.
func (m *machine) copied() image { return image{m.disk.Clone(), m.rotten} }

// insert puts a disk into a machine that is down.
func (m *machine) insert(disk image) {
	m.disk, m.rotten = disk.disk, disk.rotten
	m.w.net.Amnesia(m.index)
}

// comeBack puts the disk back into a machine that was there before the present one.
// If its node was stopped in order, others see that it is an old one; otherwise it
// takes its place as the latest.
func (w *World) comeBack(m *machine) {
	if w.down() >= w.c.MaxDown || m.process == nil || m.process.node == nil || m.spare.disk == nil || !w.mayLose(m, true) {
		return
	}
	w.note("fault: %s gets its old disk back", m.name())
	m.wanted, m.behind = false, true
	m.stop(func() {
		m.swap(m.spare)
		m.start()
	})
}

// listen waits for a node to say that it has to end.
func (m *machine) listen(p *process) {
	refused := p.node.Refused()
	m.w.background.Go(func() {
		select {
		case <-p.gone:
		case err := <-refused:
			m.w.loop.after(0, func() { m.refused(p, err) })
		}
	})
}

// refused does what an operator does, or the server itself, when a node has to end.
func (m *machine) refused(p *process, err error) {
	if m.process != p || p.node == nil {
		return
	}
	m.w.note("%s has to end: %v", m.name(), err)
	p.refusal = err
	switch {
	case errors.Is(err, cluster.ErrRefused) && !m.w.formed: // the test knows why
	case m.w.dynamic() && (errors.Is(err, cluster.ErrNoPart) || errors.Is(err, cluster.ErrRefused) && m.w.hasNoPart(m)):
		// Who had joined and died before it stored a ring is refused like who asks to join.
		m.leaving = true
		end := time.Now().Add(heardWithin)
		m.stop(func() { m.leave(end, err) })
	case errors.Is(err, cluster.ErrRefused) && m.w.clocksApart():
		m.stop(func() { m.w.loop.after(5*time.Second, m.restart) })
	case errors.Is(err, cluster.ErrOldPlace):
		m.stop(m.restart)
	case errors.Is(err, cluster.ErrPlaceTaken) && m.spare.disk != nil:
		m.stop(func() {
			m.swap(m.spare)
			m.restart()
		})
	default:
		m.w.fail("place", "machine %s has to end: %v", m.name(), err)
	}
}

// clocksApart reports whether clocks are wrong, which nobody is let in with.
func (w *World) clocksApart() bool {
	return time.Now().Before(w.apart) || slices.ContainsFunc(w.machines, func(m *machine) bool { return m.skew != m.right })
}

// restart starts a machine's process again, unless it is to be down.
func (m *machine) restart() {
	if m.wanted {
		m.start()
	}
}
