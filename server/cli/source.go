package cli

import (
	"context"
	"os"

	"kvstore/cluster/ring"
	"kvstore/server/admin"
	"kvstore/server/command"
)

// source shows a node to package admin.
type source struct {
	node        command.Topology
	clusterName string
	// join introduces the node to members at gossip addresses.
	join func(ctx context.Context, gossip []string) error
	// healthy says why the process has to be started again.
	healthy func() error
	// clock says why the node's clock is likely to be wrong, "" when nothing does.
	clock func() string
	// refill is how far others have filled the node's copies, nil when they fill none.
	refill func() *admin.Refill
	// unsettled is how many partitions others may have written without the node.
	unsettled func() int
	// moves is how far the node is with its transfers, nil when there is nothing.
	moves func() *admin.Moves
}

// Healthy implements admin.Source.
func (s *source) Healthy() error { return s.healthy() }

// Ready implements admin.Source.
func (s *source) Ready() error { return s.node.Ready() }

// Nodes implements admin.Source.
func (s *source) Nodes() admin.NodeList {
	list := admin.NodeList{Cluster: s.clusterName, Self: s.node.Self().ID.String(), Process: os.Getpid(), Version: Version, Clock: s.clock(), Refill: s.refill(), Nodes: []admin.Node{}}
	if s.unsettled != nil {
		list.Unsettled = s.unsettled()
	}
	if f := list.Refill; f != nil {
		list.Filling = f.Partitions - f.Done
	}
	if err := s.node.Ready(); err != nil {
		list.Reason = err.Error()
	} else {
		list.Ready = true
	}
	r := s.node.Ring()
	if r != nil {
		list.ClusterID, list.Epoch, list.Partitions = clusterID(r), uint64(r.Epoch), r.Q
	}
	for _, n := range s.node.Nodes() {
		view := member(n.Member, r)
		view.State, view.Connected, view.Heartbeat = n.State, n.Connected, n.Heartbeat
		view.Epoch, view.Replicas, view.Primaries = uint64(n.Epoch), n.Partitions, n.PrimaryPartitions
		view.Hints, view.HintBytes, view.HintsDropped = n.Hints, n.HintBytes, n.HintsDropped
		list.Nodes = append(list.Nodes, view)
	}
	return list
}

// Ring implements admin.Source.
func (s *source) Ring() admin.Ring {
	r := s.node.Ring()
	if r == nil {
		return admin.Ring{Slots: ring.Slots, Members: []admin.Node{}, Partitions: []admin.Partition{}}
	}
	view := admin.Ring{ClusterID: clusterID(r), Epoch: uint64(r.Epoch), Slots: ring.Slots,
		Members: make([]admin.Node, 0, len(r.Members)), Partitions: make([]admin.Partition, r.Q)}
	states := map[ring.NodeID]command.NodeStatus{}
	for _, n := range s.node.Nodes() {
		states[n.ID] = n
	}
	for _, m := range r.Members {
		n := member(m, r)
		status := states[m.ID]
		n.State, n.Connected, n.Heartbeat = status.State, status.Connected, status.Heartbeat
		n.Epoch, n.Replicas, n.Primaries = uint64(status.Epoch), status.Partitions, status.PrimaryPartitions
		n.Hints, n.HintBytes, n.HintsDropped = status.Hints, status.HintBytes, status.HintsDropped
		view.Members = append(view.Members, n)
	}
	for p := range view.Partitions {
		first, last := r.SlotRange(ring.Partition(p))
		ids := r.Replicas(ring.Partition(p))
		names := make([]string, len(ids))
		for i, id := range ids {
			names[i] = id.String()
		}
		view.Partitions[p] = admin.Partition{Partition: p, FirstSlot: int(first), LastSlot: int(last), Replicas: names}
	}
	view.Transfers = transfersOf(r)
	if s.moves != nil {
		view.Moves = s.moves()
	}
	return view
}

// Merge implements admin.Source.
func (s *source) Merge(ctx context.Context, nodes []admin.Node) error {
	gossip := make([]string, len(nodes))
	for i, n := range nodes {
		gossip[i] = n.Gossip
	}
	return s.join(ctx, gossip)
}

// member is what is known of m without asking anybody.
func member(m ring.Member, r *ring.Ring) admin.Node {
	return admin.Node{ID: m.ID.String(), Name: m.Name, Address: m.Client, Gossip: m.Gossip, RPC: m.RPC,
		DC: m.DC, Rack: m.Rack, Weight: m.Weight, Member: r != nil && r.Member(m.ID) != nil}
}

func clusterID(r *ring.Ring) string { return ring.NodeID(r.ClusterID).String() }
