package ring

import (
	"cmp"
	"math"
	"slices"
)

// choosePrimaries puts one node of each set first, so that every node is first
// for its part of the Q partitions by weight, rounded up or down, as far as what
// the nodes hold allows. Who was first stays first where that is possible;
// changing it moves no data.
func (c *claim) choosePrimaries(order []int) {
	shares := c.primaryShares()
	for p := range c.sets {
		c.nodes[c.sets[p][0]].primary++
	}
	excess := func(i int) float64 { return float64(c.nodes[i].primary) - shares[i] }
	for _, p := range order {
		set := c.sets[p]
		least := slices.MinFunc(set, func(a, b int) int { return cmp.Compare(excess(a), excess(b)) })
		if excess(set[0]) >= 1 && excess(least) < 0 {
			c.makePrimary(p, least)
		}
	}
	// The rounding up first, so that the second pass finds nobody above it.
	c.shiftPrimaries(
		func(x int) bool { return excess(x) >= 1 },
		func(z int) bool { return excess(z) < 0 })
	c.shiftPrimaries(
		func(x int) bool { return excess(x) > 0 },
		func(z int) bool { return excess(z) <= -1 })
}

// primaryShares divides the partitions by weight among the nodes, none of which
// can be first for more than it holds.
func (c *claim) primaryShares() []float64 {
	shares := make([]float64, len(c.nodes))
	full := make([]bool, len(c.nodes))
	for {
		left, weights := float64(c.q), 0.0
		for i := range c.nodes {
			if full[i] {
				left -= shares[i]
			} else {
				weights += c.nodes[i].weight
			}
		}
		settled := true
		for i := range c.nodes {
			if full[i] {
				continue
			}
			shares[i] = left * c.nodes[i].weight / weights
			if held := float64(c.nodes[i].held); shares[i] > held {
				shares[i], full[i], settled = held, true, false
			}
		}
		if settled {
			// Sums of floats miss whole numbers by a hair.
			for i, share := range shares {
				if whole := math.Round(share); math.Abs(share-whole) < 1e-6 {
					shares[i] = whole
				}
			}
			return shares
		}
	}
}

// makePrimary exchanges the first of a set for another of it.
func (c *claim) makePrimary(p, z int) {
	set := c.sets[p]
	at := slices.Index(set, z)
	c.nodes[set[0]].primary--
	c.nodes[z].primary++
	set[0], set[at] = set[at], set[0]
}

// shiftPrimaries hands primaries along paths from nodes with too many to nodes
// with too few, until no path is left.
func (c *claim) shiftPrimaries(tooMany, tooFew func(int) bool) {
	for range c.q {
		hops := c.findPrimaryPath(tooMany, tooFew)
		if hops == nil {
			return
		}
		for _, h := range slices.Backward(hops) {
			c.makePrimary(h.p, h.to)
		}
	}
}

// findPrimaryPath returns the shortest chain of partitions whose primary may be
// handed from a node with too many to one with too few, nil when there is none.
// A partition is in it at most once, because it has one primary.
func (c *claim) findPrimaryPath(tooMany, tooFew func(int) bool) []hop {
	first := make([][]int, len(c.nodes))
	for p, set := range c.sets {
		first[set[0]] = append(first[set[0]], p)
	}
	by := make([]hop, len(c.nodes))
	reached := make([]bool, len(c.nodes))
	var starts []int
	for x := range c.nodes {
		if tooMany(x) {
			starts = append(starts, x)
			reached[x] = true
		}
	}
	for queue := slices.Clone(starts); len(queue) > 0; queue = queue[1:] {
		x := queue[0]
		for _, p := range first[x] {
			for _, z := range c.sets[p][1:] {
				if reached[z] {
					continue
				}
				reached[z] = true
				by[z] = hop{p, x, z}
				if tooFew(z) {
					return traceBack(by, starts, z)
				}
				queue = append(queue, z)
			}
		}
	}
	return nil
}
