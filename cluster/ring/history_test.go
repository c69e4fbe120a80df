package ring

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// history is a ring that random changes happen to.
type history struct {
	*testing.T
	rng          *rand.Rand
	r            *Ring
	next         NodeID
	moves, least int
	worst        string
	over         int
}

// TestRandomChanges makes random changes, at rest and in the middle of transfers,
// and checks after each that the planned table is fair and spread, that what moves
// is little more than the exact least, and at every step that what lookups say of
// a partition follows from its transfer.
func TestRandomChanges(t *testing.T) {
	moves, least, over, worst := 0, 0, 0, ""
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 7))
		h := &history{T: t, rng: rng, next: 1}
		h.r, _ = mustBuild(t, nil, []Member{h.member()}, Options{Partitions: 16 << rng.IntN(3), N: 1 + rng.IntN(4)})
		for range rng.IntN(8) {
			h.r = must(t)(Join(h.r, h.member(), false))
		}
		h.change("commit", Commit{})
		for range 10 {
			h.step()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		moves, least = moves+h.moves, least+h.least
		if h.over > over {
			over, worst = h.over, fmt.Sprintf("seed %d, %s", seed, h.worst)
		}
	}
	t.Logf("%d replicas travel where %d have to, %.2f %% more; at most %d more: %s",
		moves, least, 100*float64(moves-least)/float64(least), over, worst)
	if float64(moves) > 1.01*float64(least) {
		t.Errorf("%d moves in all where %d do", moves, least)
	}
}

func (h *history) member() Member {
	h.next++
	return Member{
		ID: h.next, Name: fmt.Sprint("n", h.next), Weight: []float64{1, 1, 1, 2, 0.5}[h.rng.IntN(5)],
		DC: fmt.Sprint("dc", h.rng.IntN(2)), Rack: fmt.Sprint("r", h.rng.IntN(3)),
	}
}

// step makes one random change, after all, some or none of the transfers before it.
func (h *history) step() {
	h.Helper()
	switch h.rng.IntN(4) {
	case 0:
		h.walk(h.rng.IntN(20))
	case 1:
		h.r = must(h)(Abort(h.r))
		h.check(nil)
	default:
		h.finish()
	}
	id := h.r.Members[h.rng.IntN(len(h.r.Members))].ID
	switch h.rng.IntN(8) {
	case 0, 1, 2:
		r, m := h.r, h.member()
		h.r = must(h)(Join(r, m, false))
		h.change("join "+m.Name, Commit{})
	case 3:
		h.change("decommission", Decommission{ID: id})
	case 4:
		h.change("remove", Remove{ID: id})
	case 5:
		m := h.member()
		h.r = must(h)(Join(h.r, m, false))
		h.change("replace", Replace{Old: id, New: m.ID})
	case 6:
		h.change("weight", Weight{ID: id, W: []float64{0, 0.5, 1, 3}[h.rng.IntN(4)]})
	case 7:
		if h.rng.IntN(2) == 0 {
			h.change("n", Replication{N: 1 + h.rng.IntN(5)})
		} else {
			h.change("per dc", Replication{PerDC: []DCReplicas{{"dc1", 1 + h.rng.IntN(3)}, {"dc0", 1 + h.rng.IntN(3)}}})
		}
	}
}

