package sim

import (
	"fmt"
	"slices"
	"time"

	"kvstore/cluster/ring"
)

// A machine that is out has no part in the cluster: it has not joined yet, or has
// left, or was removed. Its disk is empty then, and it may join as a new node.

// settledWithin is how long after the end of all faults transfers may go on.
const settledWithin = 10 * time.Minute

// dynamic reports whether members come and go.
func (w *World) dynamic() bool { return w.c.Members > 0 }

// inside counts the machines that have a part in the cluster.
func (w *World) inside() (n int) {
	for _, m := range w.machines {
		if !m.out {
			n++
		}
	}
	return n
}

// voters counts the members that have a vote.
func (w *World) voters() int { return len(w.newest.Voters()) }

// machineOf returns the machine of a node, nil when it is nobody's any more.
func (w *World) machineOf(id ring.NodeID) *machine {
	at := slices.IndexFunc(w.machines, func(m *machine) bool { return m.known == id && id != 0 })
	if at < 0 {
		return nil
	}
	return w.machines[at]
}

// enter starts a machine that was out.
func (m *machine) enter() {
	m.w.note("%s is to join", m.name())
	m.out = false
	m.start()
}

// depart takes the disk of a machine that has no part in the cluster any more.
func (m *machine) depart() {
	m.w.note("%s is out", m.name())
	if m.process != nil {
		m.disk.Kill()
		m.end(time.Millisecond)
	}
	m.disk, m.spare = newDisk(), image{}
	m.out, m.leaving, m.wanted, m.behind, m.rotten, m.known = true, false, false, false, false, 0
	m.w.net.Amnesia(m.index)
}

// heardWithin is how long only one node may know of the latest ring.
const heardWithin = 5 * time.Minute

// hasNoPart reports whether the newest ring says that a machine's node is none of it.
func (w *World) hasNoPart(m *machine) bool {
	_, gone := w.newest.GoneAs(m.known)
	return gone || w.removed(m.known)
}

// removed reports whether a node was declared dead.
func (w *World) removed(id ring.NodeID) bool {
	member := w.newest.Member(id)
	return member != nil && member.State == ring.Removed
}

// leave is what an operator does with a machine whose node says that it is no member
// any more. One that has left in order has nothing left. The others need not have heard
// of it yet.
func (m *machine) leave(end time.Time, why error) {
	if !m.w.hasNoPart(m) {
		if m.w.over || m.w.failed() {
			return
		}
		if !time.Now().Before(end) {
			m.w.fail("place", "machine %s has to end: %v, and nobody knows that it has left", m.name(), why)
			return
		}
		m.w.loop.after(time.Second, func() { m.leave(end, why) })
		return
	}
	former, found := m.w.newest.GoneAs(m.known)
	if found && !former.Removed {
		disk, err := m.contents()
		if err != nil {
			disk = new(contents)
			if !m.behind && !m.excused(err) {
				m.w.fail("stands", "%v", err)
			}
		}
		for name, b := range disk.objects {
			if o, err := decoded(b); err != nil || !m.behind && !gone(o, time.Now()) {
				m.w.fail("left", "%s has left the ring and holds %s: %s", m.name(), name, describe(b))
			}
		}
	}
	m.depart()
}

// quiet ends what operators have begun, and waits until all members are whole
// members and nothing moves.
func (w *World) quiet() bool {
	if !w.dynamic() {
		return true
	}
	w.resume()
	end := time.Now().Add(settledWithin)
	for !w.failed() {
		why := w.unrest()
		if why == "" {
			return true
		}
		if !time.Now().Before(end) {
			w.fail("ends", "%v after the end of all faults %s%s", settledWithin, why, w.underWay())
		}
		w.pass(time.Second)
	}
	return false
}

// unrest says what is not as it is to be once nothing moves any more.
func (w *World) unrest() string {
	r := w.newest
	switch {
	case len(r.Transfers) > 0:
		t := r.Transfers[0]
		return fmt.Sprintf("%d transfers are not done, the first of partition %d from %s to %s, which is %v", len(r.Transfers), t.Partition, w.nameOf(t.From), w.nameOf(t.To), t.Step)
	case r.Paused:
		return "moves are paused"
	}
	if err := w.rightly(); err != nil {
		return err.Error()
	}
	for _, m := range r.Members {
		if m.State != ring.Active {
			return fmt.Sprintf("%s is %v", w.nameOf(m.ID), m.State)
		}
		if w.machineOf(m.ID) == nil {
			return fmt.Sprintf("node %v is a member and nobody's", m.ID)
		}
	}
	for _, m := range w.machines {
		if m.out {
			continue
		}
		if r.Member(m.known) == nil {
			return m.name() + " is no member"
		}
		if node := m.up(); node == nil || node.Ring().Hash() != r.Hash() {
			return m.name() + " has not the newest ring"
		}
	}
	return ""
}

func (w *World) nameOf(id ring.NodeID) string {
	if m := w.machineOf(id); m != nil {
		return m.name()
	}
	if id == 0 {
		return "nobody"
	}
	return id.String()
}

// replicasNow returns the machines that hold a key by the newest ring.
func (w *World) replicasNow(name string) (machines []int) {
	if w.newest == nil {
		return nil
	}
	for _, id := range w.newest.Replicas(w.newest.PartitionOf(ring.TokenOf(0, []byte(name)))) {
		if m := w.machineOf(id); m != nil {
			machines = append(machines, m.index)
		}
	}
	return machines
}

// steady reports whether a machine was a replica of a key at the last look, and none
// of those that there are now is being filled.
func (w *World) steady(name string, m int) bool {
	_, unfilled := w.newest.Unfilled(w.newest.PartitionOf(ring.TokenOf(0, []byte(name))))
	return !unfilled && w.sighted.holds(name, m)
}

// underWay says how far the nodes are with what they drive.
func (w *World) underWay() (text string) {
	for _, m := range w.machines {
		if node := m.up(); node != nil {
			text += fmt.Sprintf("; %s, whose epoch is %d: %+v", m.name(), node.Ring().Epoch, node.Transfers())
		}
	}
	return text
}
