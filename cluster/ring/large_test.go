package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// largeChanges are changes of a ring of 200 members in 20 racks with 4096
// partitions, as cluster makes it.
func largeChanges() []struct {
	name    string
	changes []Change
} {
	var leave []Change
	for id := NodeID(3); id < 200; id += 20 { // a rack
		leave = append(leave, Decommission{ID: id})
	}
	var weights []Change
	for id := NodeID(1); id <= 100; id++ {
		weights = append(weights, Weight{ID: id, W: 2})
	}
	return []struct {
		name    string
		changes []Change
	}{
		{"nothing", []Change{Commit{}}},
		{"leave", []Change{Decommission{ID: 77}}},
		{"dead", []Change{Remove{ID: 77}}},
		{"rack leaves", leave},
		{"weight", []Change{Weight{ID: 5, W: 3}}},
		{"half weigh double", weights},
		{"n 4", []Change{Replication{N: 4}}},
		{"n 2", []Change{Replication{N: 2}}},
	}
}

// mixedRing returns a ring of 200 members of random weights in random data centres
// and racks, some of them crowded.
func mixedRing(t testing.TB, seed uint64) *Ring {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 9))
	racks, dcs, crowded := []int{3, 4, 5, 10, 40}[rng.IntN(5)], 1+rng.IntN(3), rng.IntN(2) == 0
	weights := [][]float64{{1}, {1, 2, 4}, {1, 1, 1, 10}, {1, 100}}[rng.IntN(4)]
	members := cluster(200, 1)
	for i := range members {
		rack := rng.IntN(racks)
		if crowded {
			rack = min(rack, rng.IntN(racks))
		}
		members[i].DC, members[i].Rack = fmt.Sprint("dc", rng.IntN(dcs)), fmt.Sprint("r", rack)
		members[i].Weight = weights[rng.IntN(len(weights))]
	}
	o := Options{Partitions: 4096}
	if rng.IntN(2) == 0 {
		for dc := range dcs {
			o.PerDC = append(o.PerDC, DCReplicas{fmt.Sprint("dc", dc), 1 + rng.IntN(3)})
		}
	}
	r, _ := mustBuild(t, nil, members, o)
	return r
}

func joined(t testing.TB, r *Ring, from, to, racks int, auto bool) *Ring {
	t.Helper()
	for _, m := range cluster(to, racks)[from:] {
		r = must(t)(Join(r, m, auto))
	}
	return r
}

func largeRing(t testing.TB) *Ring {
	t.Helper()
	r, _ := mustBuild(t, nil, cluster(200, 20), Options{Partitions: 4096})
	return r
}

// report checks a plan's balance and, where spreading forces no moves, its
// movement, and returns them for printing: the fullest node's replicas as a part of
// its share, and the moves as a part of those that the shares alone take.
func report(t testing.TB, name string, plan *Plan, loose bool) (balance, movement float64) {
	t.Helper()
	for _, s := range plan.PerNode {
		if over := float64(s.After) - math.Ceil(s.Target-1e-6); over > 0 {
			t.Errorf("%s: %+v", name, s)
		}
		if s.Target >= 50 { // one replica more is within two percent
			balance = max(balance, float64(s.After)/s.Target)
		}
	}
	movement = 1
	if plan.MinMoves > 0 {
		movement = float64(plan.Moves()) / float64(plan.MinMoves)
	}
	if balance > 1.02 || !loose && movement > 1.05 {
		t.Errorf("%s: the fullest node holds %.3f of its share, %d moves of %d", name, balance, plan.Moves(), plan.MinMoves)
	}
	return balance, movement
}

func TestLargeRing(t *testing.T) {
	r := largeRing(t)
	for _, c := range largeChanges() {
		start := time.Now()
		_, plan := mustReplan(t, r, c.changes...)
		took := time.Since(start)
		balance, movement := report(t, c.name, plan, false)
		t.Logf("%-18s %v, fullest %.4f, movement %.4f of %d", c.name, took.Round(time.Millisecond), balance, movement, plan.MinMoves)
		if took > 30*time.Second {
			t.Errorf("%s took %v", c.name, took)
		}
	}
	for _, n := range []int{1, 10} {
		wide := joined(t, r, 200, 200+n, 20, false)
		start := time.Now()
		_, plan := mustReplan(t, wide, Commit{})
		took := time.Since(start)
		balance, movement := report(t, fmt.Sprint("join ", n), plan, false)
		t.Logf("join %-13d %v, fullest %.4f, movement %.4f of %d", n, took.Round(time.Millisecond), balance, movement, plan.MinMoves)
	}
}

// Rings that nobody would lay out so, and several changes at once. Their racks force
// moves that the shares alone do not: up to a seventh more, which the exact flow,
// too slow for this size, confirms to within one move.
func TestLargeMixedRings(t *testing.T) {
	moves, least, slowest := 0, 0, time.Duration(0)
	for _, seed := range []uint64{1, 6, 7} {
		r := mixedRing(t, seed)
		wide := must(t)(Join(r, Member{ID: 900, Name: "x", DC: "dc0", Rack: "r0", Weight: 1}, false))
		wide = must(t)(Join(wide, Member{ID: 901, Name: "y", DC: "dc0", Rack: "r99", Weight: 2}, false))
		for _, changes := range [][]Change{
			{Decommission{ID: 50}},
			{Weight{ID: 50, W: 3}, Weight{ID: 51, W: 5}, Remove{ID: 3, Lose: true}},
			{Commit{}},
		} {
			start := time.Now()
			_, plan := mustReplan(t, wide, changes...)
			slowest = max(slowest, time.Since(start))
			report(t, fmt.Sprintf("seed %d, %+v", seed, changes), plan, true)
			moves, least = moves+plan.Moves(), least+plan.MinMoves
		}
	}
	t.Logf("%d moves of %d, slowest plan %v", moves, least, slowest)
	if slowest > 30*time.Second {
		t.Errorf("a plan took %v", slowest)
	}
}

func BenchmarkReplan(b *testing.B) {
	r := largeRing(b)
	run := func(name string, r *Ring, changes ...Change) {
		b.Run(name, func(b *testing.B) {
			var plan *Plan
			for b.Loop() {
				_, plan = mustReplan(b, r, changes...)
			}
			balance, movement := report(b, name, plan, name == "mixed")
			b.ReportMetric(100*balance, "%ofshare")
			b.ReportMetric(100*movement, "%least")
		})
	}
	for _, c := range largeChanges() {
		run(c.name, r, c.changes...)
	}
	run("join 10", joined(b, r, 200, 210, 20, false), Commit{})
	run("mixed", mixedRing(b, 7), Weight{ID: 50, W: 3}, Weight{ID: 51, W: 5}, Remove{ID: 3, Lose: true})
}
