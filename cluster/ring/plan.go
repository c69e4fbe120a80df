package ring

import (
	"fmt"
	"slices"
)

// Plan is what a new ring means for the data.
type Plan struct {
	Moves    []Move  // replicas that nodes get, in order of partitions
	MinMoves int     // how many reaching the same shares takes at least
	Shares   []Share // of every member of the new ring
	Notes    []string
}

// Move is one replica that travels.
type Move struct {
	Partition Partition
	From      NodeID // who gives it up, zero when the partition gets one more
	To        NodeID
}

// Share is what a member holds.
type Share struct {
	ID        NodeID
	Weight    float64
	Ideal     float64 // replicas by weight alone
	Target    float64 // replicas by weight within what racks and DCs allow
	Before    int     // replicas in the previous ring
	Replicas  int     // replicas in the new ring
	Primaries int     // partitions it is first for
}

// plan describes what has changed from prev to r.
func (c *claim) plan(r, prev *Ring) *Plan {
	plan := &Plan{Notes: c.notes, MinMoves: c.leastMoves(), Shares: make([]Share, len(r.Members))}
	for i := range r.Members {
		plan.Shares[i] = Share{ID: r.Members[i].ID, Weight: r.Members[i].Weight}
	}
	for i := range c.nodes {
		node := &c.nodes[i]
		s := &plan.Shares[node.member]
		s.Ideal, s.Target, s.Before = node.ideal, node.share, node.before
		s.Replicas, s.Primaries = node.held, node.primary
	}
	if prev != nil {
		for i := range plan.Shares {
			plan.Shares[i].Before = prev.holdings(plan.Shares[i].ID)
		}
	}
	if c.n < r.N {
		plan.Notes = append(plan.Notes, fmt.Sprintf("%d replicas are asked for, and there are members for %d", r.N, c.n))
	}
	if racks := len(c.racks); racks > 1 && racks < c.n {
		plan.Notes = append(plan.Notes, fmt.Sprintf("%d racks for %d replicas: some replicas of a partition share a rack", racks, c.n))
	}
	for p := range Partition(r.Q) {
		plan.Moves = appendMoves(plan.Moves, p, r, prev)
	}
	return plan
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

// appendMoves pairs the nodes that enter a partition with those that leave it.
func appendMoves(moves []Move, p Partition, r, prev *Ring) []Move {
	var before []NodeID
	if prev != nil {
		before = prev.Replicas(p)
	}
	now := r.Replicas(p)
	var leaving []NodeID
	for _, id := range before {
		if !slices.Contains(now, id) {
			leaving = append(leaving, id)
		}
	}
	for _, id := range now {
		if slices.Contains(before, id) {
			continue
		}
		move := Move{Partition: p, To: id}
		if len(leaving) > 0 {
			move.From, leaving = leaving[0], leaving[1:]
		}
		moves = append(moves, move)
	}
	return moves
}
