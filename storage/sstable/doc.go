// Package sstable writes and reads immutable tables of records sorted as package entry orders them.
//
// # The file
//
//	data block | data block | ... | partition | data block | ... | partition | top index | ranges | properties | footer
//
// A data block holds records, a partition the index of up to 128 data blocks before it and a bloom filter of their keys,
// the top index one row for each partition. A point read looks into the top index (held in memory while the table is open),
// one partition (which mostly ends it when the key is absent) and one data block, the last two through the block cache.
// A partition that has been read is pinned there, parsed, as far as the cache allows that: then it is asked without a lock
// and without a write to shared memory. The others come and go as data blocks do. So what a table keeps in memory beside
// the cache is the top index, which lies in the cache's memory too, and a few dozen bytes for half a megabyte of data.
//
// # Blocks
//
// Every block is followed by nine bytes: the compression (1), the length before it (4) and a CRC-32C of all that
// and of the block's offset in the file (4), which is verified whenever a block is read from the file:
//
//	contents | compression: 0 none, 1 s2, 2 zstd | length u32 | checksum u32
//
// Numbers of fixed size are little endian. Data blocks, both kinds of index and the ranges share one format of contents,
// a sorted array of rows (key, sequence number, kind, value):
//
//	0   number of rows, u32
//	4   length of the prefix, u32
//	8   smallest sequence number << 1 | wide, u64
//	16  the prefix all keys have in common
//	    a finger a row: the two bytes of its key that follow the prefix, zeros after the end, big endian
//	    the offset a row, from the first row; u16, or u32 when wide is set
//	    the rows: uvarint (sequence number - smallest) << 2 | kind, uvarint length of the key without the prefix,
//	    uvarint length of the value, key without the prefix, value
//
// For example the records (0102aa, 7, set, "x") and (0102bb, 9, delete) are, in hexadecimal,
//
//	02000000 02000000 0e00000000000000 0102 aa00 bb00 0000 0500 | 01 01 01 aa 78 | 08 01 00 bb
//
// Prefix compression is by block, not from row to row. Tokens are hashes: beyond what a whole block has in common two
// neighbours share half a byte more, and in exchange every row can be reached at once. A search begins where
// the finger's value says that it should be among evenly spread ones, mostly a step or two from its place, and most often
// ends with one comparison of keys.
//
// Index rows have a separator for key, at or after the last key of what they point to and before the first key of the
// next, and a handle for value: uvarint offset and uvarint length with the nine bytes. The versions of one key may go on in
// the next block. Rows of the ranges have the lower bound for key and the upper bound for value.
//
// A partition is the number of filter cells (u32), the bits a key sets in one (u32), the cells of 64 bytes, and an index. A key
// chooses one cell by its hash and sets bits only there, so that a test touches one cache line. Keys of user data are hashed
// by their token alone, others whole.
//
// Properties: uvarints of entries, deletions, ranges, smallest and largest sequence number, and the smallest and largest key
// each after its length. The footer of 52 bytes:
//
//	0   offset u64 and length u32 of the properties, the top index and the ranges (length 0: there are none)
//	36  format version, u32
//	40  CRC-32C of the bytes before, u32
//	44  "kvstable"
//
// # Damage
//
// Whatever is damaged, the answer is right or a *corrupt.Error that names file and offset; it is never a missing key.
//
// # Concurrency
//
// A Writer and an iterator belong to one goroutine each; a Reader to any number. Close a Reader after its iterators.
package sstable
