package transfer

import (
	"time"

	"kvstore/cluster/ring"
)

// kind is what becomes of a place of a partition.
type kind uint8

const (
	exchange kind = iota // To takes From's place
	addition             // To is one replica more
	removal              // From was one replica too many
	refill               // To takes the place of From, which is dead for good
)

func kindOf(r *ring.Ring, t ring.Transfer) kind {
	switch {
	case t.To == 0:
		return removal
	case t.From == 0:
		return addition
	}
	if isDead(r, t.From) {
		return refill
	}
	return exchange
}

// isDead reports whether a node was declared dead: it is asked for nothing any more.
func isDead(r *ring.Ring, id ring.NodeID) bool {
	m := r.Member(id)
	return m == nil || m.State == ring.Removed
}

// sight is all that a decision depends on.
type sight struct {
	ring *ring.Ring
	self ring.NodeID
	// away is for how long a node could not be reached, 0 when it can.
	away     func(ring.NodeID) time.Duration
	patience time.Duration
	window   int // transfers of this node that may be beyond Waiting
	// ready reports whether this node has done the work of a transfer's step.
	ready func(task) bool
	// clean reports whether this node holds nothing that the ring does not give it.
	clean func() bool
}

// task is a transfer at a step, and what it is: that changes when From is declared
// dead.
type task struct {
	ring.Transfer
	kind kind
}

// decision is what is to be done now.
type decision struct {
	steps   ring.Steps // of this node's own transfers
	retreat []ring.Partition
	retire  []ring.NodeID
	work    []task // what this node has to work on
}

// decide returns what a node has to do about the ring as it is.
func decide(s *sight) (d decision) {
	guard := s.guards()
	underWay := 0
	for i, t := range s.ring.Transfers {
		first := i == 0 || s.ring.Transfers[i-1].Partition != t.Partition
		switch driver := t.Driver(); {
		case t.Step == ring.Waiting || !first:
		case driver == s.self:
			underWay++
			d.own(s, t)
		case guard && t.Step == ring.Copying && kindOf(s.ring, t) != refill && s.away(driver) >= s.patience:
			d.retreat = append(d.retreat, t.Partition)
		}
	}
	// A batch is worth a change of the ring when there is room for half of one.
	if room := s.window - underWay; 2*room >= s.window && !s.ring.Paused {
		for _, t := range s.ring.Queue(s.self) {
			if room > 0 && s.possible(t) {
				d.steps.Begin = append(d.steps.Begin, t.Partition)
				room--
			}
		}
	}
	d.retire = s.retirees(guard)
	return d
}

// own decides about a transfer that this node drives and has begun.
func (d *decision) own(s *sight, t ring.Transfer) {
	what := task{t, kindOf(s.ring, t)}
	switch {
	case !s.ready(what):
		if !s.ring.Paused || t.Step == ring.Switched {
			d.work = append(d.work, what)
		}
	case what.kind == exchange && t.Step == ring.Copying:
		d.steps.Switch = append(d.steps.Switch, t.Partition)
	default:
		d.steps.Finish = append(d.steps.Finish, t.Partition)
	}
}

// possible reports whether those whom a transfer needs can be reached: one that is
// begun and cannot go on costs its partition an acknowledgement.
func (s *sight) possible(t ring.Transfer) bool {
	switch kindOf(s.ring, t) {
	case exchange:
		return s.away(t.From) == 0
	case removal, addition:
		for _, id := range s.ring.Replicas(t.Partition) {
			if id != s.self && s.away(id) > 0 && !isDead(s.ring, id) {
				return false
			}
		}
	case refill:
		// Any replicas will do, and the sooner the better.
	}
	return true
}

// guards reports whether this node looks after what belongs to others that are gone:
// the first voter that can be reached does. Two that both believe so do no harm.
func (s *sight) guards() bool {
	for _, id := range s.ring.Voters() {
		if id == s.self {
			return true
		}
		if s.away(id) == 0 && !isDead(s.ring, id) {
			return false
		}
	}
	return false
}

// retirees returns the members that are to leave the ring: this node, when it was told
// to leave and nothing is left here, and the dead that hold nothing any more.
func (s *sight) retirees(guard bool) (ids []ring.NodeID) {
	for i := range s.ring.Members {
		m := &s.ring.Members[i]
		leaves := m.State == ring.Leaving && m.ID == s.self || m.State == ring.Removed && guard
		if leaves && !named(s.ring, m.ID) && (m.ID != s.self || s.clean()) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// named reports whether the table or a transfer names a node.
func named(r *ring.Ring, id ring.NodeID) bool {
	for _, t := range r.Transfers {
		if t.From == id || t.To == id {
			return true
		}
	}
	for p := range r.Q {
		if r.Holds(ring.Partition(p), id) {
			return true
		}
	}
	return false
}

// Concerns reports whether a ring gives a partition to a node, as a replica or as one
// that is becoming one.
func Concerns(r *ring.Ring, p ring.Partition, id ring.NodeID) bool {
	if r.Holds(p, id) {
		return true
	}
	_, partner, ok := r.Partner(p)
	return ok && partner == id
}
