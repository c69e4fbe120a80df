// Package sum holds one 64-bit XOR for each leaf of the token space: what replicas compare to find out where they differ.
//
// A leaf is the keys of user data whose tokens agree in their upper 18 bits, the slot and four bits of the hash. The XOR of
// a leaf is over a hash of each record in it, so the order in which records come does not matter, and replacing one changes
// the XOR by hash(old) ^ hash(new). The engine does not know the hash; its callers tell it the change.
//
// Leaves are kept in pages of 1,024, which come into being with their first change: what few keys take is little, and
// pages of several sums are put together one at a time, without holding anybody up for long.
//
// Set says for which leaves that is known to be so: sums of data that was written without them, or that has lost a part,
// are not exact.
//
// # On disk
//
// Sums are encoded by leaf, ascending, those that are zero left out; every leaf is the number of leaves passed over since
// the last one (uvarint) and its XOR (8 bytes, little endian). For example, the XORs 1 of leaf 0 and 2 of leaf 5 are
//
//	00 0100000000000000 | 04 0200000000000000
package sum
