package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// cluster returns n members of weight one, dealt over racks of one DC.
func cluster(n, racks int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{
			ID: NodeID(i + 1), Incarnation: uint64(i + 1), Name: fmt.Sprint("n", i+1),
			DC: "dc1", Rack: fmt.Sprint("r", i%racks+1), Weight: 1,
		}
	}
	return members
}

func mustBuild(t testing.TB, prev *Ring, members []Member, o Options) (*Ring, *Plan) {
	t.Helper()
	r, plan, err := Build(prev, members, o)
	if err != nil {
		t.Fatal(err)
	}
	return r, plan
}

// checkRing checks everything that a built ring promises but movement.
func checkRing(t *testing.T, r *Ring, plan *Plan) {
	t.Helper()
	held, first := map[NodeID]int{}, map[NodeID]int{}
	for p := range Partition(r.Q) {
		for _, id := range r.Replicas(p) {
			held[id]++
		}
		first[r.Replicas(p)[0]]++
	}
	total := 0.0
	for _, s := range plan.PerNode {
		total += s.Target
		if held[s.ID] != s.After || first[s.ID] != s.Primaries {
			t.Fatalf("plan says %+v, table has %d and %d", s, held[s.ID], first[s.ID])
		}
		if low, high := math.Floor(s.Target+1e-6), math.Ceil(s.Target-1e-6); float64(s.After) < low || float64(s.After) > high {
			t.Errorf("node %v holds %d, not %.2f", s.ID, s.After, s.Target)
		}
		if m := r.Member(s.ID); !m.holds() && s.After > 0 {
			t.Errorf("node %v holds %d, and is %v with weight %v", s.ID, s.After, m.State, m.Weight)
		}
	}
	if math.Abs(total-float64(r.Q*r.EffectiveN())) > 1e-3 {
		t.Errorf("shares sum to %v", total)
	}
	checkSpread(t, r)
}

// checkSpread checks that replicas are over as many DCs and racks as can be.
func checkSpread(t *testing.T, r *Ring) {
	t.Helper()
	nodes := map[string]int{}            // per DC
	racks := map[string]map[string]int{} // per DC and rack
	for i := range r.Members {
		if m := &r.Members[i]; m.holds() {
			nodes[m.DC]++
			if racks[m.DC] == nil {
				racks[m.DC] = map[string]int{}
			}
			racks[m.DC][m.Rack]++
		}
	}
	for p := range Partition(r.Q) {
		inDC, inRack := map[string]int{}, map[string]map[string]int{}
		for _, id := range r.Replicas(p) {
			m := r.Member(id)
			inDC[m.DC]++
			if inRack[m.DC] == nil {
				inRack[m.DC] = map[string]int{}
			}
			inRack[m.DC][m.Rack]++
		}
		if !even(inDC, nodes) {
			t.Fatalf("partition %d: DCs %v of %v", p, inDC, nodes)
		}
		for dc := range inRack {
			if !even(inRack[dc], racks[dc]) {
				t.Fatalf("partition %d: racks %v of %v in %s", p, inRack[dc], racks[dc], dc)
			}
		}
	}
}

// even reports whether the fullest group is no fuller than it must be: whether
// with one less in each, there would be too few places for all.
func even(used, room map[string]int) bool {
	most, all, places := 0, 0, 0
	for _, n := range used {
		most = max(most, n)
		all += n
	}
	for _, size := range room {
		places += min(size, most-1)
	}
	return places < all
}

func TestThreeNodesHoldEverything(t *testing.T) {
	r, plan := mustBuild(t, nil, cluster(3, 1), Options{})
	checkRing(t, r, plan)
	for _, s := range plan.PerNode {
		if s.After != 256 || s.Primaries < 85 || s.Primaries > 86 {
			t.Errorf("%+v", s)
		}
	}
	if len(plan.Notes) > 0 {
		t.Errorf("notes: %v", plan.Notes)
	}
}

func TestOneNodeWorksAndGrows(t *testing.T) {
	r, plan := mustBuild(t, nil, cluster(1, 1), Options{})
	checkRing(t, r, plan)
	if r.EffectiveN() != 1 || r.N != 3 || len(plan.Notes) != 1 {
		t.Fatalf("%d of %d replicas, notes %v", r.EffectiveN(), r.N, plan.Notes)
	}
	for n := 2; n <= 6; n++ {
		r, plan = mustBuild(t, r, cluster(n, 1), Options{})
		checkRing(t, r, plan)
		if r.EffectiveN() != min(n, 3) || plan.Moves() != plan.MinMoves {
			t.Fatalf("%d nodes: %d replicas, %d moves of %d", n, r.EffectiveN(), plan.Moves(), plan.MinMoves)
		}
	}
}

