package sim

import (
	"context"
	"fmt"
	"time"

	"kvstore/cluster/ring"
)

// operatorWaits is how long an operator waits for a change of the ring.
const operatorWaits = 10 * time.Second

// changing is a change of the ring.
type changing func(*ring.Ring) (*ring.Ring, error)

// plan is a change that plans.
func plan(changes ...ring.Change) changing {
	return func(r *ring.Ring) (*ring.Ring, error) {
		next, _, err := ring.Replan(r, changes...)
		return next, err
	}
}

// operate asks a machine's node for a change of the ring. done hears what it said; of
// a node that ended meanwhile it is an error, like all else of which nothing is known.
func (w *World) operate(m *machine, what string, f changing, done func(error)) {
	node := m.up()
	w.note("operator at %s: %s", m.name(), what)
	w.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), operatorWaits)
		defer cancel()
		_, err := node.Change(ctx, f)
		w.loop.after(0, func() {
			w.observe() // the ring that it has made may be of no event: its node may be the only voter
			if err != nil {
				w.note("operator at %s: %s: %v", m.name(), what, err)
			}
			if done != nil {
				done(err)
			}
		})
	})
}

// anyUp draws a machine that takes requests, and is not one of some.
func (w *World) anyUp(draw uint64, but ...*machine) *machine {
	first := int(draw % uint64(len(w.machines)))
next:
	for i := range w.machines {
		m := w.machines[(first+i)%len(w.machines)]
		for _, other := range but {
			if m == other {
				continue next
			}
		}
		if m.up() != nil && !m.out {
			return m
		}
	}
	return nil
}

// anyOut returns a machine that has no part in the cluster.
func (w *World) anyOut() *machine {
	for _, m := range w.machines {
		if m.out {
			return m
		}
	}
	return nil
}

// member lets an operator change the members of the ring.
func (w *World) member(s Strike, m *machine) {
	at := w.anyUp(s.Draw, m)
	if at == nil || w.newest == nil {
		return
	}
	switch s.Fault {
	case Join:
		if spare := w.anyOut(); spare != nil {
			spare.enter()
		}
	case Decommission, Weigh:
		if !m.out && m.known != 0 {
			w.operate(at, w.drawn(s, m), w.drawnChange(s, m), nil)
		}
	case Remove:
		w.remove(s, m)
	case Succeed:
		w.succeed(s, m)
	case Abort:
		w.operate(at, "abort", ring.Abort, nil)
	case Replicate:
		w.replicate(s, at)
	case Commit:
		w.operate(at, "commit", plan(ring.Commit{}), nil)
	case MovePause:
		w.operate(at, "pause", func(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, true) }, nil)
		w.loop.after(s.Length+5*time.Second, w.resumeMoves)
	case Operators:
		w.operators(s, m, at)
	case KillPlanner:
		if !m.out && m.known != 0 {
			w.killPlanner(s, m, at)
		}
	case KillMover:
		w.hunts = append(w.hunts, &hunt{
			step: ring.Step(s.Draw % 3), to: s.Draw/3%2 == 0, until: time.Now().Add(time.Minute),
			act: func(m *machine) { w.takeDown(Strike{Fault: Kill, Length: s.Length, Draw: s.Draw}, m) },
		})
		w.hunted()
	}
}

// drawnChange is a change that concerns a machine.
func (w *World) drawnChange(s Strike, m *machine) changing {
	if s.Fault == Decommission {
		return plan(ring.Decommission{ID: m.known})
	}
	return plan(ring.Weight{ID: m.known, W: float64(1+s.Draw>>8%8) / 4})
}

func (w *World) drawn(s Strike, m *machine) string {
	if s.Fault == Decommission {
		return "decommission " + m.name()
	}
	return fmt.Sprintf("weight of %s %v", m.name(), float64(1+s.Draw>>8%8)/4)
}

// operators are two that plan at the same time.
func (w *World) operators(s Strike, m, at *machine) {
	other := w.anyUp(s.Draw>>16, m, at)
	if other == nil || m.out || m.known == 0 || at.known == 0 {
		return
	}
	one, two := s, s
	one.Fault, two.Fault = Decommission, Weigh
	if s.Draw>>20%2 == 0 {
		one.Fault = Weigh
	}
	if s.Draw>>21%2 == 0 {
		two.Fault = Decommission
	}
	w.operate(at, w.drawn(one, m), w.drawnChange(one, m), nil)
	w.operate(other, w.drawn(two, at), w.drawnChange(two, at), nil)
}

