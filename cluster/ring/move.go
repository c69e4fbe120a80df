package ring

import (
	"cmp"
	"slices"
)

// countBefore counts what each node held in the previous ring.
func (c *claim) countBefore(prev *Ring) {
	number := c.numbers(prev)
	for _, m := range prev.table {
		if i := number[m]; i >= 0 {
			c.nodes[i].before++
		}
	}
}

// numbers returns the node of each member of the previous ring, -1 for those
// that hold nothing any more.
func (c *claim) numbers(prev *Ring) []int {
	of := make(map[NodeID]int, len(c.nodes))
	for i := range c.nodes {
		of[c.members[c.nodes[i].member].ID] = i
	}
	number := make([]int, len(prev.Members))
	for m := range prev.Members {
		node, found := of[prev.Members[m].ID]
		if !found {
			node = -1
		}
		number[m] = node
	}
	return number
}

// retain starts from the previous table, without the nodes that are gone and
// without replicas that are too many or too close together now. What heirs are to
// get goes to them here.
func (c *claim) retain(prev *Ring, heirs []Replace) {
	number := c.numbers(prev)
	room := make([]int, 0, MaxReplicas)
	for i := range c.nodes {
		c.nodes[i].held = c.nodes[i].before
	}
	for p := range c.sets {
		set := room[:0]
		for _, m := range prev.ReplicaIndexes(Partition(p)) {
			if i := number[m]; i >= 0 {
				set = append(set, i)
			}
		}
		c.was[p] = slices.Clone(set)
		for {
			crowd := c.crowded(set)
			if crowd == nil {
				break
			}
			worst := slices.MinFunc(crowd, func(a, b int) int {
				return cmp.Or(
					cmp.Compare(c.nodes[a].missing(), c.nodes[b].missing()),
					cmp.Compare(c.tie(p, a), c.tie(p, b)),
				)
			})
			c.nodes[worst].held--
			set = slices.Delete(set, slices.Index(set, worst), slices.Index(set, worst)+1)
		}
		c.sets[p] = append(c.sets[p], set...)
	}
	for _, h := range heirs {
		c.inherit(prev, h)
	}
}

// inherit gives the places of a node that holds nothing any more to its heir, as
// long as the heir misses some.
func (c *claim) inherit(prev *Ring, h Replace) {
	heir := slices.IndexFunc(c.nodes, func(n claimNode) bool { return c.members[n.member].ID == h.New })
	old := slices.IndexFunc(prev.Members, func(m Member) bool { return m.ID == h.Old })
	if heir < 0 || old < 0 {
		return
	}
	for p, set := range c.sets {
		held := slices.Contains(prev.ReplicaIndexes(Partition(p)), uint16(old))
		if held && len(set) < c.n && c.misses(heir) && c.allowed(p, -1, heir) {
			c.replace(p, -1, heir)
		}
	}
}

// crowded returns nodes of a set of which one must go, nil when all may stay.
func (c *claim) crowded(set []int) []int {
	for _, x := range set {
		sameRack := func(y int) bool { return c.nodes[y].rack == c.nodes[x].rack }
		if crowd := selectNodes(set, sameRack); len(crowd) > c.racks[c.nodes[x].rack].limit {
			return crowd
		}
	}
	for _, x := range set {
		sameDC := func(y int) bool { return c.nodes[y].dc == c.nodes[x].dc }
		if crowd := selectNodes(set, sameDC); len(crowd) > c.dcs[c.nodes[x].dc].limit {
			return crowd
		}
	}
	if len(set) > c.n {
		return set
	}
	return nil
}

func selectNodes(set []int, keep func(int) bool) []int {
	var kept []int
	for _, x := range set {
		if keep(x) {
			kept = append(kept, x)
		}
	}
	return kept
}

// tie orders nodes that are equal for partition p, differently in each.
func (c *claim) tie(p, node int) uint64 {
	return hashPair(uint64(p), uint64(c.members[c.nodes[node].member].ID))
}

// fill gives every partition its n replicas.
func (c *claim) fill(order []int) {
	open := 0
	for p := range c.sets {
		if len(c.sets[p]) < c.n {
			open++
		}
	}
	for _, p := range order {
		if len(c.sets[p]) == c.n {
			continue
		}
		for len(c.sets[p]) < c.n {
			z := c.neediest(p, -1, open)
			if z < 0 {
				break
			}
			c.replace(p, -1, z)
		}
		open--
	}
	for _, p := range order {
		for len(c.sets[p]) < c.n {
			c.fillByPath(p)
		}
	}
}

// neediest returns the node that is missing most for its target among those that
// may take the place of x in p, -1 when none that misses anything may. A node that
// must be in every one of the open partitions to reach its target comes first.
func (c *claim) neediest(p, x, open int) int {
	best, bestMust, bestNeed, bestTie := -1, false, 0.0, uint64(0)
	for z := range c.nodes {
		node := &c.nodes[z]
		missing := node.missing()
		if missing <= 0 {
			continue
		}
		must, need := missing >= open, float64(missing)/float64(node.target)
		if best >= 0 && (bestMust && !must || bestMust == must && bestNeed > need) || !c.allowed(p, x, z) {
			continue
		}
		tie := c.tie(p, z)
		if best >= 0 && bestMust == must && bestNeed == need && bestTie <= tie {
			continue
		}
		best, bestMust, bestNeed, bestTie = z, must, need, tie
	}
	return best
}

// fillByPath adds a replica to p when no node that misses one may hold p: a node
// that may takes p and hands another partition on, until one that misses gets it.
func (c *claim) fillByPath(p int) {
	start := -1
	hops := c.findPath(c.candidates(p), c.anyReplica, c.misses)
	if hops != nil && c.follow(hops) {
		start = hops[0].from
	}
	// A path that led through p itself may have taken the place.
	if start < 0 || !c.allowed(p, -1, start) {
		start = slices.MinFunc(c.candidates(p), func(a, b int) int {
			return cmp.Or(-cmp.Compare(c.nodes[a].missing(), c.nodes[b].missing()), cmp.Compare(c.tie(p, a), c.tie(p, b)))
		})
	}
	c.replace(p, -1, start)
}

// candidates returns the nodes that may be added to p. While p has fewer than n
// replicas there always is one.
func (c *claim) candidates(p int) []int {
	var nodes []int
	for z := range c.nodes {
		if c.allowed(p, -1, z) {
			nodes = append(nodes, z)
		}
	}
	return nodes
}

// exchange moves replicas from nodes that hold more than their target to nodes
// that hold less: first at most one of a partition, then where it must be more,
// and last along paths.
func (c *claim) exchange(order []int) {
	for _, atMost := range []int{1, c.n} {
		for _, p := range order {
			c.exchangeIn(p, atMost)
		}
	}
	// Each path brings the shares nearer to the targets by one, so this bound is
	// reached only if paths interfere with themselves.
	for range c.q * c.n {
		var starts []int
		for x := range c.nodes {
			if c.nodes[x].missing() < 0 {
				starts = append(starts, x)
			}
		}
		hops := c.findPath(starts, c.anyReplica, c.misses)
		if hops == nil || !c.follow(hops) {
			return
		}
	}
}

// exchangeIn makes at most that many direct exchanges in one partition.
func (c *claim) exchangeIn(p, atMost int) {
	for i := 0; i < len(c.sets[p]) && atMost > 0; i++ {
		x := c.sets[p][i]
		if c.nodes[x].missing() >= 0 {
			continue
		}
		if z := c.neediest(p, x, c.q+1); z >= 0 {
			c.replace(p, x, z)
			atMost--
		}
	}
}
