package cluster

import (
	"testing"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
)

// How many replicas are sure to have a write that was acknowledged, at the least.
func TestWriteQuorum(t *testing.T) {
	one := &ring.Ring{Members: []ring.Member{{DC: "east"}, {DC: "east"}, {DC: "east"}}}
	two := &ring.Ring{Members: []ring.Member{{DC: "east"}, {DC: "west"}, {DC: "east"}, {DC: "west"}}}
	few := &ring.Ring{Members: []ring.Member{{DC: "east", Weight: 1}, {DC: "east", Weight: 1}, {DC: "east", Weight: 1}, {DC: "east", Weight: 1}, {DC: "west", Weight: 1}}}
	uneven := &ring.Ring{Members: two.Members, PerDC: []ring.DCReplicas{{DC: "east", N: 5}, {DC: "west", N: 1}}}
	for _, c := range []struct {
		name     string
		ring     *ring.Ring
		w        coordinator.Level
		replicas int
		want     int
	}{
		{"quorum", two, coordinator.Quorum, 6, 4},
		{"each", two, coordinator.EachQuorum, 6, 4},
		{"one data centre", one, coordinator.LocalQuorum, 3, 2},
		{"no ring", nil, coordinator.LocalQuorum, 3, 2},
		{"one of two data centres", two, coordinator.LocalQuorum, 6, 2},
		{"anybody there", two, coordinator.LocalOne, 6, 1},
		{"the smaller of two", uneven, coordinator.LocalQuorum, 6, 1},
		{"one has a node only, and so one replica", few, coordinator.LocalQuorum, 5, 1},
		{"fewer replicas than data centres", two, coordinator.LocalQuorum, 1, 1},
	} {
		if got := writeQuorum(c.ring, c.w, c.replicas); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
