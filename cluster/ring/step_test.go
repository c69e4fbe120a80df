package ring

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// founded returns a ring of members 1 to n.
func founded(t testing.TB, n int, o Options) *Ring {
	t.Helper()
	r, _ := mustBuild(t, nil, cluster(n, 1), o)
	return r
}

func must(t testing.TB) func(r *Ring, err error) *Ring {
	return func(r *Ring, err error) *Ring {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func mustReplan(t testing.TB, r *Ring, changes ...Change) (*Ring, *Plan) {
	t.Helper()
	next, plan, err := Replan(r, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return next, plan
}

// busyRing returns a ring with transfers of every kind at every step.
func busyRing(t testing.TB) *Ring {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	r := founded(t, 5, Options{ClusterID: 42, ClusterName: "kvstore", Partitions: 16})
	r, _ = mustReplan(t, r, Replication{N: 2})
	r = walk(t, rng, r, 20)
	r = must(t)(Join(r, Member{ID: 9, Name: "n9", DC: "dc1", Rack: "r1", Weight: 1}, true))
	r = must(t)(Join(r, Member{ID: 10, Name: "n10", DC: "dc2", Rack: "r1", Weight: 1}, false))
	r, _ = mustReplan(t, r, Replication{N: 3}, Remove{ID: 2}, Decommission{ID: 4})
	r = walk(t, rng, r, 20)
	r = must(t)(Pause(r, true))
	checkSteps(t, r)
	return r
}

// walk takes random transfers some steps on.
func walk(t testing.TB, rng *rand.Rand, r *Ring, steps int) *Ring {
	t.Helper()
	for range steps {
		if len(r.Transfers) == 0 {
			return r
		}
		first, _ := r.TransferOf(r.Transfers[rng.IntN(len(r.Transfers))].Partition)
		r = stepOn(t, r, first)
	}
	return r
}

// stepOn takes one transfer a step on.
func stepOn(t testing.TB, r *Ring, x Transfer) *Ring {
	t.Helper()
	step := [...]func(*Ring, NodeID, []Partition) (*Ring, error){Begin, Switch, Finish}[x.Step]
	if x.Step == Copying && !r.paired(x) {
		step = Finish
	}
	return must(t)(step(r, x.Driver(), []Partition{x.Partition}))
}

// finishAll takes all transfers to their end, each driver its queue's first.
func finishAll(t testing.TB, r *Ring) *Ring {
	t.Helper()
	for len(r.Transfers) > 0 {
		before := r.Epoch
		for i := range r.Members {
			queue := r.Queue(r.Members[i].ID)
			var ps []Partition
			for _, x := range queue[:min(len(queue), 16)] {
				ps = append(ps, x.Partition)
			}
			if len(ps) == 0 {
				continue
			}
			r = must(t)(Begin(r, r.Members[i].ID, ps))
			checkSteps(t, r)
			ps = slices.DeleteFunc(ps, func(p Partition) bool {
				x, _ := r.TransferOf(p)
				return !r.paired(x)
			})
			if len(ps) > 0 {
				r = must(t)(Switch(r, r.Members[i].ID, ps))
				checkSteps(t, r)
			}
		}
		for _, x := range slices.Clone(r.Transfers) {
			if x.Step != Waiting {
				r = stepOn(t, r, x)
			}
		}
		if r.Epoch == before {
			t.Fatalf("transfers that nobody begins: %v", r.Transfers)
		}
	}
	return r
}

// checkSteps checks what lookups say of the transfers under way against the
// table at Transfer.
func checkSteps(t testing.TB, r *Ring) {
	t.Helper()
	for p := range Partition(r.Q) {
		list := r.Replicas(p)
		if len(list) == 0 || len(list) > r.EffectiveN() {
			t.Fatalf("partition %d has %d of %d replicas", p, len(list), r.EffectiveN())
		}
		place, partner, paired := r.Partner(p)
		unfilled, fills := r.Unfilled(p)
		x, any := r.TransferOf(p)
		under := any && x.Step != Waiting
		switch {
		case !under:
			if paired || fills {
				t.Fatalf("partition %d: a partner or a fill without a transfer under way", p)
			}
		case x.From != 0 && r.Member(x.From).State == Removed:
			if paired || !fills || list[unfilled] != x.To {
				t.Fatalf("partition %d: %+v, unfilled %d of %v", p, x, unfilled, list)
			}
		case x.To == 0:
			if paired || fills || !slices.Contains(list, x.From) {
				t.Fatalf("partition %d: %+v of %v", p, x, list)
			}
		default:
			want, other := x.To, x.From
			if x.Step == Switched {
				want, other = x.From, x.To
			}
			if other == 0 {
				living := slices.DeleteFunc(slices.Clone(list), func(id NodeID) bool { return r.Member(id).State == Removed })
				other = living[len(living)-1]
			}
			if !paired || fills || partner != want || list[place] != other || slices.Contains(list, partner) {
				t.Fatalf("partition %d: %+v, partner %v at place %d of %v", p, x, partner, place, list)
			}
		}
		for _, id := range r.Fallbacks(p, nil) {
			if id == partner || slices.Contains(list, id) || r.Member(id).State == Removed {
				t.Fatalf("partition %d: fallback %v", p, id)
			}
		}
	}
}

func TestOneNodeBecomesThreeAndOneAgain(t *testing.T) {
	r := founded(t, 1, Options{Partitions: 16})
	r = must(t)(Join(r, cluster(2, 1)[1], true))
	if len(r.Transfers) != 16 || r.EffectiveN() != 1 || !slices.Equal(r.Prev, []NodeID{1}) || !slices.Equal(r.Voters(), []NodeID{1, 2}) {
		t.Fatalf("%d transfers, %d replicas, voters %v after %v", len(r.Transfers), r.EffectiveN(), r.Voters(), r.Prev)
	}
	r = walk(t, rand.New(rand.NewPCG(1, 1)), r, 10) // the third comes while the second is filled
	r = must(t)(Join(r, cluster(3, 1)[2], true))
	r = finishAll(t, r)
	checkBalanced(t, r)
	if r.EffectiveN() != 3 || r.Voters()[2] != 3 {
		t.Fatalf("%d replicas", r.EffectiveN())
	}
	for _, n := range []int{2, 1} {
		r, _ = mustReplan(t, r, Replication{N: n}, Decommission{ID: NodeID(n + 1)})
		r = finishAll(t, r)
		r = must(t)(Retire(r, NodeID(n+1)))
		checkBalanced(t, r)
		if r.EffectiveN() != n || len(r.Members) != n || r.Gone[len(r.Gone)-1].Name != fmt.Sprint("n", n+1) {
			t.Fatalf("%d replicas, members %v, gone %v", r.EffectiveN(), r.Members, r.Gone)
		}
	}
}

// checkBalanced checks a ring at rest: that a plan for it moves nothing, and that
// primaries are divided.
func checkBalanced(t testing.TB, r *Ring) {
	t.Helper()
	again, plan := mustReplan(t, r, Commit{})
	if again != r || len(plan.Transfers) > 0 {
		t.Fatalf("a ring at rest moves %d replicas", len(plan.Transfers))
	}
	for _, s := range plan.PerNode {
		if s.After != s.Before {
			t.Fatalf("%+v in a ring at rest", s)
		}
	}
	if paused := must(t)(Pause(r, !r.Paused)); !slices.Equal(paused.ids, r.ids) {
		t.Fatal("primaries of a ring at rest change")
	}
}

func TestCodecOfTransfers(t *testing.T) {
	r := busyRing(t)
	seen := map[string]bool{}
	for _, x := range r.Transfers {
		kind := "move"
		switch {
		case x.To == 0:
			kind = "fewer"
		case x.From == 0:
			kind = "more"
		case r.Member(x.From).State == Removed:
			kind = "fill"
		}
		seen[fmt.Sprint(kind, " ", x.Step)] = true
	}
	for _, want := range []string{"fill waiting", "fill copying", "more waiting", "move waiting"} {
		if !seen[want] {
			t.Errorf("no transfer is %s: %v", want, seen)
		}
	}
	b := r.Encode()
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*got) != fmt.Sprint(*r) || !bytes.Equal(got.Encode(), b) {
		t.Fatalf("decoded\n%v, want\n%v", *got, *r)
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 1
		if _, err := Decode(reseal(damaged)); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

// TestGoldenRings keeps what directories hold readable: release1.ring is what the
// first release wrote, release2.ring what this one does (-update writes it).
func TestGoldenRings(t *testing.T) {
	old, err := os.ReadFile("testdata/release1.ring")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Decode(old)
	if err != nil {
		t.Fatal(err)
	}
	if r.ClusterID != 42 || r.ClusterName != "kvstore" || r.Epoch != 1 || r.Q != 16 || r.N != 3 || len(r.Members) != 5 ||
		r.Members[1].Weight != 2.5 || r.Members[2].State != Leaving || r.Members[4].Client != "[::1]:6379" || r.EffectiveN() != 3 || r.Holds(0, 3) {
		t.Fatalf("%+v", r)
	}
	now := busyRing(t).Encode()
	if *update {
		if err := os.WriteFile("testdata/release2.ring", now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if golden, err := os.ReadFile("testdata/release2.ring"); err != nil || !bytes.Equal(golden, now) {
		t.Fatalf("the encoding has changed: raise the version and read this one too (%v)", err)
	}
}

// What is due together is one change, and the same ring but for the epoch as one after another; where
// something of it is stale nothing changes.
func TestAdvanceIsAllStepsAtOnce(t *testing.T) {
	r := founded(t, 3, Options{ClusterID: 1, Partitions: 64})
	r = must(t)(Join(r, Member{ID: 4, Name: "n4", DC: "dc1", Rack: "r1", Weight: 1}, true))
	ps := r.Queue(4)
	var all []Partition
	for _, tr := range ps {
		all = append(all, tr.Partition)
	}
	r = must(t)(Begin(r, 4, all[:8]))
	r = must(t)(Switch(r, 4, all[:4]))
	steps := Steps{Finish: all[:4], Switch: all[4:8], Begin: all[8:12]}
	at := must(t)(Advance(r, 4, steps))
	one := must(t)(Begin(must(t)(Switch(must(t)(Finish(r, 4, steps.Finish)), 4, steps.Switch)), 4, steps.Begin))
	if at.Epoch != r.Epoch+1 || !slices.Equal(at.Transfers, one.Transfers) {
		t.Errorf("epoch %d after %d, transfers %v instead of %v", at.Epoch, r.Epoch, at.Transfers, one.Transfers)
	}
	for p := range Partition(r.Q) {
		if !slices.Equal(at.Replicas(p), one.Replicas(p)) {
			t.Errorf("partition %d: %v instead of %v", p, at.Replicas(p), one.Replicas(p))
		}
	}
	for _, bad := range []Steps{
		{Finish: all[:4], Switch: all[4:8], Begin: all[7:9]},
		{Finish: all[:5]},
		{Finish: all[:4], Begin: all[:1]},
		{Switch: all[4:9]},
	} {
		if next, err := Advance(r, 4, bad); err == nil {
			t.Errorf("%v leads to %v", bad, next.Transfers)
		}
	}
	if _, err := Advance(must(t)(Pause(r, true)), 4, steps); !errors.Is(err, ErrPaused) {
		t.Errorf("while moves are paused: %v", err)
	}
}

func TestStaleSteps(t *testing.T) {
	r := founded(t, 3, Options{Partitions: 16, N: 2})
	r = must(t)(Join(r, cluster(4, 1)[3], true))
	x := r.Transfers[0]
	one := []Partition{x.Partition}
	idle := 0
	for p := range Partition(r.Q) {
		if _, any := r.TransferOf(p); !any {
			idle = int(p)
		}
	}
	bereft, _ := mustReplan(t, must(t)(Begin(r, 4, one)), Remove{ID: x.From})
	tests := []struct {
		name string
		err  error
	}{
		{"switch waiting", second(Switch(r, 4, one))},
		{"finish waiting", second(Finish(r, 4, one))},
		{"switch what a death has made a refill", second(Switch(bereft, 4, one))},
		{"retreat waiting", second(Retreat(r, one))},
		{"other driver", second(Begin(r, x.From, one))},
		{"no transfer", second(Begin(r, 4, []Partition{Partition(idle)}))},
		{"retire active", second(Retire(r, 1))},
		{"retire nobody", second(Retire(r, 77))},
	}
	for _, test := range tests {
		if !errors.Is(test.err, ErrStale) {
			t.Errorf("%s: %v", test.name, test.err)
		}
	}
	if _, err := Begin(r, 4, []Partition{x.Partition, x.Partition}); err == nil {
		t.Error("a partition begins twice")
	}
	paused := must(t)(Pause(r, true))
	if _, err := Begin(paused, 4, one); !errors.Is(err, ErrPaused) {
		t.Errorf("begins while paused: %v", err)
	}
	if again := must(t)(Pause(paused, true)); again != paused {
		t.Error("pausing twice changes the ring")
	}
	begun := must(t)(Begin(r, 4, one))
	if _, err := Begin(begun, 4, one); !errors.Is(err, ErrStale) {
		t.Errorf("begins twice: %v", err)
	}
	back := must(t)(Retreat(begun, one))
	if !slices.Equal(back.Transfers, r.Transfers) || back.Epoch != r.Epoch+2 {
		t.Error("retreat is not the way back")
	}
}

func second(_ *Ring, err error) error { return err }

func TestNewerThan(t *testing.T) {
	a := founded(t, 3, Options{})
	b := must(t)(Pause(a, true))
	c, _, err := Recover(a, []NodeID{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	if !a.NewerThan(nil) || !b.NewerThan(a) || a.NewerThan(b) || a.NewerThan(a) || !c.NewerThan(b) || b.NewerThan(c) {
		t.Fatal("the order of rings")
	}
	if !slices.Equal(c.Voters(), []NodeID{1, 2}) || len(c.Prev) != 0 || c.EffectiveN() != 2 || len(c.Transfers) != 0 {
		t.Fatalf("recovered: voters %v after %v, %d replicas", c.Voters(), c.Prev, c.EffectiveN())
	}
	c = must(t)(Retire(c, 3))
	if err := c.Refusal(3, ""); err == nil || !strings.Contains(err.Error(), "n3 was removed") {
		t.Fatalf("the removed node is refused: %v", err)
	}
}
