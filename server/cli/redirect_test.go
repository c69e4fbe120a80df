package cli

import (
	"testing"

	"kvstore/cluster/ring"
)

// fakeRouter is the first node of a ring; dead ones are listed.
type fakeRouter struct {
	fakeTopology
	dead map[ring.NodeID]bool
}

func (f fakeRouter) State(id ring.NodeID) string {
	if f.dead[id] {
		return "dead"
	}
	return "alive"
}

func TestRedirect(t *testing.T) {
	r, _, err := ring.Build(nil, threeMembers(), ring.Options{ClusterID: 1, ClusterName: "kvstore", Partitions: 8, N: 2})
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("k")
	for p := r.OfSlot(ring.SlotOf(key)); r.Holds(p, 1); p = r.OfSlot(ring.SlotOf(key)) {
		key = append(key, 'k') // until node 1 holds no replica
	}
	replicas := r.Replicas(r.OfSlot(ring.SlotOf(key)))
	first, second := r.Member(replicas[0]).Client, r.Member(replicas[1]).Client
	for _, tc := range []struct {
		what string
		dead []ring.NodeID
		want string
	}{
		{"all live", nil, first},
		{"the first is dead", replicas[:1], second},
		{"the second is dead", replicas[1:2], first},
		{"all are dead", replicas, ""},
	} {
		dead := map[ring.NodeID]bool{}
		for _, id := range tc.dead {
			dead[id] = true
		}
		slot, addr := redirect(fakeRouter{fakeTopology{ring: r}, dead})(key)
		if addr != tc.want || slot != int(ring.SlotOf(key)) {
			t.Errorf("%s: slot %d at %q, want %q", tc.what, slot, addr, tc.want)
		}
	}
	if _, addr := redirect(fakeRouter{fakeTopology: fakeTopology{}})(key); addr != "" {
		t.Errorf("without a ring: %q", addr)
	}
	for key := []byte("x"); ; key = append(key, 'x') {
		if !r.Holds(r.OfSlot(ring.SlotOf(key)), 1) {
			continue
		}
		if _, addr := redirect(fakeRouter{fakeTopology: fakeTopology{ring: r}})(key); addr != "" {
			t.Errorf("a key held here: %q", addr)
		}
		break
	}
}
