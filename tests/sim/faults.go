package sim

import (
	"fmt"
	"time"

	"kvstore/storage"
	"kvstore/storage/vfs"
)

func newDisk() *vfs.Mem { return vfs.NewMem() }

// Fault is something that happens to machines and ends again.
type Fault uint8

const (
	// Split keeps two groups of machines apart.
	Split Fault = iota
	// OneWay loses what one machine sends to another.
	OneWay
	// Isolate keeps one machine apart from all others; clients still reach it.
	Isolate
	// Kill ends a process as kill -9 does.
	Kill
	// KillMidTurn does so between handling messages and committing them.
	KillMidTurn
	// Power cuts a machine's power. Unless each commit waits for the disk, only
	// one machine loses writes at a time; see losesOne.
	Power
	// Restart stops a process in order.
	Restart
	// Slow delays all that a machine sends and gets.
	Slow
	// Cut breaks a connection, which comes back at once.
	Cut
)

// String names the fault.
func (f Fault) String() string {
	return [...]string{"split", "one way", "isolate", "kill", "kill mid turn", "power", "restart", "slow", "cut"}[f]
}

// scheduleFault lets the next fault come after a while, and so on.
func (w *World) scheduleFault() {
	if w.c.FaultEvery == 0 || len(w.c.Faults) == 0 {
		return
	}
	w.loop.after(time.Duration(w.rand.ExpFloat64()*float64(w.c.FaultEvery)), func() {
		if w.ending {
			return
		}
		f := w.c.Faults[w.rand.IntN(len(w.c.Faults))]
		length := time.Duration((0.1 + w.rand.ExpFloat64()) * float64(w.c.FaultFor))
		w.strike(f, w.rand.IntN(len(w.machines)), w.rand.Uint64(), length)
		w.scheduleFault()
	})
}

// strike lets a fault happen to machine a; draw decides what else there is.
func (w *World) strike(f Fault, a int, draw uint64, length time.Duration) {
	m := w.machines[a]
	b := (a + 1 + int(draw%uint64(len(w.machines)-1))) % len(w.machines)
	switch f {
	case Split:
		w.split(draw, length)
	case Isolate:
		w.split(1<<uint(a), length)
	case OneWay:
		w.note("fault: %s no longer reaches n%d, for %v", m.name(), b, length)
		w.net.Block(a, b)
		w.loop.after(length, func() { w.net.Unblock(a, b) })
	case Slow:
		d := time.Duration(draw % uint64(400*time.Millisecond))
		w.note("fault: %s is slow by %v, for %v", m.name(), d, length)
		w.net.Slow(a, d)
		w.loop.after(length, func() { w.net.Slow(a, 0) })
	case Cut:
		w.note("fault: connection of %s and n%d breaks", m.name(), b)
		w.net.Cut(a, b)
	default:
		w.takeDown(f, m, length)
	}
}

// split keeps the machines of a set apart from the others.
func (w *World) split(set uint64, length time.Duration) {
	var cut [][2]int
	groups := [2]string{}
	for a := range w.machines {
		groups[set>>uint(a)&1] += fmt.Sprintf(" n%d", a)
		for b := range w.machines {
			if set>>uint(a)&1 != set>>uint(b)&1 {
				cut = append(cut, [2]int{a, b})
			}
		}
	}
	w.note("fault: between%s and%s nothing passes, for %v", groups[0], groups[1], length)
	for _, c := range cut {
		w.net.Block(c[0], c[1])
	}
	w.loop.after(length, func() {
		for _, c := range cut {
			w.net.Unblock(c[0], c[1])
		}
	})
}

// takeDown ends a machine's process and starts another after a while.
func (w *World) takeDown(f Fault, m *machine, length time.Duration) {
	down := 0
	for _, other := range w.machines {
		if !other.wanted {
			down++
		}
	}
	if down >= w.c.MaxDown || !m.wanted || m.process == nil {
		return
	}
	if f == Power && !w.losesOne(m) {
		return
	}
	m.wanted = false
	back := func() { w.loop.after(length, m.start) }
	switch f {
	case Kill:
		m.kill()
		back()
	case KillMidTurn:
		p := m.process
		w.net.Doom(m.index, func() {
			if m.process == p {
				m.kill()
			}
			back()
		})
	case Power:
		m.cutPower()
		w.lost++
		back()
	case Restart:
		m.stop(back)
	}
}

// onlyOne is how long after a loss of power another machine may lose its: by
// then what the others hold in common is on their disks.
const onlyOne = 3 * time.Second

// losesOne reports whether no other machine has lost writes a moment ago.
func (w *World) losesOne(m *machine) bool {
	if w.c.Storage.Fsync == storage.SyncAlways {
		return true
	}
	for _, other := range w.machines {
		if other != m && !other.lostAt.IsZero() && time.Since(other.lostAt) < onlyOne {
			return false
		}
	}
	return true
}