func TestBalanceWithinTwoPercent(t *testing.T) {
	for _, n := range []int{4, 6, 7, 10, 20, 60} {
		r, plan := mustBuild(t, nil, cluster(n, n), Options{Partitions: 4096})
		checkRing(t, r, plan)
		for _, s := range plan.PerNode {
			if float64(s.After) > 1.02*s.Ideal || float64(s.Primaries) > 1.03*4096/float64(n) {
				t.Errorf("%d nodes: %+v", n, s)
			}
		}
	}
}

// A new node gets its share even when no other has a whole replica too many.
func TestNewNodeGetsItsShareFromFractions(t *testing.T) {
	r, _ := mustBuild(t, nil, cluster(10, 10), Options{Partitions: 16})
	r, plan := mustBuild(t, r, cluster(11, 11), Options{})
	checkRing(t, r, plan)
	if got := plan.PerNode[10]; got.After < 4 || plan.Moves() != got.After {
		t.Fatalf("%+v after %d moves", got, plan.Moves())
	}
}

// A new node's share comes from all others alike, and from all over the ring.
func TestNewNodeTakesFromAll(t *testing.T) {
	r, _ := mustBuild(t, nil, cluster(9, 9), Options{Partitions: 1024})
	_, plan := mustBuild(t, r, cluster(10, 10), Options{})
	gave, quarters := map[NodeID]int{}, [4]int{}
	for _, m := range plan.Transfers {
		gave[m.From]++
		quarters[m.Partition/256]++
		if m.To != 10 {
			t.Errorf("%+v goes to an old node", m)
		}
	}
	for id := NodeID(1); id <= 9; id++ {
		if gave[id] < 33 || gave[id] > 35 {
			t.Errorf("node %v gave %d of %d", id, gave[id], plan.Moves())
		}
	}
	for i, n := range quarters {
		if n < 50 || n > 105 {
			t.Errorf("quarter %d gave %d of %d", i, n, plan.Moves())
		}
	}
}

// What a node held goes to all others alike when it leaves, and in the mean
// time all of them stand in for it.
func TestLoadOfOneNodeSpreads(t *testing.T) {
	r, _ := mustBuild(t, nil, cluster(10, 10), Options{Partitions: 1024})
	second := map[NodeID]int{}
	for p := range Partition(r.Q) {
		if list := r.Replicas(p); list[0] == 4 {
			second[list[1]]++
		}
	}
	left := slices.DeleteFunc(cluster(10, 10), func(m Member) bool { return m.ID == 4 })
	_, plan := mustBuild(t, r, left, Options{})
	got := map[NodeID]int{}
	for _, m := range plan.Transfers {
		got[m.To]++
	}
	for _, m := range left {
		if got[m.ID] < 33 || got[m.ID] > 36 || second[m.ID] < 3 {
			t.Errorf("node %v gets %d, is next to a dead primary %d times", m.ID, got[m.ID], second[m.ID])
		}
	}
}

// As many racks as replicas: every rack holds everything, whatever it weighs.
func TestRacksCapWeight(t *testing.T) {
	members := cluster(6, 3)
	members[0].Weight, members[3].Weight = 4, 4 // both in r1
	r, plan := mustBuild(t, nil, members, Options{})
	checkRing(t, r, plan)
	if plan.PerNode[0].After != 128 || plan.PerNode[1].After != 128 {
		t.Errorf("shares %+v", plan.PerNode)
	}
	if !slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.Contains(n, "rack dc1/r1 holds 256 of 768") }) {
		t.Errorf("notes %v", plan.Notes)
	}
}

func TestDataCentres(t *testing.T) {
	members := cluster(9, 3)
	for i := range members {
		members[i].DC = fmt.Sprint("dc", i%2+1)
	}
	r, plan := mustBuild(t, nil, members, Options{})
	checkRing(t, r, plan)
	r, plan = mustBuild(t, r, append(members, Member{ID: 10, DC: "dc3", Weight: 1}), Options{})
	checkRing(t, r, plan)
	if plan.PerNode[9].After != 256 {
		t.Errorf("the only node of the third DC holds %d", plan.PerNode[9].After)
	}
}

func TestSameRingStays(t *testing.T) {
	members := cluster(7, 3)
	r, _ := mustBuild(t, nil, members, Options{})
	slices.Reverse(members)
	again, plan := mustBuild(t, r, members, Options{})
	if plan.Moves() > 0 || !slices.Equal(again.ids, r.ids) {
		t.Fatalf("%d moves for nothing", plan.Moves())
	}
	twin, _ := mustBuild(t, nil, members, Options{})
	if twin.Hash() != r.Hash() {
		t.Fatal("the order of members makes another ring")
	}
}

// randomMembers returns members over some DCs and racks with some weights.
func randomMembers(rng *rand.Rand, n int, firstID NodeID) []Member {
	members := make([]Member, n)
	dcs, racks := 1+rng.IntN(3), 1+rng.IntN(4)
	for i := range members {
		members[i] = Member{
			ID: firstID + NodeID(i), Weight: []float64{1, 1, 1, 2, 0.5}[rng.IntN(5)],
			DC: fmt.Sprint("dc", rng.IntN(dcs)), Rack: fmt.Sprint("r", rng.IntN(racks)),
		}
	}
	return members
}

