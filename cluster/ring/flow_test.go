package ring

import "math"

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

// cheapest returns the cost of the cheapest greatest flow: shortest paths by
// Bellman-Ford with a queue, then all that flows along such, and so on.
func (f *flow) cheapest(source, sink int) (cost int) {
	for {
		far, queued := make([]int, len(f.out)), make([]bool, len(f.out))
		for i := range far {
			far[i] = math.MaxInt
		}
		far[source] = 0
		for queue := []int{source}; len(queue) > 0; queue = queue[1:] {
			x := queue[0]
			queued[x] = false
			for _, e := range f.out[x] {
				if z := f.to[e]; f.cap[e] > 0 && far[x]+f.fee[e] < far[z] {
					far[z] = far[x] + f.fee[e]
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
		for {
			pushed := f.push(source, sink, math.MaxInt, far, make([]bool, len(f.out)))
			if pushed == 0 {
				break
			}
			cost += pushed * far[sink]
		}
	}
}

// push sends what it can along one of the shortest paths.
func (f *flow) push(x, sink, most int, far []int, seen []bool) int {
	if x == sink {
		return most
	}
	seen[x] = true
	for _, e := range f.out[x] {
		z := f.to[e]
		if f.cap[e] == 0 || seen[z] || far[z] != far[x]+f.fee[e] {
			continue
		}
		if pushed := f.push(z, sink, min(most, f.cap[e]), far, seen); pushed > 0 {
			f.cap[e] -= pushed
			f.cap[e^1] += pushed
			return pushed
		}
	}
	return 0
}