// change makes a change unless it is refused, and checks the plan.
func (h *history) change(what string, c Change) {
	h.Helper()
	before := h.r
	next, plan, err := Replan(before, c)
	if err != nil {
		return
	}
	h.r = next
	f := h.check(plan)
	if h.Failed() {
		h.Fatalf("%s (%+v) of ring\n%+v", what, c, before.Members)
	}
	if next == before {
		return
	}
	d := before.draft()
	d.Members = slices.Clone(next.Members)
	d.Transfers = slices.DeleteFunc(slices.Clone(next.Transfers), func(x Transfer) bool { return x.Step == Waiting })
	for p := range d.lists {
		d.lists[p] = slices.Clone(next.Replicas(Partition(p)))
	}
	moves, least := plan.Moves(), f.leastMoves(d.settled())
	h.moves, h.least = h.moves+moves, h.least+least
	if moves < least || moves < plan.MinMoves {
		h.Fatalf("%s: %d moves are fewer than %d or %d, which is the least", what, moves, least, plan.MinMoves)
	}
	if moves > least+least/20+2 {
		h.Errorf("%s: %d moves where %d do", what, moves, least)
	}
	if moves-least > h.over {
		h.over, h.worst = moves-least, fmt.Sprintf("%s: %d moves where %d do", what, moves, least)
	}
}

// check checks that the transfers lead to a fair table and that the plan says so.
func (h *history) check(plan *Plan) *fairness {
	h.Helper()
	checkSteps(h, h.r)
	if again, err := Decode(h.r.Encode()); err != nil || again.Hash() != h.r.Hash() {
		h.Fatalf("the ring cannot be encoded: %v", err)
	}
	if plan == nil {
		return nil
	}
	f := fairnessOf(h.r)
	held := map[NodeID]int{}
	for p, list := range h.r.draft().settled() {
		if len(list) != f.n {
			h.Fatalf("partition %d will have %d replicas, not %d", p, len(list), f.n)
		}
		dcs, racks := map[string]int{}, map[[2]string]int{}
		for _, id := range list {
			held[id]++
			m := f.nodes[id]
			if m == nil {
				h.Fatalf("partition %d will be with %v, who is to hold nothing", p, id)
			}
			dcs[m.DC]++
			racks[[2]string{m.DC, m.Rack}]++
		}
		for dc, n := range dcs {
			if n > f.dcs[dc] {
				h.Fatalf("partition %d will have %d replicas in %s: %v", p, n, dc, list)
			}
		}
		for rack, n := range racks {
			if n > f.racks[rack] {
				h.Fatalf("partition %d will have %d replicas in %s: %v", p, n, rack, list)
			}
		}
	}
	for _, s := range plan.PerNode {
		low, high := 0, 0
		if f.nodes[s.ID] != nil {
			low, high = f.bounds(s.ID)
		}
		if held[s.ID] < low || held[s.ID] > high {
			h.Errorf("%v will hold %d, not %.2f (%+v)", s.ID, held[s.ID], f.share[s.ID], s)
		}
		if s.After != held[s.ID] {
			h.Errorf("the plan says %+v, it will be %d", s, held[s.ID])
		}
	}
	return f
}

// walk takes random transfers some steps on.
func (h *history) walk(steps int) {
	h.Helper()
	for range steps {
		if len(h.r.Transfers) == 0 {
			return
		}
		x, _ := h.r.TransferOf(h.r.Transfers[h.rng.IntN(len(h.r.Transfers))].Partition)
		before := h.living(x.Partition)
		if x.Step == Copying && h.rng.IntN(5) == 0 {
			h.r = must(h)(Retreat(h.r, []Partition{x.Partition}))
		} else {
			h.r = stepOn(h, h.r, x)
		}
		if now := h.living(x.Partition); now < min(before, h.r.N) {
			h.Fatalf("%+v: %d living replicas, there were %d", x, now, before)
		}
	}
	checkSteps(h, h.r)
}

func (h *history) living(p Partition) int { return h.r.living(h.r.Replicas(p)) }

// finish takes all transfers to their end and lets go who has none left.
func (h *history) finish() {
	h.Helper()
	h.r = finishAll(h, h.r)
	if paused := must(h)(Pause(h.r, true)); !slices.Equal(paused.ids, h.r.ids) {
		h.Fatal("primaries of a ring at rest change")
	}
	for _, m := range h.r.Members {
		if m.State == Leaving || m.State == Removed {
			h.r = must(h)(Retire(h.r, m.ID))
		}
	}
}
