package ring

import (
	"slices"
	"testing"
)

func TestRebirth(t *testing.T) {
	r := busyRing(t)
	next := must(t)(Rebirth(r, "again", "monday"))
	if !slices.Equal(next.ids, r.ids) && len(r.Transfers) > 0 {
		t.Error("a new life has another table")
	}
	if !slices.Equal(next.Transfers, r.Transfers) || next.Generation != r.Generation+1 || next.ClusterName != "again" || len(next.Prev) != 0 {
		t.Errorf("generation %d of %q, %d transfers, after %d voters", next.Generation, next.ClusterName, len(next.Transfers), len(next.Prev))
	}
	for i, m := range next.Members {
		if m.Incarnation == 0 || m.Incarnation == r.Members[i].Incarnation || i > 0 && m.Incarnation == next.Members[i-1].Incarnation {
			t.Errorf("member %s is in incarnation %x", m.Name, m.Incarnation)
		}
	}
	if same := must(t)(Rebirth(r, "again", "monday")); same.Hash() != next.Hash() {
		t.Error("two nodes with one ring, name and word differ")
	}
	later := must(t)(Incarnate(r, r.Members[0].ID, 77, r.Members[0]))
	for what, other := range map[string]*Ring{
		"word": must(t)(Rebirth(r, "again", "tuesday")),
		"name": must(t)(Rebirth(r, "other", "monday")),
		"ring": must(t)(Rebirth(later, "again", "monday")),
	} {
		if other.ClusterID == next.ClusterID {
			t.Errorf("another %s, and it is the same cluster", what)
		}
	}
	if _, err := Rebirth(r, "again", ""); err == nil {
		t.Error("a life without a word")
	}
}

func TestMissing(t *testing.T) {
	before := founded(t, 3, Options{Partitions: 16, N: 2})
	if ps := before.Missing(before, before.Members[0].ID); len(ps) > 0 {
		t.Errorf("a node lacks %v of its own ring", ps)
	}
	after, _ := mustReplan(t, before, Decommission{ID: before.Members[0].ID})
	after = finishAll(t, after)
	for _, m := range before.Members[1:] {
		want := 0
		for p := range Partition(after.Q) {
			if after.Holds(p, m.ID) && !before.Holds(p, m.ID) {
				want++
			}
		}
		if ps := after.Missing(before, m.ID); want == 0 || len(ps) != want {
			t.Errorf("node %s got %d partitions, and lacks %v", m.Name, want, ps)
		}
	}
}
