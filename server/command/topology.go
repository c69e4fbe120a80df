package command

import (
	"context"
	"time"

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

// ScanQuery asks for a page of keys.
type ScanQuery struct {
	DB     uint8
	Cursor uint64 // 0 begins; afterwards the Cursor of the page before
	Count  int    // about how many keys to return
	Slot   int    // only this slot; -1 for all
	Levels coordinator.Levels
}

// ScanPage is some keys, and where to go on; a zero Cursor is the end. A page
// may be empty without being the last.
type ScanPage struct {
	Cursor uint64
	Keys   [][]byte
}

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
