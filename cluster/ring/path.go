package ring

import "slices"

// hop is one step of a path: node from hands partition p to node to.
type hop struct{ p, from, to int }

// anyReplica and misses are the usual conditions of a path: whatever a node
// holds may be handed on, and a node that misses a replica ends it.
func (c *claim) anyReplica(p, x, z int) bool { return true }
func (c *claim) misses(z int) bool           { return c.nodes[z].missing() > 0 }

// free is the condition that a hop adds no move to those there are: what x hands
// on moves anyway, or z had it before.
func (c *claim) free(p, x, z int) bool { return !c.had(p, x) || c.had(p, z) }

// findPath returns the shortest chain of hops from one of the starts to a node
// that is a goal, nil when there is none. Node x hands on partition p to z only if
// may(p, x, z).
func (c *claim) findPath(starts []int, may func(p, x, z int) bool, goal func(int) bool) []hop {
	if len(starts) == 0 {
		return nil
	}
	holds := make([][]int, len(c.nodes))
	for p, set := range c.sets {
		for _, x := range set {
			holds[x] = append(holds[x], p)
		}
	}
	s := c.newSearch(starts)
	for queue := slices.Clone(starts); len(queue) > 0; queue = queue[1:] {
		x := queue[0]
		for _, p := range holds[x] {
			from := len(queue)
			queue = s.reach(queue, p, x, may)
			if at := slices.IndexFunc(queue[from:], goal); at >= 0 {
				return traceBack(s.by, starts, queue[from+at])
			}
		}
	}
	return nil
}

// search is what a breadth-first search knows of the nodes.
type search struct {
	*claim
	by      []hop   // how each node was reached
	apart   [][]int // the nodes of each rack that were not reached yet
	inRack  []int   // replicas of the partition looked at
	inDC    []int
	waiting int // nodes that were not reached yet
}

func (c *claim) newSearch(starts []int) *search {
	s := &search{
		claim: c, by: make([]hop, len(c.nodes)), waiting: len(c.nodes) - len(starts),
		apart: make([][]int, len(c.racks)), inRack: make([]int, len(c.racks)), inDC: make([]int, len(c.dcs)),
	}
	begun := make([]bool, len(c.nodes))
	for _, x := range starts {
		begun[x] = true
	}
	for z := range c.nodes {
		if rack := c.nodes[z].rack; !begun[z] {
			s.apart[rack] = append(s.apart[rack], z)
		}
	}
	return s
}

// reach appends to queue the nodes not reached yet that node x may hand partition
// p to. It asks what allowed does, of all nodes at once.
func (s *search) reach(queue []int, p, x int, may func(p, x, z int) bool) []int {
	if s.waiting == 0 {
		return queue
	}
	count := func(by int) {
		for _, y := range s.sets[p] {
			if y != x {
				s.inRack[s.nodes[y].rack] += by
				s.inDC[s.nodes[y].dc] += by
			}
		}
	}
	count(1)
	for rack, apart := range s.apart {
		if len(apart) == 0 || s.inRack[rack] >= s.racks[rack].limit || s.inDC[s.racks[rack].parent] >= s.dcs[s.racks[rack].parent].limit {
			continue
		}
		s.apart[rack] = slices.DeleteFunc(apart, func(z int) bool {
			if slices.Contains(s.sets[p], z) || !may(p, x, z) {
				return false
			}
			s.by[z] = hop{p, x, z}
			queue = append(queue, z)
			s.waiting--
			return true
		})
	}
	count(-1)
	return queue
}

// traceBack returns the hops from a start to z.
func traceBack(by []hop, starts []int, z int) []hop {
	var hops []hop
	for !slices.Contains(starts, z) {
		hops = append(hops, by[z])
		z = by[z].from
	}
	slices.Reverse(hops)
	return hops
}

// follow makes the hops of a path, the last first, and reports whether it made
// any. A hop that an earlier one has made impossible ends it.
func (c *claim) follow(hops []hop) bool {
	for i, h := range slices.Backward(hops) {
		if !slices.Contains(c.sets[h.p], h.from) || !c.allowed(h.p, h.from, h.to) {
			return i < len(hops)-1
		}
		c.replace(h.p, h.from, h.to)
	}
	return true
}

// undo takes back moves that turned out to be needless: a partition returns from
// a node that is new to it to one that had it before, if what the first then
// lacks reaches it from the second along hops that add no move. Choosing moves
// one by one makes few of these, mostly where limits are tight.
func (c *claim) undo() {
	// Every try costs a search; this many are far more than a change of members
	// needs, and bound a change of all racks at once.
	tries := 1024
	needless := c.moves() - c.leastMoves()
	for p := range c.sets {
		for _, x := range c.was[p] {
			if tries <= 0 || needless <= 0 {
				return
			}
			tried, done := c.undoIn(p, x)
			tries -= tried
			if done {
				needless = c.moves() - c.leastMoves()
			}
		}
	}
}

// undoIn tries to give p back to x from each node that is new to it, until it
// succeeds, and returns how often it tried and whether it did.
func (c *claim) undoIn(p, x int) (tries int, done bool) {
	for _, z := range slices.Clone(c.sets[p]) {
		if c.had(p, z) || !c.allowed(p, z, x) {
			continue
		}
		tries++
		if c.returns(p, z, x) {
			return tries, true
		}
	}
	return tries, false
}

// returns tries to give p back from z to x, and reports whether it did.
func (c *claim) returns(p, z, x int) bool {
	c.replace(p, z, x)
	hops := c.findPath([]int{x}, c.free, func(y int) bool { return y == z })
	if hops != nil && c.canFollow(hops) {
		c.follow(hops)
		return true
	}
	c.replace(p, x, z)
	return false
}

// canFollow reports whether the hops are in different partitions, so that none
// gets in the way of another.
func (c *claim) canFollow(hops []hop) bool {
	for i, h := range hops {
		if slices.ContainsFunc(hops[:i], func(other hop) bool { return other.p == h.p }) {
			return false
		}
	}
	return true
}

// had reports whether node x held p in the previous ring.
func (c *claim) had(p, x int) bool { return slices.Contains(c.was[p], x) }

// moves returns how many replicas are where they were not before.
func (c *claim) moves() (n int) {
	for p, set := range c.sets {
		for _, x := range set {
			if !c.had(p, x) {
				n++
			}
		}
	}
	return n
}

// leastMoves returns how many replicas must move for the shares alone.
func (c *claim) leastMoves() (n int) {
	for i := range c.nodes {
		n += max(c.nodes[i].held-c.nodes[i].before, 0)
	}
	return n
}
