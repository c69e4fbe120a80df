// Package ring says which nodes hold a key.
//
// # From a key to its nodes
//
//	key "{user:7}:cart" in database 0
//	slot       CRC16 of "user:7" mod 16384             = 2780
//	token      slot ‖ 48 bits of a hash of (db, key)     the place in the order of everything stored
//	partition  slot >> 6 with 256 partitions           = 43
//	replicas   the preference list of partition 43     = the nodes that hold it, primary first
//	fallbacks  the holders of partitions 44, 45, ...     who stands in, other racks first
//
// A partition, a slot and the keys of one hash tag are each one contiguous range
// of tokens. All lookups are array indexing and allocate nothing.
//
// A Ring is an immutable value with a generation and an epoch; NewerThan says which
// of two replaces the other. It is the value of the cluster's register: everything
// that changes it is a pure function from one ring to the next, so all who agree on
// the ring and the change agree on the result, and whoever proposes a change can
// make it again from a newer ring. Each refuses what cannot be in one line that
// says why and what to do, with ErrStale where the change was made up from a ring
// that is gone, and returns the ring it was given where nothing changes. Encode and
// Decode carry a ring between nodes and to disk, and Hash tells two of one epoch
// apart. Build makes a table at once, for rings that hold nothing.
//
// # How a ring changes
//
// Nothing moves but by a Transfer, which takes one replica of one partition from a
// node to another. A change of members, weights or numbers lists the transfers that
// lead to the best table for it; then the nodes that get something take each from
// step to step.
//
//	Join(d)              d is Joining: known, and without a part
//	Replan(Commit{})     d is Active and a voter; transfers a→d, b→d, ... are Waiting
//	d: Queue(d)          what d may begin with, the most urgent first
//	Begin(d, ps)         they are Copying: the table is as before, d gets all writes too
//	Switch(d, ps)        they are Switched: d is in the table, a gets all writes too
//	Finish(d, ps)        they are done, and a may forget those partitions
//
// A decommissioned member is Leaving and its partitions go to others in the same
// way; when it holds nothing, Retire takes it out. A Removed member is dead: nobody
// asks it, who takes its place stands in the table as soon as the transfer begins
// and is Unfilled until it is done. What each step means for reads and writes stands
// at Transfer. The replicas of a partition may be too few at first (a ring of one
// node that grows) or too many (fewer are asked for), so lists differ in length, and
// a transfer may have only one end.
//
// At most one transfer of a partition is under way; those behind it are planned for
// the list that it leaves. First come places of removed members, then replicas that
// are missing, then moves, last replicas that only go: at no step does a partition
// have fewer living replicas than before it, or than are asked for.
//
// Replan keeps what is under way, takes it as done, and plans the rest anew. So
// changes may come in the middle of others. Abort gives up what can be: it drops
// what waits and takes back what copies. AsOf makes a plan that somebody has looked
// at refuse if another was made since; steps of transfers do not count, because they
// change nothing about where things will be.
//
// # The claim
//
// The claim divides Q×n replicas among the members by weight, in five steps:
//
//  1. Limits. The n replicas of a partition are spread evenly over DCs, or each DC
//     has its number (PerDC); those of a DC are spread over its racks, and no node
//     has two. With two DCs of many nodes and n of three, at most two are in one DC,
//     in different racks.
//  2. Shares. Each node gets its part by weight, unless a limit stands against
//     it: n racks, or n DCs, hold Q replicas each, whatever is in them. The plan's
//     notes name every limit that overrides a weight, and every number that there
//     are too few members for.
//  3. Keep. The previous table stays, as it is when the transfers under way are
//     done, without the nodes that are to hold nothing and without what breaks a
//     limit. Who replaces a node gets what that one had.
//  4. Fill and exchange. Missing replicas, then replicas of nodes above their
//     share, go to the nodes that are furthest below theirs. Where no direct move
//     is allowed, a chain of moves over other nodes is found by breadth-first
//     search, as in a flow. Last, moves that such chains have made needless are
//     taken back.
//  5. Primaries. One node of each list is put first, so that primaries too are
//     divided by weight. This moves no data; it happens when no transfer is left.
//     Until then who takes a place is first where its predecessor was.
//
// Shares are rounded up first for nodes that already hold as much, so that a
// replica moves only if it must; a new node gets its share even when no other has
// a whole replica too many, because targets are compared, and not surpluses. A
// partition gives up one replica at a time as long as that suffices.
//
// Every node holds its share rounded down or up. What moves is within a few in a
// thousand of the exact least, which the tests compute by a minimum-cost flow.
package ring
