package sim

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestShrink(t *testing.T) {
	whole := FromSeed(6)
	if len(whole.Plan.Strikes) < 9 {
		t.Fatalf("a plan of %d strikes is too small for this test", len(whole.Plan.Strikes))
	}
	runs := 0
	least := Shrink(whole, 300, func(c Config) bool {
		runs++
		n := c.Plan.numbers()
		return slices.Contains(n, 3) && slices.Contains(n, 8) && c.Ops >= 30 && c.Clients >= 2 && slices.Contains(c.working(), "s1")
	})
	if n := least.Plan.numbers(); !slices.Equal(n, []int{3, 8}) {
		t.Errorf("left are faults %v, want 3 and 8", n)
	}
	if least.Ops > 60 || least.Clients > 3 || !slices.Equal(least.working(), []string{"s1"}) || runs > 300 {
		t.Errorf("left are %d operations of %d clients on %v, after %d runs", least.Ops, least.Clients, least.working(), runs)
	}
	for _, want := range []string{"-seed=6", "-strikes=3,8", "-ops=", "-keys=s1", "-length="} {
		if f := least.Flags(); !strings.Contains(f, want) {
			t.Errorf("flags %q lack %s", f, want)
		}
	}
}

func TestPlansOfASeedAreTheSame(t *testing.T) {
	for seed := range uint64(40) {
		a, b := FromSeed(seed), FromSeed(seed)
		if !reflect.DeepEqual(a.Plan, b.Plan) {
			t.Errorf("seed %d has two plans", seed)
		}
		if a.Plan.Length < shortest {
			t.Errorf("seed %d lasts %v", seed, a.Plan.Length)
		}
		if f := a.Flags(); strings.Count(f, "-") != 2 {
			t.Errorf("the whole seed %d is %s", seed, f)
		}
	}
}
