package ring

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestTraps makes the changes that claims are known to get wrong. Each is planned,
// checked against the exact least movement, and carried out.
func TestTraps(t *testing.T) {
	weighing := func(members []Member, weights ...float64) []Member {
		for i := range members {
			members[i].Weight = weights[min(i, len(weights)-1)]
		}
		return members
	}
	oneAway := inDCs(6, "east")
	oneAway[5].DC = "west"
	tests := []struct {
		name    string
		members []Member
		o       Options
		joins   []Member
		changes []Change
		want    map[NodeID]int // replicas then
		note    string
	}{
		{
			name: "one joins many, and nobody has a whole replica too many", members: cluster(60, 60), o: Options{Partitions: 64},
			joins: cluster(61, 61)[60:], want: map[NodeID]int{61: 3},
		},
		{
			name: "racks are as many as replicas", members: weighing(cluster(6, 3), 4, 1, 1, 4, 1), o: Options{Partitions: 64},
			joins: cluster(7, 3)[6:], want: map[NodeID]int{2: 32, 3: 32, 5: 32, 6: 32}, note: "rack dc1/r1 holds 64 of 192 replicas",
		},
		{
			name: "a data centre of one node", members: oneAway, o: Options{Partitions: 64, N: 2},
			changes: []Change{Decommission{ID: 1}}, want: map[NodeID]int{6: 64, 2: 16}, note: "rack east/r1 holds 64 of 128",
		},
		{
			name: "one weighs a hundred", members: weighing(cluster(6, 1), 100, 1), o: Options{Partitions: 64},
			changes: []Change{Weight{ID: 2, W: 100}}, want: map[NodeID]int{1: 64, 2: 64, 3: 16},
			note: "n1 holds 64 of 192 replicas",
		},
		{
			name: "one weighs a hundredth", members: cluster(6, 1), o: Options{Partitions: 256},
			changes: []Change{Weight{ID: 1, W: 0.01}},
		},
		{
			name: "all but one weigh nothing", members: weighing(cluster(4, 1), 1, 0), o: Options{Partitions: 16},
			changes: []Change{Weight{ID: 3, W: 1}}, want: map[NodeID]int{1: 16, 2: 0, 3: 16}, note: "3 replicas are asked for, and there are members for 2",
		},
		{
			name: "fewer partitions than members", members: cluster(9, 3), o: Options{Partitions: 2},
			changes: []Change{Decommission{ID: 1}},
		},
		{
			name: "one partition", members: cluster(3, 1), o: Options{Partitions: 1, N: 2},
			joins: cluster(5, 1)[3:], changes: []Change{Commit{}, Decommission{ID: 1}},
		},
		{
			name: "a rack leaves", members: cluster(12, 4), o: Options{Partitions: 64},
			changes: []Change{Decommission{ID: 1}, Decommission{ID: 5}, Decommission{ID: 9}}, want: map[NodeID]int{2: 21},
		},
		{
			name: "per DC, each balanced in itself", members: weighing(inDCs(8, "east", "west"), 1, 1, 2, 1), o: Options{Partitions: 64, N: 3},
			changes: []Change{Replication{PerDC: []DCReplicas{{"east", 2}, {"west", 3}}}}, want: map[NodeID]int{2: 48, 8: 48},
		},
		{
			name: "per DC, fewer members than asked", members: inDCs(5, "east", "west"), o: Options{Partitions: 64, PerDC: []DCReplicas{{"east", 3}, {"west", 3}}},
			changes: []Change{Weight{ID: 1, W: 2}}, want: map[NodeID]int{1: 64, 2: 64, 4: 64}, note: "data centre west: 3 replicas are asked for, and there are members for 2",
		},
		{
			name: "per DC, and one that gets none", members: inDCs(6, "east", "west", "north"), o: Options{Partitions: 64, N: 3},
			changes: []Change{Replication{PerDC: []DCReplicas{{"east", 2}, {"west", 1}}}}, want: map[NodeID]int{1: 64, 2: 32, 3: 0}, note: "n3 holds nothing: data centre north gets no replicas",
		},
		{
			name: "per DC becomes plain", members: inDCs(6, "east", "west"), o: Options{Partitions: 64, PerDC: []DCReplicas{{"east", 3}, {"west", 3}}},
			changes: []Change{Replication{N: 3}}, want: map[NodeID]int{1: 32, 2: 32}, note: "2 racks for 3 replicas",
		},
		{
			name: "a DC is added", members: inDCs(3, "east"), o: Options{Partitions: 64, PerDC: []DCReplicas{{"east", 3}}},
			joins: inDCs(6, "east", "west")[3:], changes: []Change{Commit{}, Replication{PerDC: []DCReplicas{{"east", 3}, {"west", 2}}}},
			want: map[NodeID]int{1: 48, 4: 64, 6: 64},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := &history{T: t}
			h.r, _ = mustBuild(t, nil, test.members, test.o)
			for _, m := range test.joins {
				h.r = must(t)(Join(h.r, m, false))
			}
			before := h.r
			next, plan := mustReplan(t, before, append([]Change{AsOf{before.Epoch}, Commit{}}, test.changes...)...)
			h.r = next
			f := h.check(plan)
			if least := f.leastMoves(before.draft().lists); plan.Moves() > least+least/20 {
				t.Errorf("%d moves where %d do", plan.Moves(), least)
			}
			for _, s := range plan.PerNode {
				if want, any := test.want[s.ID]; any && s.After != want && !(s.After == want+1 && f.share[s.ID] > float64(want)) {
					t.Errorf("%v holds %d, not %d", s.ID, s.After, want)
				}
			}
			noted := func(n string) bool { return strings.Contains(n, test.note) }
			if test.note != "" && !slices.ContainsFunc(plan.Notes, noted) || test.note == "" && len(plan.Notes) > 0 && len(test.want) > 0 {
				t.Errorf("notes %q", plan.Notes)
			}
			h.finish()
			checkBalanced(t, h.r)
		})
	}
}

