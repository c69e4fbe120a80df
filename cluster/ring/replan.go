package ring

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Replan returns the ring in which the changes are made and the transfers to the
// table that is best then are listed, and the plan of them. Transfers under way
// are kept and taken as done; those that wait are planned anew. If nothing
// changes, the ring returned is r.
func Replan(r *Ring, changes ...Change) (*Ring, *Plan, error) {
	d := r.draft()
	plan, err := d.replan(r, changes)
	if err != nil {
		return nil, nil, err
	}
	if d.equal(r) {
		return r, plan, nil
	}
	d.Planned = d.Epoch
	next, err := d.seal()
	return next, plan, err
}

// replan makes the changes and plans by them.
func (d *draft) replan(r *Ring, changes []Change) (*Plan, error) {
	for _, c := range changes {
		if err := c.apply(d); err != nil {
			return nil, err
		}
	}
	for _, check := range d.checks {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return d.plan(r, d.heirs)
}

// plan replaces the transfers that wait by those that lead to the best table.
func (d *draft) plan(r *Ring, heirs []Replace) (*Plan, error) {
	d.Transfers = slices.DeleteFunc(d.Transfers, func(t Transfer) bool { return t.Step == Waiting })
	// What the table will be if nothing more is planned is what the claim starts from.
	base := &Ring{Q: d.Q, Members: d.Members}
	base.layLists(d.settled())
	c := newClaim(d.Ring, base, heirs)
	if len(c.nodes) == 0 {
		return nil, errors.New("no member could hold partitions: all are leaving, removed or joining, weigh nothing, or are in data centres that get no replicas; commit, join or weigh one first")
	}
	c.run()
	plan := c.plan(d.Ring, r)
	if lost := d.onlyWith(0); len(lost) > 0 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("no living member has everything of %s: what is left of it is all there will be", partitions(lost)))
	}
	kept := d.Transfers
	d.Transfers = nil
	for p := range d.lists {
		for len(kept) > 0 && int(kept[0].Partition) == p {
			d.Transfers = append(d.Transfers, kept[0])
			kept = kept[1:]
		}
		planned := d.transfersOf(Partition(p), base.idsOf(p), c.idsOf(p))
		d.Transfers = append(d.Transfers, planned...)
		plan.Transfers = append(plan.Transfers, planned...)
	}
	return plan, nil
}

// idsOf returns a list of a ring that has no ids yet.
func (r *Ring) idsOf(p int) []NodeID {
	var ids []NodeID
	for _, m := range r.table[r.starts[p]:r.starts[p+1]] {
		ids = append(ids, r.Members[m].ID)
	}
	return ids
}

// idsOf returns the nodes that hold p in the claim.
func (c *claim) idsOf(p int) []NodeID {
	ids := make([]NodeID, len(c.sets[p]))
	for i, x := range c.sets[p] {
		ids[i] = c.members[c.nodes[x].member].ID
	}
	return ids
}

// transfersOf returns the transfers that lead from one list of p to another, in the
// order in which they are to happen: places of removed members first, then
// replicas more, then moves, then replicas fewer. A removed member whose place
// nobody takes is out of the list at once, for there is nothing to hand over.
func (d *draft) transfersOf(p Partition, now, then []NodeID) []Transfer {
	missing := func(list []NodeID) func(NodeID) bool {
		return func(id NodeID) bool { return slices.Contains(list, id) }
	}
	leaving := slices.DeleteFunc(slices.Clone(now), missing(then))
	entering := slices.DeleteFunc(slices.Clone(then), missing(now))
	slices.SortStableFunc(leaving, func(a, b NodeID) int { return -compareBools(d.removed(a), d.removed(b)) })
	var transfers []Transfer
	for _, from := range leaving {
		if len(entering) > 0 {
			at := d.nearest(from, entering)
			transfers = append(transfers, Transfer{Partition: p, From: from, To: entering[at]})
			entering = slices.Delete(entering, at, at+1)
		} else if d.removed(from) {
			d.drop(p, from)
		} else {
			transfers = append(transfers, Transfer{Partition: p, From: from})
		}
	}
	for _, to := range entering {
		transfers = append(transfers, Transfer{Partition: p, To: to})
	}
	slices.SortStableFunc(transfers, func(a, b Transfer) int { return cmp.Compare(d.turn(a), d.turn(b)) })
	return transfers
}

// turn orders the transfers of one partition.
func (d *draft) turn(t Transfer) int {
	switch {
	case d.fills(t):
		return 0
	case t.From == 0:
		return 1
	case t.To != 0:
		return 2
	}
	return 3
}

// nearest returns which of some nodes is best to take a node's place: one of its
// rack, or else of its data centre, so that replicas stay apart on the way.
func (d *draft) nearest(id NodeID, nodes []NodeID) int {
	from, best, bestNear := d.Member(id), 0, -1
	for i, other := range nodes {
		near, m := 0, d.Member(other)
		if m.DC == from.DC {
			near = 1
			if m.Rack == from.Rack {
				near = 2
			}
		}
		if near > bestNear {
			best, bestNear = i, near
		}
	}
	return best
}

// settlePrimaries puts a node first in each list so that primaries are divided by
// weight. It moves nothing, and happens when no transfer is left: until then a
// node that takes another's place is first where that one was.
func (d *draft) settlePrimaries() {
	weights := 0.0
	c := &claim{q: d.Q, members: d.Members}
	number := make(map[NodeID]int)
	for i := range d.Members {
		number[d.Members[i].ID] = len(c.nodes)
		c.nodes = append(c.nodes, claimNode{member: i, weight: d.Members[i].Weight})
	}
	c.sets = make([][]int, c.q)
	for p, list := range d.lists {
		for _, id := range list {
			c.sets[p] = append(c.sets[p], number[id])
			c.nodes[number[id]].held++
		}
	}
	for i := range c.nodes {
		if c.nodes[i].held > 0 {
			weights += c.nodes[i].weight
		}
	}
	if weights == 0 {
		return
	}
	c.choosePrimaries(c.shuffled())
	for p := range d.lists {
		d.lists[p] = c.idsOf(p)
	}
}
