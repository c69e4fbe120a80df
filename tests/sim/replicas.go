package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
)

// mostReplicas are asked for at most, where their number changes, and mostEach in each of
// several data centres.
const mostReplicas, mostEach = 5, 3

// growAndShrink adds changes of the number of replicas to a seed's plan, most of them while
// clients work. All else that the seed has drawn stays. Levels that are numbers would not
// meet among five replicas.
func growAndShrink(c *Config, r *rand.Rand) {
	c.Profile += ", replication"
	c.Least = 1
	if slices.Contains(c.Rare, Empty) {
		c.Least = 2 // or what is lost is lost
	}
	c.Keys = slices.Clone(c.Keys)
	for i := range c.Keys {
		k := &c.Keys[i]
		for _, levels := range []*[]coordinator.Level{&k.R, &k.W} {
			*levels = slices.DeleteFunc(slices.Clone(*levels), func(l coordinator.Level) bool { return l == coordinator.Two })
		}
	}
	const around = 4 * calmBefore
	for range 3 + r.IntN(4) {
		at := time.Duration(r.Int64N(int64(c.Plan.Length * 9 / 10)))
		if r.IntN(3) > 0 {
			at = c.Plan.Rounds[r.IntN(len(c.Plan.Rounds))] - calmBefore + time.Duration(r.Int64N(int64(around)))
		}
		c.Plan.Strikes = append(c.Plan.Strikes, Strike{At: max(0, at), Fault: Replicate, Machine: r.IntN(c.Machines), Draw: r.Uint64()})
	}
	c.Plan.number()
}

// replicate asks for more replicas, or for fewer.
func (w *World) replicate(s Strike, at *machine) {
	change := ring.Replication{N: w.c.Least + int(s.Draw>>8%uint64(mostReplicas-w.c.Least+1))}
	if len(w.newest.PerDC) > 0 {
		change.N = 0
		for c := range w.c.Centres {
			n := w.c.Least + int(s.Draw>>(8+8*c)%uint64(mostEach-w.c.Least+1))
			change.PerDC = append(change.PerDC, ring.DCReplicas{DC: centre(c), N: n})
		}
	}
	w.operate(at, "replication "+ring.ReplicationText(change.N, change.PerDC), plan(change), nil)
}

// rightly says where the newest ring has more replicas, or fewer, than it asks for: a change
// of their number that was given up is made good by whatever is planned next.
func (w *World) rightly() error {
	r := w.newest
	if err := CheckRing(r, nil); err != nil {
		return err
	}
	for p := range ring.Partition(r.Q) {
		if n := len(r.Replicas(p)); n > r.N {
			return fmt.Errorf("partition %d has %d replicas of %d", p, n, r.N)
		}
	}
	return nil
}
