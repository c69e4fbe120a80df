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

// HasLeft is how Refusal says that a member has handed over what it held.
const HasLeft = "has left the cluster"

// refusal says why a former member is not let in.
func (g Gone) refusal() error {
	how := HasLeft
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