// TestRandomHistories lets random members join, leave and change weight.
func TestRandomHistories(t *testing.T) {
	moves, least := 0, 0
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 2))
		members := randomMembers(rng, 1+rng.IntN(10), 1)
		r, plan := mustBuild(t, nil, members, Options{Partitions: 16 << rng.IntN(4), N: 1 + rng.IntN(4)})
		checkRing(t, r, plan)
		for step := range 8 {
			switch at := rng.IntN(len(members)); {
			case rng.IntN(3) > 0 || len(members) == 1:
				members = append(members, randomMembers(rng, 1, NodeID(100+step))...)
			case rng.IntN(2) == 0:
				members = slices.Delete(members, at, at+1)
			default:
				members[at].Weight *= 2
			}
			prev := r
			r, plan = mustBuild(t, prev, members, Options{})
			checkRing(t, r, plan)
			moves += plan.Moves()
			if plan.Moves() == plan.MinMoves {
				least += plan.MinMoves
				continue
			}
			exact := fairnessOf(r).leastMoves(prev.draft().lists)
			least += exact
			if slack := exact/20 + 2; plan.Moves() > exact+slack {
				t.Errorf("seed %d, step %d: %d moves where %d do", seed, step, plan.Moves(), exact)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d moves where %d do", moves, least)
	if float64(moves) > 1.05*float64(least) {
		t.Errorf("%d moves in all where %d do", moves, least)
	}
}

func TestLargeClusterIsFast(t *testing.T) {
	start := time.Now()
	members := cluster(200, 20)
	r, plan := mustBuild(t, nil, members, Options{Partitions: 4096})
	checkRing(t, r, plan)
	built := time.Now()
	grown, plan := mustBuild(t, r, cluster(201, 20), Options{})
	checkRing(t, grown, plan)
	if float64(plan.Moves()) > 1.05*float64(plan.MinMoves) {
		t.Errorf("%d moves of %d", plan.Moves(), plan.MinMoves)
	}
	t.Logf("new %v, one more %v", built.Sub(start), time.Since(built))
	if time.Since(start) > 30*time.Second {
		t.Errorf("both took %v", time.Since(start))
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{3, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				mustBuild(b, nil, cluster(n, n), Options{Partitions: 4096})
			}
		})
	}
}

func TestLeavingMembersHoldNothing(t *testing.T) {
	members := cluster(6, 3)
	r, _ := mustBuild(t, nil, members, Options{})
	members[1].State, members[2].Weight = Leaving, 0
	r, plan := mustBuild(t, r, members, Options{})
	checkRing(t, r, plan)
	if plan.PerNode[1].After+plan.PerNode[2].After != 0 || plan.PerNode[1].Before != 128 || len(r.Members) != 6 {
		t.Fatalf("%+v", plan.PerNode)
	}
	for p := range Partition(r.Q) {
		if f := r.Fallbacks(p, nil); len(f) != 1 || f[0] == 2 || f[0] == 3 {
			t.Fatalf("fallbacks %v", f)
		}
	}
}

func TestReplicasChange(t *testing.T) {
	r, _ := mustBuild(t, nil, cluster(7, 7), Options{})
	for _, n := range []int{2, 5, 1, 3} {
		before := r.EffectiveN()
		var plan *Plan
		r, plan = mustBuild(t, r, cluster(7, 7), Options{N: n})
		checkRing(t, r, plan)
		if want := max(n-before, 0) * 256; plan.Moves() < want || plan.Moves() > plan.MinMoves+want/20+2 {
			t.Errorf("from %d to %d: %d moves of %d", before, n, plan.Moves(), want)
		}
	}
}

// Joining moves what the new node gets and nothing else; leaving moves what the
// old one had and nothing else, whatever has to be rounded.
func TestJoinAndLeaveMoveOnlyThatShare(t *testing.T) {
	for n := 4; n <= 40; n++ {
		r, _ := mustBuild(t, nil, cluster(n, 1), Options{Partitions: 64})
		grown, plan := mustBuild(t, r, cluster(n+1, 1), Options{})
		checkRing(t, grown, plan)
		if got := plan.PerNode[n].After; got < 192/(n+1) || plan.Moves() != got {
			t.Errorf("node %d gets %d, %d move", n+1, got, plan.Moves())
		}
		shrunk, plan := mustBuild(t, grown, cluster(n+1, 1)[1:], Options{})
		checkRing(t, shrunk, plan)
		if had := grown.holdings(1); plan.Moves() != had {
			t.Errorf("node 1 of %d had %d, %d move", n+1, had, plan.Moves())
		}
	}
}
