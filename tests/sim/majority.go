package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"kvstore/cluster"
	"kvstore/cluster/ring"
)

// loseMajority kills so many voters that no majority is left, and for good as far as
// anybody can tell: an operator makes those that are left the cluster. Nobody loses data
// by that, because it happens while all replicas are level, and each partition keeps one;
// that is waited for.
func (w *World) loseMajority(s Strike, until time.Time) {
	if w.ending || w.failed() || time.Now().After(until) {
		return
	}
	var dead []*machine
	if w.newest != nil && w.down() == 0 && w.whole() && len(w.newest.Transfers) == 0 && w.voters() == len(w.newest.Members) && w.mayLose(nil, true) {
		dead = w.drawMajority(s.Draw)
	}
	if dead == nil {
		w.loop.after(5*time.Second, func() { w.loseMajority(s, until) })
		return
	}
	w.note("fault: a majority is lost")
	generation, lost := w.newest.Generation, make(map[*machine]ring.NodeID)
	for _, m := range dead {
		m.kill()
		m.wanted = false
		lost[m] = m.known
	}
	w.loop.after(3*time.Second, func() { w.recover(s, generation, lost) })
}

// drawMajority returns machines without which there is no majority, and of which no
// partition has all its replicas.
func (w *World) drawMajority(draw uint64) (dead []*machine) {
	voters := w.newest.Voters()
	many := (len(voters) + 1) / 2
	for first := range voters {
		dead = dead[:0]
		for i := range many {
			id := voters[(first+i+int(draw%uint64(len(voters))))%len(voters)]
			if m := w.machineOf(id); m != nil && m.process != nil {
				dead = append(dead, m)
			}
		}
		if len(dead) == many && w.leaves(dead) {
			return dead
		}
	}
	return nil
}

// leaves reports whether every partition keeps a replica without some machines.
func (w *World) leaves(dead []*machine) bool {
	for p := range ring.Partition(w.newest.Q) {
		if !slices.ContainsFunc(w.newest.Replicas(p), func(id ring.NodeID) bool { return !slices.Contains(dead, w.machineOf(id)) }) {
			return false
		}
	}
	return true
}

// recover asks again and again until the cluster is recovered by force, and then lets
// those that were lost come back. Whom the operator does not reach is lost too, so he
// waits until he reaches all that are left.
func (w *World) recover(s Strike, generation uint64, lost map[*machine]ring.NodeID) {
	if w.ending || w.failed() {
		return
	}
	again := func() { w.loop.after(time.Second, func() { w.recover(s, generation, lost) }) }
	at := w.anyUp(s.Draw)
	if at == nil || w.newest.Generation > generation {
		return
	}
	for _, m := range w.machines {
		if w.newest.Member(m.known) != nil && lost[m] == 0 && !w.connected(at.index, m.index) {
			again()
			return
		}
	}
	node := at.up()
	w.note("operator at %s: recover by force", at.name())
	w.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*operatorWaits)
		defer cancel()
		err := node.Recover(ctx)
		w.loop.after(0, func() {
			w.observe() // see operate
			switch {
			case errors.Is(err, cluster.ErrMajority) && !w.ending:
				w.fail("ring", "%v", err)
			case err != nil:
				w.note("operator at %s: recover: %v", at.name(), err)
				again()
			default:
				w.fenced(s, lost)
			}
		})
	})
}

// fenced has those come back that the cluster was recovered without.
func (w *World) fenced(s Strike, lost map[*machine]ring.NodeID) {
	for _, m := range w.machines {
		if id := lost[m]; id != 0 && m.known == id {
			if !w.hasNoPart(m) {
				w.fail("ring", "the cluster was recovered without %s, and it is %+v", m.name(), w.newest.Member(id))
			}
			w.loop.after(s.Length, m.start)
		}
	}
}
