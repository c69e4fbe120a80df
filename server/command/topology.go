package command

import (
	"context"

	"kvstore/cluster"
	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
)

// Topology is the part of Cluster that shows or acts on whole databases, the
// ring and the nodes.
type Topology interface {
	// Scan reads a page of live keys in the order of their tokens. It blocks.
	Scan(ctx context.Context, q ScanQuery) (ScanPage, error)
	CountKeys(ctx context.Context, db uint8) (int64, error)
	CountKeysInSlot(ctx context.Context, slot int) (int64, error)
	// FlushDB deletes every key of a database, or of all when db is negative.
	FlushDB(ctx context.Context, db int) error
	KeyInfo(ctx context.Context, db uint8, key []byte) (KeyInfo, error)

	Ring() *ring.Ring
	Self() ring.Member
	Nodes() []NodeStatus
	Ready() error // nil when the node is in a ring and serves
	SetReplication(l coordinator.Levels)
	Replication() (n int, l coordinator.Levels) // as configured
}

// What Topology speaks of is declared by the node.
type (
	// ScanQuery asks for a page of keys.
	ScanQuery = cluster.ScanQuery
	// ScanPage is some keys, and where to go on.
	ScanPage = cluster.ScanPage
	// KeyInfo is where a key lives.
	KeyInfo = cluster.KeyInfo
	// ReplicaInfo is one of the nodes holding a key.
	ReplicaInfo = cluster.ReplicaInfo
	// NodeStatus is a member of the ring as this node sees it.
	NodeStatus = cluster.NodeStatus
)
