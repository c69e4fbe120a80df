package cli

import (
	"context"

	"kvstore/cluster"
	"kvstore/cluster/ring"
	"kvstore/server/command"
)

// topology is a node as package command wants it: the same methods, with the
// types that the two packages declare for themselves.
type topology struct{ *cluster.Node }

// Scan implements command.Topology.
func (t topology) Scan(ctx context.Context, q command.ScanQuery) (command.ScanPage, error) {
	page, err := t.Node.Scan(ctx, cluster.ScanQuery(q))
	return command.ScanPage(page), err
}

// KeyInfo implements command.Topology.
func (t topology) KeyInfo(ctx context.Context, db uint8, key []byte) (command.KeyInfo, error) {
	k, err := t.Node.KeyInfo(ctx, db, key)
	if err != nil {
		return command.KeyInfo{}, err
	}
	info := command.KeyInfo{Slot: k.Slot, Partition: k.Partition, Epoch: k.Epoch, Replicas: make([]command.ReplicaInfo, len(k.Replicas))}
	for i, r := range k.Replicas {
		info.Replicas[i] = command.ReplicaInfo(r)
	}
	return info, nil
}

// Nodes implements command.Topology.
func (t topology) Nodes() []command.NodeStatus {
	nodes := t.Node.Nodes()
	list := make([]command.NodeStatus, len(nodes))
	for i, n := range nodes {
		list[i] = command.NodeStatus(n)
	}
	return list
}

// router is what redirect has to know of a node.
type router interface {
	Ring() *ring.Ring
	Self() ring.Member
	State(id ring.NodeID) string
}

// redirect tells clients that know Redis Cluster where a key lives: here, when
// this node holds a replica, else with the first replica that is not dead. When
// all are, the error is ours to give.
func redirect(n router) func(key []byte) (slot int, addr string) {
	return func(key []byte) (int, string) {
		slot := ring.SlotOf(key)
		r := n.Ring()
		if r == nil {
			return int(slot), ""
		}
		p := r.OfSlot(slot)
		if r.Holds(p, n.Self().ID) {
			return int(slot), ""
		}
		for _, id := range r.Replicas(p) {
			if n.State(id) != "dead" {
				return int(slot), r.Member(id).Client
			}
		}
		return int(slot), ""
	}
}
