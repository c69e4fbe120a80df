package ring

import (
	"fmt"
	"slices"
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

func joined(t testing.TB, r *Ring, from, to, racks int, auto bool) *Ring {
	t.Helper()
	for _, m := range cluster(to, racks)[from:] {
		r = must(t)(Join(r, m, auto))
	}
	return r
}

// largeRing is made by joins, as large rings are.
func largeRing(t testing.TB) *Ring {
	t.Helper()
	r, _ := mustBuild(t, nil, cluster(200, 20), Options{Partitions: 4096})
	return r
}

// report checks a plan's balance and movement, and returns them for printing: the
// fullest node's replicas in percent of its share, and the moves in percent of the
// least.
func report(t testing.TB, name string, plan *Plan) (balance, movement float64) {
	t.Helper()
	for _, s := range plan.PerNode {
		if s.Target > 0 {
			balance = max(balance, float64(s.After)/s.Target)
		}
	}
	movement = 1
	if plan.MinMoves > 0 {
		movement = float64(plan.Moves()) / float64(plan.MinMoves)
	}
	if balance > 1.02 || movement > 1.05 {
		t.Errorf("%s: the fullest node holds %.3f of its share, %d moves of %d", name, balance, plan.Moves(), plan.MinMoves)
	}
	return balance, movement
}

func TestLargeRing(t *testing.T) {
	r := largeRing(t)
	for _, c := range largeChanges() {
		start := time.Now()
		next, plan := mustReplan(t, r, c.changes...)
		took := time.Since(start)
		balance, movement := report(t, c.name, plan)
		t.Logf("%-18s %v, fullest %.4f, movement %.4f of %d", c.name, took.Round(time.Millisecond), balance, movement, plan.MinMoves)
		if took > 10*time.Second {
			t.Errorf("%s took %v", c.name, took)
		}
		_ = next
	}
	for _, n := range []int{1, 10, 200} {
		wide := joined(t, r, 200, 200+n, 20, false)
		start := time.Now()
		_, plan := mustReplan(t, wide, Commit{})
		took := time.Since(start)
		balance, movement := report(t, fmt.Sprint("join ", n), plan)
		t.Logf("join %-13d %v, fullest %.4f, movement %.4f of %d", n, took.Round(time.Millisecond), balance, movement, plan.MinMoves)
	}
}

func BenchmarkReplan(b *testing.B) {
	r := largeRing(b)
	for _, c := range slices.Concat(largeChanges()) {
		b.Run(c.name, func(b *testing.B) {
			var plan *Plan
			for b.Loop() {
				_, plan = mustReplan(b, r, c.changes...)
			}
			balance, movement := report(b, c.name, plan)
			b.ReportMetric(100*balance, "%balance")
			b.ReportMetric(100*movement, "%least")
		})
	}
}
