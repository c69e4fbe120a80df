package ring

import (
	"maps"
	"math"
	"slices"
)

// fairness is what a table of a ring's members should be, worked out again from
// the words of the manual and in other ways than the claim does it.
type fairness struct {
	q, n  int
	dcs   map[string]int               // replicas of one partition that may be in a DC
	racks map[[2]string]int            // and in a rack
	nodes map[NodeID]*Member           // who is to hold
	share map[NodeID]float64           // how many replicas each should hold
	in    map[string]map[[2]string]int // nodes per DC and rack
}

func fairnessOf(r *Ring) *fairness {
	f := &fairness{
		q: r.Q, dcs: map[string]int{}, racks: map[[2]string]int{}, nodes: map[NodeID]*Member{},
		share: map[NodeID]float64{}, in: map[string]map[[2]string]int{},
	}
	asked := map[string]int{}
	for _, dc := range r.PerDC {
		asked[dc.DC] = dc.N
	}
	sizes := map[string]int{}
	for i := range r.Members {
		m := &r.Members[i]
		if m.State != Active || m.Weight == 0 || len(asked) > 0 && asked[m.DC] == 0 {
			continue
		}
		f.nodes[m.ID] = m
		sizes[m.DC]++
		if f.in[m.DC] == nil {
			f.in[m.DC] = map[[2]string]int{}
		}
		f.in[m.DC][[2]string{m.DC, m.Rack}]++
	}
	if len(asked) > 0 {
		for dc, size := range sizes {
			f.dcs[dc] = min(asked[dc], size)
			f.n += f.dcs[dc]
		}
	} else {
		f.n = min(r.N, len(f.nodes))
		f.dcs = evenly(sizes, f.n)
	}
	for dc := range sizes {
		maps.Copy(f.racks, evenly(f.in[dc], f.dcs[dc]))
	}
	f.pour(len(asked) > 0)
	return f
}

// evenly returns how many of n things may be in each place at most if they are
// spread as evenly as the sizes of the places allow.
func evenly[K comparable](sizes map[K]int, n int) map[K]int {
	limits := map[K]int{}
	for limit := 0; ; limit++ {
		room := 0
		for k, size := range sizes {
			limits[k] = min(size, limit)
			room += limits[k]
		}
		if room >= n {
			return limits
		}
	}
}

// pour finds the level at which nodes that hold level times weight, capped by
// node, rack and DC, hold everything, by bisection.
func (f *fairness) pour(perDC bool) {
	if perDC { // each DC has a level of its own
		for dc, limit := range f.dcs {
			f.pourInto(func(other string) bool { return other == dc }, float64(f.q*limit))
		}
		return
	}
	f.pourInto(func(string) bool { return true }, float64(f.q*f.n))
}

func (f *fairness) pourInto(take func(dc string) bool, total float64) {
	held := func(level float64, set bool) (sum float64) {
		for dc, racks := range f.in {
			if !take(dc) {
				continue
			}
			dcLevel := f.cap(level, float64(f.q*f.dcs[dc]), func(level float64) (inDC float64) {
				for rack := range racks {
					inDC += min(f.inRack(rack, level, nil), float64(f.q*f.racks[rack]))
				}
				return inDC
			})
			for rack := range racks {
				rackLevel := f.cap(dcLevel, float64(f.q*f.racks[rack]), func(level float64) float64 { return f.inRack(rack, level, nil) })
				if set {
					f.inRack(rack, rackLevel, f.share)
				}
				sum += f.inRack(rack, rackLevel, nil)
			}
		}
		return sum
	}
	low, high := 0.0, 1.0
	for held(high, false) < total-1e-6 && high < 1e15 {
		high *= 2
	}
	for range 100 {
		if mid := (low + high) / 2; held(mid, false) < total-1e-9 {
			low = mid
		} else {
			high = mid
		}
	}
	held(high, true)
}

// cap returns the greatest level up to the given one at which no more than limit
// is held.
func (f *fairness) cap(level, limit float64, held func(float64) float64) float64 {
	if held(level) <= limit {
		return level
	}
	low, high := 0.0, level
	for range 60 {
		if mid := (low + high) / 2; held(mid) <= limit {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// inRack returns what the nodes of a rack hold at a level, and notes it.
func (f *fairness) inRack(rack [2]string, level float64, into map[NodeID]float64) (sum float64) {
	for id, m := range f.nodes {
		if m.DC == rack[0] && m.Rack == rack[1] {
			share := min(float64(f.q), level*m.Weight)
			sum += share
			if into != nil {
				into[id] = share
			}
		}
	}
	return sum
}

// bounds returns the whole numbers next to a node's share.
func (f *fairness) bounds(id NodeID) (low, high int) {
	share := f.share[id]
	if whole := math.Round(share); math.Abs(share-whole) < 1e-3 {
		return int(whole), int(whole)
	}
	return int(math.Floor(share)), int(math.Ceil(share))
}

// leastMoves is the exact answer to how many replicas have to travel at least from
// some lists to any table that is fair and spread: a minimum-cost flow from
// partitions over DCs and racks to nodes, in which a replica costs nothing where it
// is already. It is far too slow for anything but a test.
func (f *fairness) leastMoves(before [][]NodeID) int {
	var net flow
	const must = -1 << 20 // reward of a replica that a node has to get
	source, sink := net.node(), net.node()
	ids := make([]NodeID, 0, len(f.nodes))
	for id := range f.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	nodes := make(map[NodeID]int)
	lows := 0
	for _, id := range ids {
		nodes[id] = net.node()
		low, high := f.bounds(id)
		net.edge(nodes[id], sink, low, must)
		net.edge(nodes[id], sink, high-low, 0)
		lows += low
	}
	for _, list := range before {
		partition := net.node()
		net.edge(source, partition, f.n, 0)
		dcs, racks := map[string]int{}, map[[2]string]int{}
		for _, id := range ids {
			m := f.nodes[id]
			rack := [2]string{m.DC, m.Rack}
			if _, found := dcs[m.DC]; !found {
				dcs[m.DC] = net.node()
				net.edge(partition, dcs[m.DC], f.dcs[m.DC], 0)
			}
			if _, found := racks[rack]; !found {
				racks[rack] = net.node()
				net.edge(dcs[m.DC], racks[rack], f.racks[rack], 0)
			}
			cost := 1
			if slices.Contains(list, id) {
				cost = 0
			}
			net.edge(racks[rack], nodes[id], 1, cost)
		}
	}
	return net.cheapest(source, sink) - lows*must
}
