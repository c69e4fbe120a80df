// Package version is what a replica stores of a key and how replicas agree: a
// dotted version vector set (Preguiça, Baquero, Almeida et al., Dotted Version
// Vectors, 2010) over hybrid logical clocks.
//
// # An example
//
// Two coordinators, of incarnations A and B, write a key while they cannot
// reach each other; later a client reads both values and writes their union:
//
//	A: SET k 1             context {A:10}       siblings (A,10) "1"
//	B: SET k 2             context {B:12}       siblings (B,12) "2"
//	merged anywhere        context {A:10 B:12}  siblings (A,10) "1", (B,12) "2"
//	A: VCLOCK SET k 1+2    context {A:15 B:12}  siblings (A,15) "1+2"
//
// A plain GET of the merged object sees "2", the newest, and removes nothing. A
// replica that still has (A,10) "1" merges the last object and lets go of it,
// because the context {A:15 B:12} covers the dot (A,10) and the object no longer
// has it: whoever covers a dot without having it has seen it replaced.
//
// # What a writer has seen
//
// A write with a context returns one that covers what the given one did and the
// new event, so that the client can go on with it. Another client, which knows
// of nothing, writes at A and gets the event (A,20) alone, not all that A made:
//
//	A: VCLOCK SET k "" 3   context {A:20 B:12}  siblings (A,15) "1+2", (A,20) "3"
//	the client's           context {} +(A,20)
//
// Such exact dots are in a client's context, and in an object for as long as it
// has not met the event that the client replaced there; dots.go tells more.
//
// # What must stay true
//
//   - An object travels whole. A context never claims an event whose value the
//     object's history has not held, so a node takes a dot only under the key's
//     lock, after reading what it has stored. A node that may have lost stored
//     objects it had sent to others takes a new incarnation before it writes; so
//     does one that stood in for others and has dropped what it kept for them.
//   - A dot is later than everything its event has seen (Update refuses others).
//     Therefore the newest event of all is a sibling of every merge that has it,
//     and a merge of values is never nothing.
//   - A client's context covers no more than the client has seen. It may forget.
//   - Only write events bound the context. Merge is pure union, and therefore
//     commutative, associative and idempotent; every path between replicas uses
//     it and nothing else.
//   - Equal objects have equal encodings, so replicas compare digests.
//
// # Counters
//
// Each node's increments of a key are one sibling of kind Counter, which the
// node's next increment replaces. Value adds them to the newest sibling that is
// not a counter. Increments at different nodes never replace each other, and a
// SET replaces all those it saw. When a node that has not seen such a SET goes
// on incrementing, its whole sum comes back with its new dot: a SET concurrent
// with an increment adds to what that node's increments made, not only to those
// the SET missed.
//
// # Bounded contexts
//
// A write event that leaves more than MaxEntries entries drops the oldest and
// raises the context's floor to it. Events at or below the floor count as seen,
// so nothing that was replaced comes back. In exchange, an unseen value that is
// older than the floor, hence older than 32 later writers of the same key, loses
// to the newer ones without becoming their sibling.
package version