// killPlanner kills the node that plans, at one of the next changes of its disk.
func (w *World) killPlanner(s Strike, m, at *machine) {
	if w.down() >= w.c.MaxDown {
		return
	}
	w.takeDown(Strike{Fault: KillMidWrite, Length: s.Length, Draw: s.Draw % 12}, at)
	kind := s
	kind.Fault = []Fault{Decommission, Weigh}[s.Draw>>8%2]
	w.operate(at, w.drawn(kind, m), w.drawnChange(kind, m), nil)
}

// remove kills a machine for good, and has it declared dead.
func (w *World) remove(s Strike, m *machine) {
	if m.out || m.process == nil || w.down() >= w.c.MaxDown || w.voters() <= w.newest.N || !w.mayLose(m, true) || w.newest.Member(m.known) == nil {
		return
	}
	w.note("fault: %s is dead for good", m.name())
	m.kill()
	m.wanted, m.behind = false, true
	w.loop.after(s.Length, func() { w.declareDead(m, m.known, s.Draw) })
}

// declareDead asks again and again until the ring says that a node is dead, or that it
// must not be: then its machine comes back.
func (w *World) declareDead(m *machine, id ring.NodeID, draw uint64) {
	if w.ending || m.known != id || m.wanted {
		return
	}
	again := func() { w.loop.after(2*time.Second, func() { w.declareDead(m, id, draw+1) }) }
	at := w.anyUp(draw, m)
	if at == nil {
		again()
		return
	}
	refused := false
	w.operate(at, "remove "+m.name(), func(r *ring.Ring) (*ring.Ring, error) {
		next, err := plan(ring.Remove{ID: id})(r)
		refused = err != nil && r.Member(id) != nil && r.Member(id).State != ring.Removed
		return next, err
	}, func(error) {
		_, gone := w.newest.GoneAs(id)
		switch {
		case w.ending || m.known != id || m.wanted:
		case gone || w.removed(id):
			m.depart()
		case refused:
			m.start()
		default:
			again()
		}
	})
}

// succeed has a new machine take the places of another.
func (w *World) succeed(s Strike, m *machine) {
	heir := w.anyOut()
	if heir == nil || m.out || m.known == 0 {
		return
	}
	heir.enter()
	old, end := m.known, time.Now().Add(time.Minute)
	var look func()
	look = func() {
		at := w.anyUp(s.Draw, m)
		switch {
		case w.ending || time.Now().After(end):
		case heir.known == 0 || w.newest.Member(heir.known) == nil || at == nil:
			w.loop.after(time.Second, look)
		default:
			w.operate(at, fmt.Sprintf("replace %s by %s", m.name(), heir.name()), plan(ring.Replace{Old: old, New: heir.known}), nil)
		}
	}
	look()
}

// resumeMoves ends a pause, whatever it takes.
func (w *World) resumeMoves() {
	if w.newest == nil || !w.newest.Paused || w.ending {
		return
	}
	at := w.anyUp(w.rand.Uint64())
	if at == nil {
		w.loop.after(time.Second, w.resumeMoves)
		return
	}
	w.operate(at, "resume", unpaused, func(error) { w.loop.after(time.Second, w.resumeMoves) })
}

func unpaused(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, false) }

// resume ends what keeps members from being whole members.
func (w *World) resume() {
	if w.over || w.failed() {
		return
	}
	if at := w.anyUp(0); at != nil && w.newest.Paused {
		w.operate(at, "resume", unpaused, nil)
	} else if at != nil && w.rightly() != nil {
		w.operate(at, "commit", plan(ring.Commit{}), nil)
	} else if at != nil {
		for i := range w.newest.Members {
			if w.newest.Members[i].State == ring.Joining {
				w.operate(at, "commit", plan(ring.Commit{}), nil)
				break
			}
		}
	}
	w.loop.after(5*time.Second, func() {
		if !w.over && w.unrest() != "" {
			w.resume()
		}
	})
}
