package ring

import "slices"

// claim works out one table. Nodes are the members that are to hold partitions,
// numbered in order of ids; everything in it is indexed by these numbers.
//
// The rules about where replicas of one partition may be form a tree: at most
// one on a node, at most limit on the nodes of a rack, at most limit on those of
// a DC. Whatever obeys them can be completed to n replicas that do, and any
// shares that fit into Q times the limits can be dealt out, so no choice made on
// the way is a dead end for good.
type claim struct {
	q, n    int // partitions, and replicas of each
	perDC   bool
	members []Member
	nodes   []claimNode
	racks   []group
	dcs     []group
	sets    [][]int // per partition the nodes that hold it, the primary first
	was     [][]int // per partition the nodes that held it in the previous ring
	notes   []string
}

type claimNode struct {
	member   int // index in the ring's members
	weight   float64
	rack, dc int
	before   int     // replicas in the previous ring
	held     int     // replicas now
	ideal    float64 // replicas by weight alone
	share    float64 // replicas by weight within the limits
	target   int     // share as a whole number
	primary  int     // partitions it is first for
}

// group is a rack or a DC.
type group struct {
	name   string
	parent int   // the DC of a rack
	nodes  []int // its nodes
	limit  int   // replicas of one partition that may be in it
}

// missing returns how many replicas the node still is to get.
func (n *claimNode) missing() int { return n.target - n.held }

// newClaim begins the table of r's members with that of prev, which may be nil.
// Heirs are who is to get whose places.
func newClaim(r, prev *Ring, heirs []Replace) *claim {
	c := &claim{q: r.Q, members: r.Members, perDC: len(r.PerDC) > 0}
	for i := range r.Members {
		if m := &r.Members[i]; m.holds() && r.replicasIn(m.DC) > 0 {
			c.nodes = append(c.nodes, claimNode{member: i, weight: m.Weight})
		}
	}
	c.groupNodes()
	c.limitGroups(r)
	c.sets = make([][]int, c.q)
	c.was = make([][]int, c.q)
	room := make([]int, c.q*c.n)
	for p := range c.sets {
		c.sets[p] = room[p*c.n : p*c.n : (p+1)*c.n]
	}
	if prev != nil {
		c.countBefore(prev)
	}
	c.computeShares()
	if prev != nil {
		c.retain(prev, heirs)
	}
	return c
}

// groupNodes numbers racks and DCs in order of their nodes.
func (c *claim) groupNodes() {
	type rackName struct{ dc, rack string }
	dcs, racks := make(map[string]int), make(map[rackName]int)
	for i := range c.nodes {
		node := &c.nodes[i]
		m := &c.members[node.member]
		dc, found := dcs[m.DC]
		if !found {
			dc = len(c.dcs)
			dcs[m.DC] = dc
			c.dcs = append(c.dcs, group{name: "data centre " + m.DC})
		}
		name := rackName{m.DC, m.Rack}
		rack, found := racks[name]
		if !found {
			rack = len(c.racks)
			racks[name] = rack
			c.racks = append(c.racks, group{name: "rack " + m.DC + "/" + m.Rack, parent: dc})
		}
		node.rack, node.dc = rack, dc
		c.racks[rack].nodes = append(c.racks[rack].nodes, i)
		c.dcs[dc].nodes = append(c.dcs[dc].nodes, i)
	}
}

// limitGroups spreads the replicas of a partition as evenly as the nodes allow:
// over the DCs, unless each has its number, and those of a DC over its racks.
func (c *claim) limitGroups(r *Ring) {
	c.n = min(r.N, len(c.nodes))
	if c.perDC {
		c.n = 0
		for dc := range c.dcs {
			first := &c.members[c.nodes[c.dcs[dc].nodes[0]].member]
			c.dcs[dc].limit = min(r.replicasIn(first.DC), len(c.dcs[dc].nodes))
			c.n += c.dcs[dc].limit
		}
	} else {
		all := make([]int, len(c.dcs))
		for i := range all {
			all[i] = i
		}
		spread(c.dcs, all, c.n)
	}
	for dc := range c.dcs {
		var within []int
		for i := range c.racks {
			if c.racks[i].parent == dc {
				within = append(within, i)
			}
		}
		spread(c.racks, within, c.dcs[dc].limit)
	}
}

// spread gives some of the groups the lowest common limit at which they have
// room for n replicas of a partition.
func spread(groups []group, some []int, n int) {
	for common := 1; ; common++ {
		room := 0
		for _, i := range some {
			groups[i].limit = min(common, len(groups[i].nodes))
			room += groups[i].limit
		}
		if room >= n {
			return
		}
	}
}

// allowed reports whether in partition p node z may take the place of node x, or
// be added when x is negative.
func (c *claim) allowed(p, x, z int) bool {
	into := &c.nodes[z]
	inRack, inDC := 0, 0
	for _, y := range c.sets[p] {
		switch {
		case y == z:
			return false
		case y == x:
			continue
		case c.nodes[y].rack == into.rack:
			inRack++
			inDC++
		case c.nodes[y].dc == into.dc:
			inDC++
		}
	}
	return inRack < c.racks[into.rack].limit && inDC < c.dcs[into.dc].limit
}

// replace puts node z into the place of node x in partition p, or at the end
// when x is negative.
func (c *claim) replace(p, x, z int) {
	if x < 0 {
		c.sets[p] = append(c.sets[p], z)
	} else {
		c.sets[p][slices.Index(c.sets[p], x)] = z
		c.nodes[x].held--
	}
	c.nodes[z].held++
}

// run fills the table.
func (c *claim) run() {
	order := c.shuffled()
	c.fill(order)
	c.exchange(order)
	c.undo()
	c.choosePrimaries(order)
}

// shuffled returns the partitions in an order that has nothing to do with their
// numbers, so that what a node gets is spread over the whole ring.
func (c *claim) shuffled() []int {
	order := make([]int, c.q)
	for p := range order {
		order[p] = p
	}
	// mix is a bijection, so no two partitions compare equal.
	slices.SortFunc(order, func(a, b int) int {
		if mix(uint64(a)+1) < mix(uint64(b)+1) {
			return -1
		}
		return 1
	})
	return order
}

// layTable writes the table of r.
func (c *claim) layTable(r *Ring) {
	r.starts, r.table = make([]uint32, 1, c.q+1), make([]uint16, 0, c.q*c.n)
	for _, set := range c.sets {
		for _, node := range set {
			r.table = append(r.table, uint16(c.nodes[node].member))
		}
		r.starts = append(r.starts, uint32(len(r.table)))
	}
}
