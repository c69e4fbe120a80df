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
// # The life of a read
//
// The coordinator reads its own copy if it has one, asks as many more replicas as
// R needs, and merges. Replicas that hold what the coordinator holds answer Same
// and send no object. What was behind is brought level before the answer when
// R+W>N, so a later quorum read never sees an older value. A replica that is
// late is hedged: one more is asked, within a budget.
//
// # Why the last acknowledged write remains
//
// Timestamps decide between concurrent versions, and clocks differ. So a write
// that means to replace everything travels as Covering: a replica that holds a
// version the object does not cover says so instead of acknowledging, and the
// soft primary runs the operation again on both, with a timestamp after both.
// If 2W>N, any two writes meet at one replica, hence a write that begins after
// another one was acknowledged always ends up covering it.
//
// An operation that depends on the value (INCR, SETNX, APPEND) runs on the soft
// primary's copy, which has seen everything while the ring is undisturbed: all
// writes pass the soft primary. Once a replica could not be reached, or this
// node was started anew, somebody else may have written: the partition is
// unsettled, and such operations read a quorum first.
//
// # Bounds
//
// Requests that wait are bounded in number (ErrOverloaded beyond), each has a
// deadline, and buffers that grew beyond 64 KiB are not kept.
package coordinator
