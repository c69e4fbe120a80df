package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"kvstore/storage"
)

// Fault is something that happens to machines and ends again.
type Fault uint8

const (
	// Split keeps two groups of machines apart.
	Split Fault = iota
	// OneWay loses what one machine sends to another.
	OneWay
	// Isolate keeps one machine apart from all others; clients still reach it.
	Isolate
	// Between keeps two machines apart that others still reach.
	Between
	// Pause stops a process, as SIGSTOP does, and lets it go on.
	Pause
	// Kill ends a process as kill -9 does.
	Kill
	// KillMidTurn does so between handling messages and committing them.
	KillMidTurn
	// KillMidWrite does so at one of the moments at which it changes its disk.
	KillMidWrite
	// Power cuts a machine's power. Unless each commit waits for the disk, only
	// one machine loses writes at a time; see mayLose.
	Power
	// PowerMidWrite does so at one of the moments at which it changes its disk.
	PowerMidWrite
	// Restart stops a process in order.
	Restart
	// Slow delays all that a machine sends and gets.
	Slow
	// Cut breaks a connection, which comes back at once.
	Cut
	// Full leaves no room on a machine's disk.
	Full
	// Ahead and Behind set a machine's clock minutes wrong.
	Ahead
	Behind
	// Rot flips a bit in a table.
	Rot
	// Restore puts an old image of its disk into a machine.
	Restore
	// Empty takes a machine's data, but not who it is.
	Empty
	// Replace puts an empty disk into a machine.
	Replace
	// ComeBack puts the disk that was replaced back.
	ComeBack
	// RotLog and RotManifest flip a bit in a log, or in a manifest, and kill the
	// process.
	RotLog
	RotManifest
	// Join starts a new node.
	Join
	// Decommission has a node hand over what it holds.
	Decommission
	// Remove kills a machine for good and declares its node dead.
	Remove
	// Succeed has a new node take the places of another.
	Succeed
	// Weigh changes a node's weight.
	Weigh
	// Abort gives up what is planned.
	Abort
	// MovePause lets nothing begin to move for a while.
	MovePause
	// Operators plan two changes at the same time, at two nodes.
	Operators
	// KillPlanner kills a node in the midst of its planning.
	KillPlanner
	// KillMover kills who enters or who leaves, at a step of a transfer.
	KillMover
	// Commit lets in who waits for it.
	Commit
	// Sever keeps a data centre apart from the others.
	Sever
	// Blackout kills all machines of a data centre.
	Blackout
	// LoseMajority kills a majority of the voters for good, and has the cluster recovered
	// by force. Those that were lost come back later, and are refused.
	LoseMajority
	// Replicate asks for more replicas of each partition, or for fewer.
	Replicate
	faults
)

// String names the fault.
func (f Fault) String() string {
	return [...]string{
		"split", "one way", "isolate", "between", "pause", "kill", "kill mid turn", "kill mid write", "power", "power mid write",
		"restart", "slow", "cut", "full disk", "clock ahead", "clock behind", "rot", "restore", "empty", "replace", "come back", "rot of a log", "rot of a manifest",
		"join", "decommission", "remove", "succeed", "weigh", "abort", "pause of moves", "two operators", "kill of who plans", "kill of who moves", "commit", "sever", "blackout", "lost majority", "replication",
	}[f]
}

// strike lets a fault happen.
func (w *World) strike(s Strike) {
	if w.ending {
		return
	}
	w.struck[s.Fault]++
	m := w.machines[s.Machine]
	b := (s.Machine + 1 + int(s.Draw%uint64(max(len(w.machines)-1, 1)))) % len(w.machines)
	switch s.Fault {
	case Split, Isolate, OneWay, Between:
		w.partition(s, b)
	case Pause:
		w.note("fault: %s is paused, for %v", m.name(), s.Length)
		w.net.Pause(s.Machine)
		w.loop.after(s.Length, func() { w.net.Resume(s.Machine) })
	case Slow:
		d := time.Duration(s.Draw % uint64(400*time.Millisecond))
		w.note("fault: %s is slow by %v, for %v", m.name(), d, s.Length)
		w.net.Slow(s.Machine, d)
		w.loop.after(s.Length, func() { w.net.Slow(s.Machine, 0) })
	case Cut:
		w.note("fault: connection of %s and n%d breaks", m.name(), b)
		w.net.Cut(s.Machine, b)
	case Full:
		room := int64(s.Draw % (32 << 10))
		w.note("fault: the disk of %s has %d bytes left, for %v", m.name(), room, s.Length)
		m.disk.SetCapacity(m.disk.Used() + room)
		w.loop.after(s.Length, func() { m.disk.SetCapacity(-1) })
	case Ahead, Behind:
		w.misset(s, m)
	case Rot:
		if w.mayLose(m, true) && m.rot(s.Fault, s.Draw) {
			m.behind = true
		}
	case Restore:
		w.restore(s, m)
	case Replace:
		w.replace(s, m)
	case ComeBack:
		w.comeBack(m)
	case RotLog, RotManifest:
		w.rotUnread(s, m)
	case Sever, Blackout:
		w.strikeCentre(s)
	case LoseMajority:
		w.loseMajority(s, time.Now().Add(time.Minute))
	case Join, Decommission, Remove, Succeed, Weigh, Abort, MovePause, Operators, KillPlanner, KillMover, Commit, Replicate:
		w.member(s, m)
	case Empty:
		if w.down() < w.c.MaxDown && m.process != nil && w.mayLose(m, true) {
			w.note("fault: %s loses its data", m.name())
			m.wanted, m.behind = false, true
			m.empty()
			m.lostPower()
			w.loop.after(s.Length, m.start)
		}
	default:
		w.takeDown(s, m)
	}
}

