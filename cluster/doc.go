// Package cluster is a node: it composes the engine, the replica, the
// coordinator, the connections to other nodes and gossip, and gives commands
// one face of them all.
//
// # The life of a node
//
// Open takes the directory, finds out who the node is (identity), opens the
// engine, and starts talking. A node with a ring on disk serves by it at once. A
// node without one either founds a cluster (nothing to join) or asks the members
// it finds by gossip to take it in; Joined tells when that happened.
//
// # Turns
//
// Work arrives in batches: all that was read at once from one connection, or
// all sockets that were ready in one round of an event loop. Within a batch
// writes become visible and messages are queued; nothing leaves the process.
// EndTurn then commits the log once and sends each peer what it gets in one
// write. So no reply and no message ever tells of a write that the loss of the
// process could undo.
//
// # Forming a ring
//
// A ring changes only before it holds data. The member with the lowest id takes
// joins, one at a time: every member must be connected, promises that it holds
// nothing and refuses writes (freeze), then all adopt the new ring. If one
// cannot, nothing changes. Gossip carries every node's epoch; who sees a higher
// one fetches that ring.
package cluster
