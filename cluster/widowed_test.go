package cluster

import (
	"fmt"
	"slices"
	"testing"

	"kvstore/cluster/ring"
)

// What only a dead node may have told a reader of is looked for at the other replicas
// before the node that is left answers: the one that had just taken its place, and the one
// whose place it had taken.
func TestWhoIsLeftOfATransferIsFilledFirst(t *testing.T) {
	t.Parallel()
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprint(leaves), func(t *testing.T) {
			t.Parallel()
			n := openAlone(t)
			members := slices.Clone(n.Ring().Members)
			for i := range ring.NodeID(3) {
				m := n.member()
				m.ID, m.Name = i+1, fmt.Sprint("n", i+1)
				members = append(members, m)
			}
			r, _, err := ring.Build(n.Ring(), members, ring.Options{})
			if err != nil {
				t.Fatal(err)
			}
			gone := ring.NodeID(1)
			if leaves {
				gone = n.id.Node
			}
			if r, _, err = ring.Replan(r, ring.Decommission{ID: gone}); err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(r.Transfers, func(m ring.Transfer) bool {
				return m.From == gone && (leaves || m.To == n.id.Node)
			})
			if at < 0 {
				t.Fatal("nothing moves")
			}
			moved := r.Transfers[at]
			other := moved.From
			if leaves {
				other = moved.To
			}
			adopt := func(err error) {
				t.Helper()
				if err == nil {
					err = n.adopt(r)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			adopt(nil)
			for _, step := range []func(*ring.Ring, ring.NodeID, []ring.Partition) (*ring.Ring, error){ring.Begin, ring.Switch} {
				r, err = step(r, moved.To, []ring.Partition{moved.Partition})
				adopt(err)
			}
			r, _, err = ring.Replan(r, ring.Remove{ID: other})
			adopt(err)
			token, _ := r.TokenRange(moved.Partition)
			if !r.Holds(moved.Partition, n.id.Node) || n.coord.Filled(token) {
				t.Error("it answers reads")
			}
		})
	}
}