// What many drivers begin with is spread over all sources.
func TestQueueSpreads(t *testing.T) {
	r := founded(t, 10, Options{Partitions: 256})
	r = joined(t, r, 10, 14, 1, false)
	r, _ = mustReplan(t, r, Commit{})
	gives, total := map[NodeID]int{}, 0
	for driver := NodeID(11); driver <= 14; driver++ {
		own := map[NodeID]int{}
		for _, x := range r.Queue(driver)[:10] {
			own[x.From]++
			gives[x.From]++
			total++
			if x.Driver() != driver || own[x.From] > 2 {
				t.Errorf("driver %v: %+v, after %v", driver, x, own)
			}
		}
	}
	for id := NodeID(1); id <= 10; id++ {
		if gives[id] > total/10+2 {
			t.Errorf("node %v gives %d of the first %d", id, gives[id], total)
		}
	}
}

// What a dead member held comes first, and of that what has the fewest copies.
func TestQueueRestoresFirst(t *testing.T) {
	r := founded(t, 8, Options{Partitions: 256})
	r = joined(t, r, 8, 9, 1, true)
	r, _ = mustReplan(t, r, Remove{ID: 1}, Remove{ID: 2, Lose: true}, Replication{N: 4})
	for i := range r.Members {
		last := [2]int{-1, 0}
		for _, x := range r.Queue(r.Members[i].ID) {
			kind := 2
			switch {
			case x.From == 1 || x.From == 2:
				kind = 0
			case x.From == 0:
				kind = 1
			}
			now := [2]int{kind, r.living(r.Replicas(x.Partition))}
			if slices.Compare(now[:], last[:]) < 0 && kind < 2 {
				t.Fatalf("%+v of %v comes after %v", x, now, last)
			}
			last = now
		}
	}
	checkBalanced(t, finishRemoved(t, r, 1, 2))
}

func finishRemoved(t *testing.T, r *Ring, ids ...NodeID) *Ring {
	t.Helper()
	r = finishAll(t, r)
	for _, id := range ids {
		r = must(t)(Retire(r, id))
	}
	return r
}

// Everybody but one dies: what nobody has is named, and the ring goes on.
func TestRecover(t *testing.T) {
	r := founded(t, 5, Options{Partitions: 16, N: 2})
	r, plan, err := Recover(r, []NodeID{1, 4})
	if err != nil {
		t.Fatal(err)
	}
	lost := func(n string) bool { return strings.HasPrefix(n, "no living member has everything of partition") }
	if !slices.ContainsFunc(plan.Notes, lost) || r.Generation != 1 {
		t.Fatalf("generation %d, notes %q", r.Generation, plan.Notes)
	}
	r = finishRemoved(t, r, 2, 3, 5)
	checkBalanced(t, r)
	if r.EffectiveN() != 2 || fmt.Sprint(r.Voters()) != fmt.Sprint([]NodeID{1, 4}) {
		t.Fatalf("%d replicas, voters %v", r.EffectiveN(), r.Voters())
	}
}
