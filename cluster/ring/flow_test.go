package ring

import "math"

// leastMoves is the exact answer to how many replicas must move from prev to a
// table in which every node holds as much as in r and every partition is spread
// by r's limits: a minimum-cost flow, in which a replica costs nothing where it
// was before. It is far too slow for anything but a test.
func leastMoves(prev, r *Ring) int {
	c := newClaim(r, nil, nil)
	var f flow
	source, sink := f.node(), f.node()
	nodes := make([]int, len(c.nodes))
	for i := range c.nodes {
		nodes[i] = f.node()
		f.edge(nodes[i], sink, r.holdings(c.members[c.nodes[i].member].ID), 0)
	}
	for p := range Partition(r.Q) {
		partition := f.node()
		f.edge(source, partition, c.n, 0)
		racks, dcs := make([]int, len(c.racks)), make([]int, len(c.dcs))
		for dc := range c.dcs {
			dcs[dc] = f.node()
			f.edge(partition, dcs[dc], c.dcs[dc].limit, 0)
		}
		for rack := range c.racks {
			racks[rack] = f.node()
			f.edge(dcs[c.racks[rack].parent], racks[rack], c.racks[rack].limit, 0)
		}
		for i := range c.nodes {
			cost := 1
			if prev.Holds(p, c.members[c.nodes[i].member].ID) {
				cost = 0
			}
			f.edge(racks[c.nodes[i].rack], nodes[i], 1, cost)
		}
	}
	return f.cheapest(source, sink)
}

// flow is a network; each edge is followed by its reverse.
type flow struct {
	out          [][]int
	to, cap, fee []int
}

func (f *flow) node() int {
	f.out = append(f.out, nil)
	return len(f.out) - 1
}

func (f *flow) edge(from, to, capacity, cost int) {
	for _, e := range [2][4]int{{from, to, capacity, cost}, {to, from, 0, -cost}} {
		f.out[e[0]] = append(f.out[e[0]], len(f.to))
		f.to, f.cap, f.fee = append(f.to, e[1]), append(f.cap, e[2]), append(f.fee, e[3])
	}
}

// cheapest returns the cost of the cheapest greatest flow, by successive
// shortest paths (Bellman-Ford with a queue).
func (f *flow) cheapest(source, sink int) (cost int) {
	for {
		far, via, queued := make([]int, len(f.out)), make([]int, len(f.out)), make([]bool, len(f.out))
		for i := range far {
			far[i] = math.MaxInt
		}
		far[source] = 0
		for queue := []int{source}; len(queue) > 0; queue = queue[1:] {
			x := queue[0]
			queued[x] = false
			for _, e := range f.out[x] {
				if z := f.to[e]; f.cap[e] > 0 && far[x]+f.fee[e] < far[z] {
					far[z], via[z] = far[x]+f.fee[e], e
					if !queued[z] {
						queued[z] = true
						queue = append(queue, z)
					}
				}
			}
		}
		if far[sink] == math.MaxInt {
			return cost
		}
		for x := sink; x != source; x = f.to[via[x]^1] {
			f.cap[via[x]]--
			f.cap[via[x]^1]++
		}
		cost += far[sink]
	}
}
