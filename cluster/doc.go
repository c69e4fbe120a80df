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
// # The ring
//
// Rings follow each other through a register that a majority of the ring's voters
// has to agree to (register, package consensus): Change is how anything changes the
// ring. A ring that was chosen is spread to all members; gossip carries every node's
// generation and epoch, and who sees higher ones fetches that ring (keepRing).
//
// Any member takes a node in. While nothing is stored anywhere, every member
// promises that it holds nothing and refuses writes (freeze), and the new ring's
// table holds at once. One that is away may hold something: partitions move then. With cluster.auto_join = false the node becomes a member that
// holds nothing and has no vote.
//
// A node keeps telling the ring in which life and where it is (keepPlace). One that
// is not in the ring, or declared dead, is refused with the reason by gossip and by
// every handshake, and ends (ErrNoPart).
package cluster
