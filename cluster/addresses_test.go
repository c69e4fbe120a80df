package cluster

import (
	"testing"

	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
)

func TestAMemberStartedAtAnotherAddressIsFollowed(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	if err := n.adopt(withAnother(t, n)); err != nil {
		t.Fatal(err)
	}
	r := n.Ring()
	var other ring.NodeID
	for _, m := range r.Members {
		if m.ID != n.id.Node {
			other = m.ID
		}
	}
	(*events)(n).Alive(membership.Meta{
		NodeID: other, Incarnation: 1, ClusterID: r.ClusterID, Epoch: r.Epoch, Name: "another", DC: "dc1", Rack: "rack1", Weight: 1,
		RPC: "127.0.0.1:9", Client: "127.0.0.1:10", Gossip: "127.0.0.1:11",
	})
	for _, p := range n.peersOf(r) {
		if p.ID == other && p.Addr != "127.0.0.1:9" {
			t.Errorf("connects to %s", p.Addr)
		}
	}
	for _, m := range n.Nodes() {
		if m.ID == other && m.Client != "127.0.0.1:10" {
			t.Errorf("clients are sent to %s", m.Client)
		}
	}
}
