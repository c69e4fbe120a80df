package cluster

import (
	"context"
	"fmt"
	"net"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
)

// KeyInfo is where a key lives.
type KeyInfo struct {
	Slot      int
	Partition int
	Epoch     ring.Epoch
	Replicas  []ReplicaInfo
}

// ReplicaInfo is one of the nodes holding a key.
type ReplicaInfo struct {
	ID    ring.NodeID
	Name  string
	Addr  string
	DC    string
	Rack  string
	Role  string // primary, replica or fallback
	State string // alive, suspect or dead
	For   string // a fallback: the replica it stands in for now
	Hints int    // replicas for which the node keeps a hint of this key
}

// NodeStatus is a member of the ring as this node sees it.
type NodeStatus struct {
	ring.Member
	State             string // alive, suspect or dead
	Heartbeat         time.Time
	Connected         bool // requests may use it
	Epoch             ring.Epoch
	Partitions        int
	PrimaryPartitions int
	Hints             int64 // what this node keeps for it
	HintBytes         int64
	HintsDropped      uint64
}

// Ring returns the node's ring, nil while it has none.
func (n *Node) Ring() *ring.Ring { return n.ring.Load() }

// Self returns this node as a member.
func (n *Node) Self() ring.Member { return n.member() }

// KeyInfo says where a key lives, and who stands in for whom: besides the replicas
// it names the fallbacks that act, or that keep a hint of the key. It asks the nodes
// that can be reached for their hints.
func (n *Node) KeyInfo(ctx context.Context, db uint8, key []byte) (KeyInfo, error) {
	r := n.ring.Load()
	if r == nil {
		return KeyInfo{}, coordinator.ErrNotReady
	}
	t := ring.TokenOf(db, key)
	p := r.PartitionOf(t)
	info := KeyInfo{Slot: int(t.Slot()), Partition: int(p), Epoch: r.Epoch}
	hints := n.hintsOf(ctx, r, db, key)
	var away []string // replicas that nobody stands in for yet
	primary := false
	for _, id := range r.Replicas(p) {
		row := n.replicaInfo(r, id, hints[id])
		row.Role = "replica"
		if !primary && row.State == membership.Alive.String() {
			row.Role, primary = "primary", true
		}
		if id != n.id.Node && !n.rpc.Connected(id) {
			away = append(away, row.Name)
		}
		info.Replicas = append(info.Replicas, row)
	}
	if n.coord.Defaults().Mode != coordinator.Sloppy {
		away = nil
	}
	for _, id := range r.Fallbacks(p, nil) {
		row := n.replicaInfo(r, id, hints[id])
		row.Role = "fallback"
		acts := len(away) > 0 && (id == n.id.Node || n.rpc.Connected(id))
		if acts {
			row.For, away = away[0], away[1:]
		}
		if acts || row.Hints > 0 {
			info.Replicas = append(info.Replicas, row)
		}
	}
	return info, nil
}

func (n *Node) replicaInfo(r *ring.Ring, id ring.NodeID, hints int) ReplicaInfo {
	m := n.addresses.of(*r.Member(id))
	return ReplicaInfo{ID: id, Name: m.Name, Addr: m.Client, DC: m.DC, Rack: m.Rack, State: n.State(id), Hints: hints}
}

// State returns how this node sees another one: alive, suspect or dead.
func (n *Node) State(id ring.NodeID) string {
	if id == n.id.Node {
		return membership.Alive.String()
	}
	return n.tracker.State(id).String()
}

// Nodes returns the members of the ring, and what this node sees of them.
func (n *Node) Nodes() []NodeStatus {
	r := n.ring.Load()
	if r == nil {
		return nil
	}
	heard := make(map[ring.NodeID]membership.Member)
	if n.gossip != nil {
		for _, m := range n.gossip.Members() {
			heard[m.NodeID] = m
		}
	}
	nodes := make([]NodeStatus, len(r.Members))
	for i := range r.Members {
		id := r.Members[i].ID
		m := heard[id]
		nodes[i] = NodeStatus{
			Member: n.addresses.of(r.Members[i]), State: n.State(id), Heartbeat: m.Heartbeat,
			Connected: id == n.id.Node || n.usable(id), Epoch: m.Epoch,
		}
		if id == n.id.Node {
			nodes[i].Heartbeat, nodes[i].Epoch = n.o.Now(), r.Epoch
		}
	}
	for _, s := range n.hints.Stats() {
		if i, found := r.Index(s.Target); found {
			nodes[i].Hints, nodes[i].HintBytes, nodes[i].HintsDropped = s.Count, s.Bytes, s.Dropped
		}
	}
	for p := range r.Q {
		for place, m := range r.ReplicaIndexes(ring.Partition(p)) {
			nodes[m].Partitions++
			if place == 0 {
				nodes[m].PrimaryPartitions++
			}
		}
	}
	return nodes
}

// MergeNodes takes gossip addresses from another node's list: gossip with any of
// them merges the two lists.
func (n *Node) MergeNodes(_ context.Context, gossip []string) error {
	if _, err := n.gossip.Join(gossip); err != nil {
		return fmt.Errorf("merge nodes: %w", err)
	}
	return nil
}

// portIsZero reports whether an address leaves the port to the system.
func portIsZero(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port == "0"
}
