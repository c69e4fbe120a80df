package coordinator

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"kvstore/cluster/ring"
)

// newer makes the ring after k's, which has a member more, and returns two keys
// for which node 1 is not the soft primary: one whose replicas are the same in
// both, and one whose replicas are not.
func (k *talk) newer() (next *ring.Ring, same, other string) {
	k.t.Helper()
	m := k.ring.Members[0]
	m.ID, m.Name, m.Incarnation = 4, "another", 4
	next, _, err := ring.Build(k.ring, append(slices.Clone(k.ring.Members), m), ring.Options{})
	if err != nil {
		k.t.Fatal(err)
	}
	for i := 0; same == "" || other == ""; i++ {
		key := fmt.Sprint("key", i)
		replicas := next.Replicas(next.PartitionOf(ring.TokenOf(0, []byte(key))))
		switch {
		case k.roles(key)[0].id == 1 || replicas[0] == 1 || replicas[0] == 4:
		case slices.Contains(replicas, 4):
			other = key
		default:
			same = key
		}
	}
	return next, same, other
}

// Nodes that are not at the same ring yet serve each other what both rings agree
// on, and the one behind hears of it.
func TestRequestsOfAnotherRing(t *testing.T) {
	type news struct {
		at, of ring.NodeID
		epoch  ring.Epoch
	}
	for _, op := range []string{"set", "get"} {
		for _, olderAsks := range []bool{true, false} {
			var told []news
			k := newTalk(t, 3, func(o *Options) {
				self := o.Self
				o.NewerRing = func(id ring.NodeID, e ring.Epoch) { told = append(told, news{self, id, e}) }
			})
			next, same, other := k.newer()
			for id, n := range k.nodes {
				if olderAsks != (id == 1) {
					n.SetRing(next, true)
				}
			}
			s := k.nodes[1].run(op, same, "v")
			k.deliverAll()
			if olderAsks {
				if !s.finished() || s.Err != nil {
					t.Errorf("%s where nothing changed: finished %v, %v", op, s.finished(), s.Err)
				}
				s = k.nodes[1].run(op, other, "v")
				k.deliverAll()
			}
			if !s.finished() || !errors.Is(s.Err, ErrNotReady) {
				t.Errorf("%s, asked by the older: %v: finished %v, %v", op, olderAsks, s.finished(), s.Err)
			}
			for _, n := range told {
				if n.epoch != next.Epoch || olderAsks != (n.at == 1) || olderAsks == (n.of == 1) {
					t.Errorf("%s, asked by the older: %v: told %+v", op, olderAsks, n)
				}
			}
			if len(told) == 0 {
				t.Errorf("%s, asked by the older: %v: nobody heard of it", op, olderAsks)
			}
		}
	}
}
