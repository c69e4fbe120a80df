package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/config"
	"kvstore/server/admin"
	"kvstore/server/command"
	"kvstore/storage"
)

// fakeTopology is a node of a ring of three; the first one.
type fakeTopology struct {
	command.Topology
	ring  *ring.Ring
	ready error
}

func (f fakeTopology) Ready() error      { return f.ready }
func (f fakeTopology) Ring() *ring.Ring  { return f.ring }
func (f fakeTopology) Self() ring.Member { return threeMembers()[0] }
func (f fakeTopology) Nodes() []command.NodeStatus {
	var list []command.NodeStatus
	for _, m := range append(threeMembers(), ring.Member{ID: 9, Name: "stranger", Gossip: "h9:1"}) {
		list = append(list, command.NodeStatus{Member: m, State: "alive", Heartbeat: time.Unix(int64(m.ID), 0), Connected: true, Epoch: 1, Partitions: 8, PrimaryPartitions: 3})
	}
	return list
}

func threeMembers() []ring.Member {
	var members []ring.Member
	for i := 1; i <= 3; i++ {
		n := strconv.Itoa(i)
		members = append(members, ring.Member{ID: ring.NodeID(i), Incarnation: 1, Name: "n" + n, DC: "dc1", Rack: "r" + n, Weight: 1, RPC: "h" + n + ":3", Gossip: "h" + n + ":2", Client: "h" + n + ":1"})
	}
	return members
}

func TestSource(t *testing.T) {
	r, _, err := ring.Build(nil, threeMembers(), ring.Options{ClusterID: 0xc1, ClusterName: "kvstore", Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	var joined []string
	s := &source{node: fakeTopology{ring: r}, clusterName: "kvstore", join: func(_ context.Context, gossip []string) error {
		joined = gossip
		return nil
	}, clock: func() string { return "it is early" }, refill: func() *admin.Refill { return &admin.Refill{Partitions: 9, Done: 2} }}
	list := s.Nodes()
	if list.ClusterID != "00000000000000c1" || list.Self != "0000000000000001" || !list.Ready || list.Clock != "it is early" || list.Filling != 7 || list.Epoch != 1 || list.Partitions != 8 || len(list.Nodes) != 4 {
		t.Errorf("node list %+v", list)
	}
	if n := list.Nodes[1]; n.Name != "n2" || n.Address != "h2:1" || n.Gossip != "h2:2" || n.RPC != "h2:3" || !n.Member || n.State != "alive" || n.Replicas != 8 || n.Primaries != 3 || n.Heartbeat.Unix() != 2 {
		t.Errorf("node %+v", n)
	}
	if list.Nodes[3].Member {
		t.Error("a node outside of the ring is shown as its member")
	}
	view := s.Ring()
	if len(view.Members) != 3 || len(view.Partitions) != 8 || view.Slots != 16384 || view.Members[2].State != "alive" {
		t.Errorf("ring %+v", view)
	}
	if p := view.Partitions[7]; p.FirstSlot != 14336 || p.LastSlot != 16383 || len(p.Replicas) != 3 {
		t.Errorf("partition %+v", p)
	}
	if err := s.Merge(t.Context(), list.Nodes[1:3]); err != nil || !slices.Equal(joined, []string{"h2:2", "h3:2"}) {
		t.Errorf("joined %v, %v", joined, err)
	}
}

func TestSourceWithoutRing(t *testing.T) {
	s := &source{node: fakeTopology{ready: errors.New("joining")}, clusterName: "kvstore", clock: func() string { return "" }, refill: func() *admin.Refill { return nil }}
	if list := s.Nodes(); list.Ready || list.Reason != "joining" || list.Epoch != 0 || list.Nodes[0].Member {
		t.Errorf("node list %+v", list)
	}
	if view := s.Ring(); len(view.Partitions) != 0 || view.Partitions == nil {
		t.Errorf("ring %+v", view)
	}
}

// What config allows for levels, modes and flushes is what they are named where
// they are used.
func TestConfiguredWordsAreKnown(t *testing.T) {
	for word, want := range map[string]coordinator.Level{"one": 1, "two": 2, "three": 3, "quorum": coordinator.Quorum, "all": coordinator.All,
		"local_one": coordinator.LocalOne, "local_quorum": coordinator.LocalQuorum, "each_quorum": coordinator.EachQuorum, "2": 2} {
		c, err := config.Load([]config.Setting{{Key: "replication.r", Value: word}, {Key: "replication.mode", Value: "strict"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := levels(c); got.R != want || got.W != coordinator.Quorum || got.Mode != coordinator.Strict {
			t.Errorf("%s became %+v", word, got)
		}
	}
	for word, want := range map[string]storage.SyncPolicy{"always": storage.SyncAlways, "everysec": storage.SyncEverySecond, "never": storage.SyncNever} {
		if got := syncPolicy(word); got != want {
			t.Errorf("%s became %v", word, got)
		}
	}
}
