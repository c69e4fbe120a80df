package ring

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// computeShares works out how many replicas each node is to hold.
//
// Water rises at a rate of one weight in all nodes at once until Q×n replicas
// are poured. A node, a rack or a DC that is full, at Q times its limit, rises no
// further, and the rest goes to the others. That is the fairest division within
// the limits: nobody can get more but from someone who has less for its weight.
func (c *claim) computeShares() {
	total := float64(c.q * c.n)
	c.computeIdeals()
	vessels := c.vessels()
	full := make([]bool, len(c.nodes))
	for left := total; left > 1e-6; {
		rise, filled := c.nextFull(vessels, full, left)
		for i := range c.nodes {
			if !full[i] {
				c.nodes[i].share += rise * c.nodes[i].weight
				left -= rise * c.nodes[i].weight
			}
		}
		if filled == nil {
			break
		}
		for _, i := range filled.nodes {
			full[i] = true
		}
		c.noteFull(filled)
	}
	c.roundShares()
}

// computeIdeals divides the replicas by weight alone: all of them, or those of each
// DC that has its number.
func (c *claim) computeIdeals() {
	weights, all := make([]float64, len(c.dcs)), 0.0
	for i := range c.nodes {
		weights[c.nodes[i].dc] += c.nodes[i].weight
		all += c.nodes[i].weight
	}
	for i := range c.nodes {
		node := &c.nodes[i]
		if c.perDC {
			node.ideal = float64(c.q*c.dcs[node.dc].limit) * node.weight / weights[node.dc]
		} else {
			node.ideal = float64(c.q*c.n) * node.weight / all
		}
	}
}

// vessels returns everything that has a limit.
func (c *claim) vessels() []group {
	vessels := make([]group, 0, len(c.nodes)+len(c.racks)+len(c.dcs))
	for i := range c.nodes {
		name := c.members[c.nodes[i].member].title()
		vessels = append(vessels, group{name: name, nodes: []int{i}, limit: 1})
	}
	vessels = append(vessels, c.racks...)
	return append(vessels, c.dcs...)
}

// nextFull returns how far the water rises until the next vessel is full, and
// which; none when all is poured before.
func (c *claim) nextFull(vessels []group, full []bool, left float64) (rise float64, filled *group) {
	rising := 0.0
	for i := range c.nodes {
		if !full[i] {
			rising += c.nodes[i].weight
		}
	}
	if rising == 0 {
		return 0, nil
	}
	rise = left / rising
	for v := range vessels {
		inside, weight := 0.0, 0.0
		for _, i := range vessels[v].nodes {
			inside += c.nodes[i].share
			if !full[i] {
				weight += c.nodes[i].weight
			}
		}
		if weight == 0 {
			continue
		}
		room := max(float64(c.q*vessels[v].limit)-inside, 0)
		// A vessel that gets full just when all is poured limits nothing.
		if room/weight < rise*(1-1e-9) {
			rise, filled = room/weight, &vessels[v]
		}
	}
	return rise, filled
}

// noteFull records that a limit overrides weights. A vessel that only the
// overflow of others has filled holds no less than its weight gives it.
func (c *claim) noteFull(v *group) {
	ideal := 0.0
	for _, i := range v.nodes {
		ideal += c.nodes[i].ideal
	}
	if ideal < float64(c.q*v.limit)+0.5 {
		return
	}
	c.notes = append(c.notes, fmt.Sprintf(
		"%s holds %d of %d replicas, where its weight would give it %.0f: at most %d of a partition's %d replicas may be there",
		v.name, c.q*v.limit, c.q*c.n, ideal, v.limit, c.n))
}

// roundShares makes whole numbers of the shares: of the DCs', then of the racks'
// within each DC, then of the nodes' within each rack, so that each sum is within
// one of its share and no limit is passed.
func (c *claim) roundShares() {
	all := make([]part, len(c.dcs))
	for dc := range c.dcs {
		all[dc] = c.part(dc, c.dcs[dc].nodes)
	}
	for dc, inDC := range divide(c.q*c.n, all) {
		var racks []part
		for rack := range c.racks {
			if c.racks[rack].parent == dc {
				racks = append(racks, c.part(rack, c.racks[rack].nodes))
			}
		}
		for rack, inRack := range divide(inDC, racks) {
			var nodes []part
			for _, i := range c.racks[rack].nodes {
				nodes = append(nodes, c.part(i, []int{i}))
			}
			for i, target := range divide(inRack, nodes) {
				c.nodes[i].target = target
			}
		}
	}
}

// part is one of the shares of a whole.
type part struct {
	number   int // of the DC, rack or node
	low      int // the share rounded down
	fraction float64
	before   int
}

func (c *claim) part(number int, nodes []int) part {
	p := part{number: number}
	share := 0.0
	for _, i := range nodes {
		share += c.nodes[i].share
		p.before += c.nodes[i].before
	}
	// Shares are sums of floats; what is a hair below a whole number is one.
	p.low = int(math.Floor(share + 1e-6))
	p.fraction = max(share-float64(p.low), 0)
	return p
}

// divide returns the whole shares of a whole by number. What is left after
// rounding all down goes, one each, first to those who would otherwise have to
// give one away, then to the largest fractions.
func divide(whole int, parts []part) map[int]int {
	left := whole
	shares := make(map[int]int, len(parts))
	for _, p := range parts {
		shares[p.number] = p.low
		left -= p.low
	}
	slices.SortStableFunc(parts, func(a, b part) int {
		return cmp.Or(
			-compareBools(a.fraction > 1e-6, b.fraction > 1e-6),
			-compareBools(a.before > a.low, b.before > b.low),
			-cmp.Compare(a.fraction, b.fraction),
			cmp.Compare(mix(uint64(a.number)), mix(uint64(b.number))),
		)
	})
	for i := 0; i < left; i++ {
		shares[parts[i%len(parts)].number]++
	}
	return shares
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
