// Package antientropy keeps the replicas of a partition level without being told
// what differs: it finds out, by comparing sums, and it knows when nothing does,
// which is what tombstones wait for.
//
// # The tree
//
// The engine keeps one sum for each of 262,144 leaves of the token space: the XOR of
// the hashes of its records (replica.Sum). Every write says what it changes, so no
// leaf is ever read to be summed. Branches and roots are XORs of leaves. Replicas
// compare the root of a partition, then branches, 32 at a time, then leaves; what
// differs is compared again after a moment, because a write that is under way is not
// a difference; then come lists of (token, sum) of the records of a leaf, and only
// the records that differ travel, both ways, to be merged by version.Merge. A leaf
// with many records, which a hash tag makes, is divided by token first.
//
//	A → B  states of 256 partitions                           4.6 KB
//	B → A  sum and horizons of each                           7.4 KB
//	A → B  sums of the branches of partition 17, then leaves
//	       ... 250 ms ...
//	A → B  sums of the leaves that differed: two of three still do
//	A → B  list of the two leaves; B → A (token, sum) of 76 records
//	A → B  fetch 1 record, push 2 records
//
// Two equal replicas of any size exchange 31 KB in a round of 256 partitions and read
// no block.
//
// # A round
//
// The first replica of the preference list that can be reached begins the rounds of
// a partition. It compares with every other replica, twice: after the first pass it
// holds all that any of them held at the beginning, and in the second each of them
// gets what came of that. It does not matter that a leaf's two sums are read at
// different moments, or that each difference is acknowledged by itself: what a
// replica held when the round began is, in the end, at all of them. Such a round is
// complete. Each partition has one within Options.Period; one that is known to differ
// (Mark, PeerUp) has one at once.
//
// A complete round settles the partition for the coordinators (Requests.Settle), and
// moves its horizon.
//
// # Tombstones, and values that have expired
//
// A tombstone may be removed when no replica, and nothing on its way to one, has an
// older value for it to cover. The horizon of a round is its beginning less
// Options.Delay, or none if any node of the ring held hints for the partition when it
// began. When the round is complete
//
//  1. every replica is told, writes down that it agrees, and makes that durable:
//     with it all it had written before, tombstones included;
//  2. when all have agreed they are told so. From then on what was dead at the
//     horizon (replica.Dead) counts as absent at each of them, is removed when there
//     is time, and is not stored when it arrives once more and nothing is there.
//
// Nobody removes anything before everybody has agreed. So a replica whose agreed
// horizon is below the collected horizon of another has lost what it once wrote: an
// old copy of its disk was put back, or its data removed. It may hold values whose
// tombstones are gone. Replicas tell each other their horizons when they are
// connected, before requests use the connection (Introduce), and with every round.
//
// # Filling
//
// A copy that is behind in that way, that was emptied, or of which damage has cost
// records is filled. It takes writes and answers no reads until then: a value that
// two replicas had acknowledged, and one of them lost, would be missed by a quorum of
// the loser and the third. It is brought level with the replica that has collected
// most, and what it holds from before that horizon yields to what that one holds,
// instead of being merged. What is later is merged: nothing that was acknowledged
// with this copy's help is thrown away, even if most copies of a partition are in
// this state. Then come the others, as many as it takes to meet every write that the
// lost copy had acknowledged.
//
// # Entering and leaving
//
// A node that is to become a replica takes a copy from one that is (Enter), in pages
// what is not here at all, and what differs then, until nothing does. It trusts nothing it
// holds already: that yields to its source as in filling. It then stands where its
// source stands, horizons and all; no horizon of the partition moves meanwhile
// (Requests.Moving). A node that has ceased to be one gives the replicas what they may
// lack (Give), before it forgets. One that stands in for a node which is dead for good
// is appointed: its copy is filled, from the other replicas.
//
// # Pace
//
// All bytes that are moved, and those that collection reads, are paid for at a rate
// that halves while clients need the node or a peer fails to answer, and grows
// again after. Whole pages of records, which those take who enter or are filled, are read
// and merged in a lane: all processors with no clients to serve, a quarter of one with
// clients, a tenth of one when the node is busy (lane).
//
// A Keeper's methods may be called concurrently. Its goroutines end in Close.
package antientropy
