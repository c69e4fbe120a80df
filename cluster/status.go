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
	Role  string // primary or replica
	State string // alive, suspect or dead
}

// NodeStatus is a member of the ring as this node sees it.
type NodeStatus struct {
	ring.Member
	State             string // alive, suspect or dead
	Heartbeat         time.Time
	Connected         bool
	Epoch             ring.Epoch
	Partitions        int
	PrimaryPartitions int
}

// Ring returns the node's ring, nil while it has none.
func (n *Node) Ring() *ring.Ring { return n.ring.Load() }

// Self returns this node as a member.
func (n *Node) Self() ring.Member { return n.member() }

// KeyInfo says where a key lives. It reads nothing.
func (n *Node) KeyInfo(_ context.Context, db uint8, key []byte) (KeyInfo, error) {
	r := n.ring.Load()
	if r == nil {
		return KeyInfo{}, coordinator.ErrNotReady
	}
	t := ring.TokenOf(db, key)
	p := r.PartitionOf(t)
	info := KeyInfo{Slot: int(t.Slot()), Partition: int(p), Epoch: r.Epoch}
	primary := false
	for _, id := range r.Replicas(p) {
		m := n.addresses.of(*r.Member(id))
		row := ReplicaInfo{ID: id, Name: m.Name, Addr: m.Client, DC: m.DC, Rack: m.Rack, Role: "replica", State: n.State(id)}
		if !primary && row.State == membership.Alive.String() {
			row.Role, primary = "primary", true
		}
		info.Replicas = append(info.Replicas, row)
	}
	return info, nil
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
			Connected: id == n.id.Node || n.rpc.Connected(id), Epoch: m.Epoch,
		}
		if id == n.id.Node {
			nodes[i].Heartbeat, nodes[i].Epoch = n.o.Now(), r.Epoch
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