// misset sets a machine's clock wrong, and right again.
func (w *World) misset(s Strike, m *machine) {
	by := time.Minute + time.Duration(s.Draw%uint64(5*time.Minute))
	if s.Fault == Behind {
		by = -by
	}
	w.note("fault: the clock of %s is wrong by %v, for %v", m.name(), by, s.Length)
	m.setClock(m.right + by)
	w.loop.after(s.Length, func() { m.setClock(m.right) })
}

// partition keeps machines apart.
func (w *World) partition(s Strike, b int) {
	a := s.Machine
	switch s.Fault {
	case Split:
		w.split(s.Draw, s.Length)
	case Isolate:
		w.split(1<<uint(a), s.Length)
	case OneWay:
		w.block(fmt.Sprintf("n%d no longer reaches n%d", a, b), [][2]int{{a, b}}, s.Length)
	case Between:
		w.block(fmt.Sprintf("between n%d and n%d nothing passes", a, b), [][2]int{{a, b}, {b, a}}, s.Length)
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
	w.block(fmt.Sprintf("between%s and%s nothing passes", groups[0], groups[1]), cut, length)
}

// block stops what passes along some ways, for a time.
func (w *World) block(what string, ways [][2]int, length time.Duration) {
	w.note("fault: %s, for %v", what, length)
	for _, way := range ways {
		w.net.Block(way[0], way[1])
	}
	w.loop.after(length, func() {
		for _, way := range ways {
			w.net.Unblock(way[0], way[1])
		}
	})
}

// takeDown ends a machine's process and starts another after a while.
func (w *World) takeDown(s Strike, m *machine) {
	if w.down() >= w.c.MaxDown || !m.wanted || m.process == nil {
		return
	}
	if (s.Fault == Power || s.Fault == PowerMidWrite) && !w.mayLose(m, false) {
		return
	}
	m.wanted = false
	p := m.process
	switch s.Fault {
	case Kill:
		m.kill()
	case KillMidTurn:
		w.net.Doom(m.index, func() {
			if m.process == p {
				m.kill()
			}
		})
	case KillMidWrite, PowerMidWrite:
		t := &trap{power: s.Fault == PowerMidWrite, rand: rand.New(rand.NewPCG(s.Draw, 1))}
		t.left.Store(1 + int64(s.Draw%40))
		w.note("fault: %s will end at its %d. change of its disk", m.name(), t.left.Load())
		p.trap.Store(t)
		if t.power {
			m.lostAt = time.Now().Add(s.Length) // until then it may happen
		}
	case Power:
		m.cutPower()
	case Restart:
		m.stop(func() { w.loop.after(s.Length, m.start) })
		return
	}
	w.loop.after(s.Length, func() {
		w.net.Doom(m.index, nil)
		p.trap.Store(nil)
		m.start()
	})
}

// down counts the machines that are not to be up.
func (w *World) down() (n int) {
	for _, m := range w.machines {
		if !m.wanted && !m.out {
			n++
		}
	}
	return n
}

// restore takes an image of a machine's disk, and later puts it in the place of
// the disk. What was written between is lost there.
func (w *World) restore(s Strike, m *machine) {
	if m.out {
		return
	}
	disk, of := m.copied(), m.known
	w.note("fault: an image is taken of the disk of %s", m.name())
	w.loop.after(s.Length, func() {
		if w.ending || w.down() >= w.c.MaxDown || m.process == nil || m.known != of || !w.mayLose(m, true) {
			return
		}
		w.note("fault: %s gets the image of %v ago", m.name(), s.Length)
		m.wanted, m.behind = false, true
		m.disk.Kill()
		m.lostPower()
		m.insert(disk)
		w.loop.after(5*time.Second, m.start)
	})
}

// onlyOne is how long after a loss of power another machine may lose its: by
// then what the others hold in common is on their disks.
const onlyOne = 3 * time.Second

// mayLose reports whether a machine may lose writes: no other has lost some of
// which there might be only one copy left. A loss of power takes the last second,
// a loss beyond that lasts until all replicas are seen to be level.
func (w *World) mayLose(m *machine, much bool) bool {
	if much && w.dynamic() && w.voters() < 3 {
		return false // the loss of one vote would be that of the majority
	}
	if !much && w.c.Storage.Fsync == storage.SyncAlways {
		return true
	}
	for _, other := range w.machines {
		if other == m {
			continue
		}
		if other.behind || !other.lostAt.IsZero() && time.Since(other.lostAt) < onlyOne {
			return false
		}
	}
	return !much || w.look() && w.level()
}
