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
// A Ring is an immutable value with an epoch. Build makes the next one from the
// previous one and the members; it is a pure function, so all who agree on those
// agree on the table. Encode and Decode carry a ring between nodes and to disk,
// and Hash tells two of one epoch apart.
//
// # The claim
//
// Build divides Q×n replicas among the members by weight, in five steps:
//
//  1. Limits. The n replicas of a partition are spread evenly over DCs, those of
//     a DC over its racks, and no node has two. With two DCs of many nodes and n
//     of three, at most two are in one DC, in different racks.
//  2. Shares. Each node gets its part by weight, unless a limit stands against
//     it: n racks, or n DCs, hold Q replicas each, whatever is in them. The plan's
//     notes name every limit that overrides a weight.
//  3. Keep. The previous table stays, without the nodes that are gone and without
//     what breaks a limit.
//  4. Fill and exchange. Missing replicas, then replicas of nodes above their
//     share, go to the nodes that are furthest below theirs. Where no direct move
//     is allowed, a chain of moves over a third node is found by breadth-first
//     search, as in a flow.
//  5. Primaries. One node of each list is put first, so that primaries too are
//     divided by weight.
//
// Shares are rounded up first for nodes that already hold as much, so that a
// replica moves only if it must; a new node gets its share even when no other has
// a whole replica too many, because targets are compared, and not surpluses. A
// partition gives up one replica at a time as long as that suffices.
package ring
