package ring

import (
	"fmt"
	"slices"
)

// Plan is what a new ring means for the data.
type Plan struct {
	Epoch     Epoch      // of the ring that it was made from; AsOf takes it
	Transfers []Transfer // all that wait then, in order of partitions
	MinMoves  int        // replicas that nodes have to get for these shares; keeping replicas apart may take more
	PerNode   []Share    // of every member of the new ring
	Notes     []string   // constraints that cannot be met, and what overrides a weight
}

// Moves returns how many replicas travel. Those that only go are not among them.
func (p *Plan) Moves() (n int) {
	for _, t := range p.Transfers {
		if t.To != 0 {
			n++
		}
	}
	return n
}

// Share is what a member holds: replicas, and the part of all replicas that is.
type Share struct {
	ID        NodeID
	Weight    float64
	Ideal     float64 // replicas by weight alone
	Target    float64 // replicas by weight within what racks and DCs allow
	Before    int     // replicas in the previous ring
	After     int     // replicas when all transfers are done
	Primaries int     // partitions it is first for then

	BeforePart, AfterPart float64 // of one
}

// plan describes what has changed from prev to the claim's table in r.
func (c *claim) plan(r, prev *Ring) *Plan {
	plan := &Plan{Notes: c.notes, MinMoves: c.leastMoves(), PerNode: make([]Share, len(r.Members))}
	for i := range r.Members {
		plan.PerNode[i] = Share{ID: r.Members[i].ID, Weight: r.Members[i].Weight}
	}
	for i := range c.nodes {
		node := &c.nodes[i]
		s := &plan.PerNode[node.member]
		s.Ideal, s.Target = node.ideal, node.share
		s.After, s.Primaries = node.held, node.primary
		s.AfterPart = float64(s.After) / float64(c.q*c.n)
	}
	if prev != nil {
		plan.Epoch = prev.Epoch
		for i := range plan.PerNode {
			s := &plan.PerNode[i]
			s.Before = prev.holdings(s.ID)
			s.BeforePart = float64(s.Before) / float64(len(prev.table))
		}
	}
	c.noteMissing(r, plan)
	return plan
}

// noteMissing tells of replicas and racks that there are too few members for.
func (c *claim) noteMissing(r *Ring, plan *Plan) {
	note := func(format string, args ...any) { plan.Notes = append(plan.Notes, fmt.Sprintf(format, args...)) }
	if len(r.PerDC) == 0 {
		if c.n < r.N {
			note("%d replicas are asked for, and there are members for %d", r.N, c.n)
		}
		if racks := len(c.racks); racks > 1 && racks < c.n {
			note("%d racks for %d replicas: some replicas of a partition share a rack", racks, c.n)
		}
		return
	}
	for _, asked := range r.PerDC {
		dc := slices.IndexFunc(c.dcs, func(g group) bool { return g.name == "data centre "+asked.DC })
		has, racks := 0, 0
		if dc >= 0 {
			has = c.dcs[dc].limit
			for _, rack := range c.racks {
				if rack.parent == dc {
					racks++
				}
			}
		}
		if has < asked.N {
			note("data centre %s: %d replicas are asked for, and there are members for %d", asked.DC, asked.N, has)
		}
		if racks > 1 && racks < has {
			note("data centre %s: %d racks for %d replicas: some replicas of a partition share a rack", asked.DC, racks, has)
		}
	}
	for i := range r.Members {
		if m := &r.Members[i]; m.holds() && r.replicasIn(m.DC) == 0 {
			note("%s holds nothing: data centre %s gets no replicas", m.title(), m.DC)
		}
	}
}

// holdings returns how many replicas a node has.
func (r *Ring) holdings(id NodeID) (n int) {
	for _, holder := range r.ids {
		if holder == id {
			n++
		}
	}
	return n
}

// movesOf pairs the nodes that enter a partition with those that leave it.
func movesOf(r, prev *Ring) (moves []Transfer) {
	for p := range Partition(r.Q) {
		var before, leaving []NodeID
		if prev != nil {
			before = prev.Replicas(p)
		}
		now := r.Replicas(p)
		for _, id := range before {
			if !slices.Contains(now, id) {
				leaving = append(leaving, id)
			}
		}
		for _, id := range now {
			if slices.Contains(before, id) {
				continue
			}
			move := Transfer{Partition: p, To: id}
			if len(leaving) > 0 {
				move.From, leaving = leaving[0], leaving[1:]
			}
			moves = append(moves, move)
		}
	}
	return moves
}
