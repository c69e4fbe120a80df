// Package transfer carries out what a ring has planned: partitions go from node to
// node while both serve, and whoever is done with one drops it.
//
// # The life of a transfer
//
// The ring's register holds every transfer with its step; this package only takes the
// steps. The node that enters (To) drives its own transfers, the node that leaves
// (From) those that nobody enters by, and the first reachable voter what belongs to
// nodes that are gone. There is nothing to be remembered besides the ring: a driver
// that starts again begins the work of the step it finds.
//
//	Waiting   the driver asks the register for Copying, a batch of partitions at a time
//	Copying   1. barrier: From has adopted that ring, and what it began before has
//	             ended; from now on every write that From has, To has been sent too
//	          2. To takes all that From holds, and compares until nothing differs
//	          3. the driver asks for Switched, or, where nobody leaves, for the end
//	Switched  4. barrier: From has adopted that ring, so nobody reads From by an older one
//	          5. To compares once more, takes what From got alone meanwhile, and answers
//	             reads from now on
//	          6. the other replicas have adopted that ring, as far as they can be reached;
//	             the driver asks for the end
//	(gone)    7. From finds that it holds what the ring does not give it: it gives the
//	             replicas what they may lack, and drops the partition
//
// Where From was declared dead, To stands in the table from Copying on, answers no
// reads, and is filled from the other replicas. Where From is nobody, To takes from as
// many of the replicas as it needs to have every write that was acknowledged. Where To
// is nobody, From gives the others what they lack.
//
// # What must stay true
//
//   - To holds all that From holds before Switched, so a reader who asks To instead of
//     From meets every write that From's acknowledgement counted for.
//   - Nothing is dropped that a replica lacks: all replicas are there and have taken
//     what was given before Drop, which looks at the ring once more, under the lock
//     that adopts rings, and does nothing if anything was written since: a node whose
//     ring is old may be a replica again without knowing, and have acknowledged it.
//     Who was a replica by that old ring, and has handed over since, had to pass on
//     what it was given before it could drop it in turn.
//   - As long as a transfer is beyond Waiting, or somebody holds what is to be dropped,
//     no tombstone of the partition is collected (antientropy, Unsteady): so a copy that
//     stood aside for a while brings nothing back that was deleted.
//
// # Failures
//
// Every step is asked of the register by its ring, and refused when that has changed
// (ring.ErrStale): then the driver looks again. Work that fails is repeated after a
// pause that doubles, with jitter. Copying whose driver cannot be reached is taken back
// after Options.Patience, so that its partition's writes need one acknowledgement less;
// what To has already is found by comparing when it begins again. What is switched
// waits for its driver: both nodes have everything.
//
// # Pace
//
// At most Options.Moves partitions are worked on at a time by a node, and as many as a
// window are beyond Waiting: it doubles while batches are done in a moment, because a
// change of the ring costs more than to move an empty partition, and shrinks when they
// take long. While there are clients a driver changes the ring a few times a second at
// most, and takes all that is due together. Bytes are paid for by who copies (antientropy), at a rate that halves
// while clients need the node; and pages are read and merged a slice at a time, with rests
// between, while there are clients at all. A ring that is paused begins nothing and copies nothing;
// what is switched ends.
//
// A Driver's methods may be called concurrently. Its goroutines end in Close.
package transfer
