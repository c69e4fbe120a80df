package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/resp"
)

const testClusterID = 0x0123456789abcdef

// fakeCluster is a fakeNode with a ring around it.
type fakeCluster struct {
	*fakeNode
	ring    *ring.Ring
	self    ring.Member
	nodes   []NodeStatus
	levels  coordinator.Levels
	ready   error
	counts  map[uint8]int64
	flushed []int
}

func (f *fakeCluster) Ring() *ring.Ring    { return f.ring }
func (f *fakeCluster) Self() ring.Member   { return f.self }
func (f *fakeCluster) Nodes() []NodeStatus { return f.nodes }
func (f *fakeCluster) Ready() error        { return f.ready }

func (f *fakeCluster) Replication() (int, coordinator.Levels) { return 3, f.levels }

func (f *fakeCluster) FlushDB(_ context.Context, db int) error {
	f.flushed = append(f.flushed, db)
	return nil
}

func (f *fakeCluster) CountKeys(_ context.Context, db uint8) (int64, error) {
	if f.ready != nil {
		return 0, coordinator.ErrNoQuorum
	}
	return f.counts[db], nil
}

func (f *fakeCluster) CountKeysInSlot(_ context.Context, slot int) (int64, error) {
	return int64(slot), nil
}

func (f *fakeCluster) KeyInfo(_ context.Context, _ uint8, key []byte) (KeyInfo, error) {
	slot := ring.SlotOf(key)
	p := f.ring.OfSlot(slot)
	info := KeyInfo{Slot: int(slot), Partition: int(p), Epoch: f.ring.Epoch}
	for i, id := range f.ring.Replicas(p) {
		m := f.ring.Member(id)
		role := "replica"
		if i == 0 {
			role = "primary"
		}
		info.Replicas = append(info.Replicas, ReplicaInfo{ID: id, Name: m.Name, Addr: m.Client, DC: m.DC, Rack: m.Rack, Role: role, State: stateAlive})
	}
	return info, nil
}

// fakeConfig has settings of which some may be changed, to anything but "bad".
type fakeConfig struct {
	values  map[string]string
	runtime []string
}

func (f *fakeConfig) Get(pattern string) [][2]string {
	var out [][2]string
	for k, v := range f.values {
		if resp.Match([]byte(pattern), []byte(k)) {
			out = append(out, [2]string{k, v})
		}
	}
	return out
}

func (f *fakeConfig) Set(key, value string) error {
	if !slices.Contains(f.runtime, key) {
		return errors.New(key + " is fixed while the node runs")
	}
	if value == "bad" {
		return errors.New(key + " is not good")
	}
	f.values[key] = value
	return nil
}

// fakeClients are connections without sockets.
type fakeClients struct{ list []ClientInfo }

func (f *fakeClients) List() []ClientInfo { return slices.Clone(f.list) }

func (f *fakeClients) Kill(id uint64) bool {
	n := len(f.list)
	f.list = slices.DeleteFunc(f.list, func(c ClientInfo) bool { return c.ID == id })
	return len(f.list) < n
}

func (f *fakeClients) Count() (connected, blocked int) { return len(f.list), 2 }

// family is a client of a node that answers everything.
type family struct {
	*fakeClient
	cluster  *fakeCluster
	config   *fakeConfig
	clients  *fakeClients
	password string
	shutdown []bool // what Shutdown was called with
}

// newFamily makes a cluster of some members; 0 is a node not yet in a ring.
func newFamily(t testing.TB, members int) *family {
	t.Helper()
	f := &family{fakeClient: newFakeClient(t)}
	f.cluster = &fakeCluster{fakeNode: f.node, counts: map[uint8]int64{},
		levels: coordinator.Levels{R: coordinator.Quorum, W: coordinator.Quorum, Mode: coordinator.Strict}}
	f.cluster.self = testMember(1)
	if members > 0 {
		f.cluster.ring, f.cluster.nodes = testRing(t, members)
	} else {
		f.cluster.ready = coordinator.ErrNotReady
	}
	f.config = &fakeConfig{
		values: map[string]string{"server.listen": "127.0.0.1:7001", "server.maxclients": "10000", "server.timeout": "1m30s",
			"server.requirepass": "", "server.max_value": "512MiB", "storage.fsync": "never", "replication.w": "quorum"},
		runtime: []string{"server.maxclients", "server.timeout", "server.requirepass", "replication.w"},
	}
	now := time.Now()
	f.session.Addr, f.session.LAddr = "127.0.0.1:5001", "127.0.0.1:7001"
	f.session.Created, f.session.LastActive, f.session.Authenticated = now, now, true
	f.clients = &fakeClients{list: []ClientInfo{
		{Session: *f.session},
		{Session: Session{ID: 2, Proto: 3, Addr: "127.0.0.1:5002", LAddr: "127.0.0.1:7001", Created: now.Add(-time.Hour), LastActive: now}},
		{Session: Session{ID: 3, Proto: 2, Addr: "127.0.0.1:5003", LAddr: "127.0.0.2:7001", Created: now, LastActive: now}, Blocked: true},
	}}
	f.env.Cluster, f.env.Config, f.env.Clients = f.cluster, f.config, f.clients
	f.env.Password = func() string { return f.password }
	f.env.Shutdown = func(save bool) { f.shutdown = append(f.shutdown, save) }
	f.env.Info = Info{Version: "0.1.0", RunID: strings.Repeat("ab", 20), Started: now.Add(-100 * time.Second), Port: 7001, Dir: "/data"}
	return f
}

func testMember(i int) ring.Member {
	return ring.Member{ID: ring.NodeID(i), Incarnation: uint64(i), Name: fmt.Sprint("n", i), DC: "dc1", Rack: fmt.Sprint("r", i), Weight: 1,
		RPC: fmt.Sprintf("10.0.0.%d:7947", i), Gossip: fmt.Sprintf("10.0.0.%d:7946", i), Client: fmt.Sprintf("10.0.0.%d:6379", i)}
}

func testRing(t testing.TB, members int) (*ring.Ring, []NodeStatus) {
	t.Helper()
	var all []ring.Member
	for i := range members {
		all = append(all, testMember(i+1))
	}
	r, _, err := ring.Build(nil, all, ring.Options{ClusterID: testClusterID, ClusterName: "test", Partitions: 64, N: 3})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []NodeStatus
	for _, m := range all {
		nodes = append(nodes, NodeStatus{Member: m, State: stateAlive, Heartbeat: time.UnixMilli(testNow), Connected: true, Epoch: r.Epoch})
	}
	return r, nodes
}

// both runs a script in RESP2 and another one in RESP3.
func both(t *testing.T, resp2, resp3 string) {
	t.Helper()
	for proto, script := range map[uint8]string{2: resp2, 3: resp3} {
		f := newFamily(t, 3)
		f.session.Proto = proto
		f.script(script)
	}
}
