// Package memtable holds the newest records of the engine in memory, ordered, until a flush writes them to a table.
//
// # Shape
//
// Keys of user data begin with an eight-byte token that is a uniform hash, so where a key lies in the order follows from
// its first bits. The table is a trie over the bits of the key:
//
//	root     an array of 2^n slots, indexed by the bits of the token below its top two, and three slots for keys whose
//	         first byte is 0x40 or more (system keys). n follows from the size the table is made for: about one slot
//	         for 512 bytes, so that a full table has a few keys a slot and an empty one costs next to nothing.
//	slot     nothing, one entry, a leaf, or a node
//	leaf     an unsorted array of up to seven (tag, entry) pairs; a tag is 32 bits of the key that tell most keys apart
//	         without touching their entry
//	node     sixteen slots, indexed by four bits of the key. A full leaf becomes a node. Bits that all keys below share
//	         are skipped (the node knows one entry below itself to compare with), so long common prefixes cost one node.
//	entry    one distinct key and the chain of its versions, newest first
//
// Take a table of 64 MiB: its root has 2^17 slots. A key with token 0x1234567890abcdef goes to slot 0x1234567890abcdef >>
// (62-17). It finds there a leaf of three pairs, all taken and of other tags; a leaf of seven is written beside, with the
// new pair in it, and the slot is pointed to it. The eighth key makes it a node at bit 19 (or later, where the eight first
// differ), whose sixteen slots hold one entry here, a leaf there.
//
// Keys that differ only by trailing zero bytes never part in the trie; they stay together in a leaf that grows.
//
// # Memory
//
// Everything but the root lies in pages that hold no pointers: records point to each other by 32-bit references, which
// count units of eight bytes. The garbage collector walks one pointer a page. A record larger than a quarter page may get
// memory of its own size. Nothing is freed before the whole table is: by the collector, or by Free when the pages lie
// outside the Go heap. Free leaves them to a Pool, zeroed, for the tables to come.
//
// # Concurrency
//
// One writer at a time (the caller serialises them); any number of readers beside it, without a lock. A record is written
// whole before an atomic store makes it reachable, and what is reachable is changed only by atomic stores into slots, into
// free pairs of a leaf and into version chains. A leaf or chain that a writer replaces stays as it was: a reader in the old
// one misses only records that are newer than its own snapshot, because it chose the snapshot's sequence number first.
package memtable
