package ring

import (
	"cmp"
	"fmt"
	"slices"
)

// Join returns the ring that has m too: as Active, with its transfers planned, or,
// unless auto, as Joining, which waits for Commit. A member that the ring has
// already changes nothing: the ring returned is r.
func Join(r *Ring, m Member, auto bool) (*Ring, error) {
	if known := r.Member(m.ID); known != nil {
		if known.State == Removed {
			return nil, fmt.Errorf("%s was removed from the cluster as dead, and its places are being refilled; start it with an empty data directory", known.title())
		}
		return r, nil
	}
	if g, gone := r.GoneAs(m.ID); gone {
		return nil, g.refusal()
	}
	for i := range r.Members {
		if other := &r.Members[i]; other.Name == m.Name && other.State != Removed {
			return nil, fmt.Errorf("the ring has a node named %q already; set node.name", m.Name)
		}
	}
	if len(r.Members) == MaxMembers {
		return nil, fmt.Errorf("the ring has %d members, which is the most", MaxMembers)
	}
	d := r.draft()
	d.Planned = d.Epoch
	m.State = Joining
	at, _ := r.Index(m.ID)
	d.Members = slices.Insert(d.Members, at, m)
	if !auto {
		return d.seal()
	}
	d.Members[at].State = Active
	if _, err := d.plan(r, nil); err != nil {
		return nil, err
	}
	return d.seal()
}

// GoneAs returns what the ring remembers of a former member.
func (r *Ring) GoneAs(id NodeID) (g Gone, found bool) {
	at := slices.IndexFunc(r.Gone, func(g Gone) bool { return g.ID == id })
	if at < 0 {
		return Gone{}, false
	}
	return r.Gone[at], true
}

// refusal says why a former member is not let in.
func (g Gone) refusal() error {
	how := "has left the cluster"
	if g.Removed {
		how = "was removed from the cluster as dead"
	}
	return fmt.Errorf("%s %s; start it with an empty data directory to join as a new node", cmp.Or(g.Name, "node "+g.ID.String()), how)
}

// Refusal returns why a node may have no part in the cluster, in one line, or nil
// if it is a member that is not removed.
func (r *Ring) Refusal(id NodeID, name string) error {
	m := r.Member(id)
	if m != nil && m.State != Removed {
		return nil
	}
	if m != nil {
		return Gone{ID: id, Name: m.Name, Removed: true}.refusal()
	}
	if g, gone := r.GoneAs(id); gone {
		return g.refusal()
	}
	return fmt.Errorf("%s is no member of the cluster; it has to join first", cmp.Or(name, "node "+id.String()))
}

// CheckPartitions returns why a node that is configured for so many partitions
// cannot join, nil if it can. Zero is whatever the cluster has.
func (r *Ring) CheckPartitions(q int) error {
	if q == 0 || q == r.Q {
		return nil
	}
	return fmt.Errorf("the cluster has %d partitions and the node is configured for %d; their number never changes: set it to %d", r.Q, q, r.Q)
}

// Retire returns the ring without a Leaving or Removed member that holds nothing.
// It is remembered in Gone.
func Retire(r *Ring, id NodeID) (*Ring, error) {
	m := r.Member(id)
	switch {
	case m == nil:
		return nil, fmt.Errorf("%w: node %v is no member", ErrStale, id)
	case m.State != Leaving && m.State != Removed:
		return nil, fmt.Errorf("%w: %s is %v", ErrStale, m.title(), m.State)
	}
	if n := r.holdings(id); n > 0 {
		return nil, fmt.Errorf("%w: %s holds %d replicas still", ErrStale, m.title(), n)
	}
	for _, t := range r.Transfers {
		if t.From == id || t.To == id {
			return nil, fmt.Errorf("%w: %s has a part in the transfer of partition %d", ErrStale, m.title(), t.Partition)
		}
	}
	d := r.draft()
	d.retire(id)
	return d.seal()
}

// Incarnate returns the ring in which a member has a new incarnation, and the
// addresses, data centre and rack of now. Where it is matters at the next plan.
func Incarnate(r *Ring, id NodeID, incarnation uint64, now Member) (*Ring, error) {
	at, found := r.Index(id)
	if !found || r.Members[at].State == Removed {
		return nil, r.Refusal(id, now.Name)
	}
	d := r.draft()
	m := &d.Members[at]
	m.Incarnation = incarnation
	m.RPC, m.Gossip, m.Client, m.DC, m.Rack = now.RPC, now.Gossip, now.Client, now.DC, now.Rack
	if d.equal(r) {
		return r, nil
	}
	if m.DC != r.Members[at].DC || m.Rack != r.Members[at].Rack {
		d.Planned = d.Epoch
	}
	return d.seal()
}

// Pause returns the ring in which no transfer begins, or in which they begin
// again. What is under way goes on.
func Pause(r *Ring, paused bool) (*Ring, error) {
	if r.Paused == paused {
		return r, nil
	}
	d := r.draft()
	d.Paused = paused
	return d.seal()
}

// Abort returns the ring in which what is planned is given up: transfers that wait
// are dropped, those that copy are taken back, those that are Switched end as they
// would. Members that were to get their first replica are Joining again, and
// Leaving members that hold something Active. What refills the places of removed
// members goes on.
func Abort(r *Ring) (*Ring, error) {
	d := r.draft()
	var targets []NodeID
	d.Transfers = slices.DeleteFunc(d.Transfers, func(t Transfer) bool {
		if t.Step == Switched || d.fills(t) {
			return false
		}
		targets = append(targets, t.To)
		return true
	})
	lists := d.settled()
	holds := make(map[NodeID]bool)
	for p := range lists {
		for _, list := range [2][]NodeID{lists[p], d.lists[p]} {
			for _, id := range list {
				holds[id] = true
			}
		}
	}
	for i := range d.Members {
		switch m := &d.Members[i]; {
		case m.State == Active && !holds[m.ID] && slices.Contains(targets, m.ID):
			m.State = Joining
		case m.State == Leaving && holds[m.ID]:
			m.State = Active
		}
	}
	if d.equal(r) {
		return r, nil
	}
	d.Planned = d.Epoch
	return d.seal()
}

// Recover returns the first ring of a new generation, for the day on which the
// majority of the voters is gone for good: everybody but the survivors is removed,
// and what they held is refilled from the survivors. Partitions that no survivor
// holds begin empty; the plan's notes count them.
func Recover(r *Ring, survivors []NodeID) (*Ring, *Plan, error) {
	var changes []Change
	for _, id := range r.Voters() {
		if !slices.Contains(survivors, id) {
			changes = append(changes, Remove{ID: id, Lose: true})
		}
	}
	d := r.draft()
	plan, err := d.replan(r, changes)
	if err != nil {
		return nil, nil, err
	}
	d.Generation++
	d.Prev = nil
	next, err := d.seal()
	return next, plan, err
}
