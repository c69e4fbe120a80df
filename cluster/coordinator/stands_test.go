package coordinator

import (
	"testing"

	"kvstore/cluster/version"
)

// TestStandsBeside: two writes of one node reach a replica in the wrong order, and it
// holds a deletion that was acknowledged before both and is newer than both by its
// clock. Neither write is in force there, so neither may be acknowledged; found by
// seed 202 of the simulator.
func TestStandsBeside(t *testing.T) {
	a1, a2 := version.Dot{Node: 1, Time: 10}, version.Dot{Node: 1, Time: 11}
	other := version.Dot{Node: 2, Time: 20}
	object := func(siblings ...version.Dot) *version.Object {
		var o version.Object
		for _, d := range siblings {
			o.Siblings = append(o.Siblings, version.Sibling{Dot: d, Kind: version.String})
			o.Context.Add(d)
		}
		return &o
	}
	for _, c := range []struct {
		name string
		held *version.Object
		want bool
	}{
		{"the same", object(a1), false},
		{"beside the write", object(a1, other), true},
		{"replaced by the node's next write", object(a2), false},
		{"replaced, and something unseen beside it", object(a2, other), true},
		{"replaced by the only sibling", object(other), false},
	} {
		if got := standsBeside(c.held, object(a1)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
