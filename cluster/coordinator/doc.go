// Package coordinator runs requests: it brings one operation on one key to the
// key's soft primary and replicas, counts their answers and completes the
// request. It has no goroutine of its own but the wheel of its alarms: a request
// is a small state machine, moved by Submit, by messages, by lost connections
// and by alarms, on whichever goroutine brings them.
//
// # The life of a write
//
// With N=3 and W=2, a client of node A writes a key whose preference list is B,
// C, A:
//
//	A  Submit: B is the first that can be reached, so it is the soft primary
//	A→B Write: the command itself
//	B  under the key's lock: read, run the operation, make the version, store
//	B→C Replicate: the object.  B→A Replicate: the object and the client's reply
//	A  merges; its copy and B's are two, so it answers its client here
//	C→B, A→B ReplicateAck
//
// Had A not been a replica, B would have sent a WriteReply after C's
// acknowledgement. Had A been the soft primary, it would have answered its client
// after the first acknowledgement.
//
// A soft primary whose disk takes no writes has written nothing; then A brings
// the write to the next replica, to each once, and in sloppy mode to fallbacks.
//
// # The life of a read
//
// The coordinator reads its own copy if it has one, asks as many more replicas as
// R needs, and merges. Replicas that hold what the coordinator holds answer Same
// and send no object. What was behind is brought level before the answer when
// R+W>N, so a later quorum read never sees an older value. Who has got something
// meanwhile that the reader has not seen says so, and it is merged again (goOver). A
// replica that is late is hedged: one more is asked, within a budget. The own copy is a replica
// like the others when it is on a slow disk. One that is damaged is answered by
// the others.
//
// Replicas are asked in the order of the preference list, so that the last of them keep
// their memory for other keys. Of a key that is hot they take turns (hot.go); where two
// reads need not meet, each node keeps to its replicas and different nodes to different ones.
//
// # Stand-ins
//
// In sloppy mode fallbacks, the nodes that continue the preference list, act at the
// places of replicas that are away (cast). With B gone of B, C, A, and D, E behind
// them:
//
//	A  C is the first replica that can be reached, so it is the soft primary
//	C  stores, and sends to A; to D it sends the object and "for B" (wire.StandIn)
//	D  stores the object as its own copy, and in the same batch a hint: B has not
//	   got this key.  D→C ReplicateAck, which counts in B's place
//
// The replicas that are there and the stand-ins of the others are the replica set
// as long as the same nodes can be reached: tallies count places, a place counts
// once whoever acts there, and any two quorums meet. Hence:
//
//   - A stand-in answers reads for whom it stands in. Replicas are asked before it: it
//     knows only what was written since, and what one replica that is left has must
//     not be missed because two stand-ins have not got it. That it holds nothing is an
//     answer, and never more than that. A read does not bring it level, since its
//     replica may well have what it lacks; a read that is part of a write does, for
//     a reply that tells of a value must not tell of one that can still be lost.
//   - It answers Stale like a replica, and a write is mended on what it holds.
//   - When no replica can be reached, the first fallback is soft primary, in the
//     place of the first of them. It has seen only what came since they were gone,
//     so what depends on the value reads a quorum first, always.
//   - A replica that refuses, is lost, or is silent for standAfter under a write is
//     replaced within that write. Both may end up with the object: one event, merged
//     wherever they meet, so it is no repetition. The command itself is never sent
//     to a second soft primary.
//   - Levels of certain data centres take stand-ins of the replicas' own only.
//   - Hints are kept in the batch of the object or not at all, so no acknowledgement
//     of a stand-in is without one. What finds no room refuses, and is not counted.
//
// When somebody comes back or goes, the set of those who act changes, and quorums
// before and after need not meet: a sloppy read can miss what was acknowledged until
// hints have been replayed, and writers that see different nodes make siblings. That
// is what sloppy means; nothing acknowledged is lost by it.
//
// In strict mode, and where there is no fallback, the soft primary keeps the hints
// itself. They count for nothing. What was on its way to a node when its connection
// broke has no hint; comparing replicas finds it.
//
// # Data centres
//
// An object crosses a link once for each data centre: where several replicas of another
// one answer promptly, it goes to the first of them, which passes it on (relay). All of
// them acknowledge to the soft primary. The rest get it directly when that one refuses,
// is lost, or has the write wait for standAfter. local_one and local_quorum count the
// data centre of the client's node, each_quorum every one; what else a level needs no
// acknowledgement of is sent all the same.
//
// # Damaged records
//
// A replica that finds its record of a key damaged, whoever asked for it, replaces
// it by what the others hold (healing): it asks as many of them as it takes to
// meet every acknowledged write without its own copy, and merges. A write, and an
// object that another node sends, waits for that; they are never merged into
// nothing, because the record could be read then and would lack what was
// acknowledged before. When too few of the others answer, the request ends with
// their error and the record stays damaged.
//
// # Why the last acknowledged write remains
//
// Timestamps decide between concurrent versions, and clocks differ. So a write
// that means to replace everything travels as Covering: a replica that holds a
// version the object does not cover merges, and answers Stale with the result,
// which is no acknowledgement. If the other acknowledgements suffice, they do. If
// not, there is a second run on the soft primary's copy merged with what was heard
// (writeOp.again):
//
//   - A write that replaces whatever is there is mended (writeOp.mend): it stays
//     the one version it was, and is made to cover what was found. What is newer
//     than it wins; then the write ends in ErrTimeout.
//   - An operation that depends on the value runs again, on what is there without
//     its first effect and with a timestamp after all of it.
//   - Where a later write has replaced the first run's effect already, nothing runs
//     again and the first reply stands: a new version would come after that write.
//     A replica that never held this write, but what replaced it, acknowledges it
//     only where nothing unseen stands beside (standsBeside).
//
// If 2W>N and the mode is strict, any two writes meet at one replica, hence a write that begins after
// another one was acknowledged ends up covering it, or is not acknowledged.
//
// An operation that depends on the value (INCR, SETNX, APPEND) runs on the soft
// primary's copy, which has seen everything while the ring is undisturbed: all
// writes pass the soft primary. Once a replica could not be reached, a write was
// stale, or this node was started anew, somebody else may have written: the
// partition is unsettled, and such operations read a quorum first. A run without
// an effect (SETNX of a key that exists) is answered only when a quorum holds what
// it saw (writeOp.confirm), because its reply tells of it.
//
// # Other rings
//
// Requests carry the epoch of the ring they were made by. A node with a newer ring
// serves them if the partition has not changed since, else it answers WrongEpoch. One
// with an older ring serves what it keeps by its own, and answers WrongEpoch to the
// rest. Whoever is behind is told by Options.NewerRing. The client hears nothing of it:
//
//   - A read asks others instead; when there are none, it begins again, by the ring
//     that has come (SetRing wakes it), or after ringWait when the other node is behind.
//   - A forwarded write was not run where it was refused, and is routed anew.
//   - So is a write that waited for the disk or for a quorum while its partition
//     changed: replica.Task.Apply looks at the ring last.
//   - A write that is stored and waits for acknowledgements is counted anew (renew): who
//     has it and still counts, counts; the others get it. It is not run again.
//
// Only when time is over does the client get ErrNotReady, or ErrTimeout for what ran.
//
// # While a partition moves
//
// A place of its list has a partner then (ring.Partner), which gets all writes beside
// the replica and counts as one with it: the tally knows the partner by a place of its
// own behind the list, and the pair's place is acknowledged when both are. A partner
// that is away is stood in for, or owed a hint, like a replica; it is no fallback.
// Reads never ask it. The new node, once it is read in the old one's stead, answers
// reads only after CaughtUp. Why all that suffices stands in cluster/DESIGN.md.
//
// # Bounds
//
// Requests that wait, for other nodes or for the disk, are bounded in number and
// bytes (ErrOverloaded beyond), and those of this node's clients are refused while
// many are under way and late (pending.go), before they would end in timeouts. Each has a deadline; one that still waits for the disk
// then does nothing any more. Objects of other nodes are merged however late:
// their writes may have been acknowledged. Buffers that grew beyond 64 KiB are not
// kept.
package coordinator
