// Package wal is the record log under the engine: the write-ahead log of operations, and the manifest, which is a log
// of edits.
//
// A log is one file, written front to back by one Writer and read back once, at start, by a Reader. It is a header and
// then records:
//
//	header, 32 bytes
//	  0  magic     8 bytes, "kvlog\x00\x00" and the format version
//	  8  number    8 bytes, of the log; it is part of every record's tag
//	 16  zero     12 bytes
//	 28  checksum  4 bytes, CRC-32C of the first 28
//
//	record, 32 bytes and the payload
//	  0  checksum  4 bytes, CRC-32C of everything from the tag to the payload's end
//	  4  tag       4 bytes, a mark derived from the log's number, to find records again behind damage
//	  8  length    4 bytes, of the payload
//	 12  format    1 byte, of the payload; then 3 zero bytes
//	 16  first     8 bytes, sequence number of the payload's first operation
//	 24  durable   8 bytes, the last sequence number known to be safe from a loss of power when the record was written
//	 32  payload
//
// All integers are little endian. For example, the record of one operation "set a = b" with sequence number 7 in format
// 1, written when 5 was the last durable one, has the payload 01 01 01 61 62 (see op.go) and reads:
//
//	crc.....  tag.....  05000000  01000000  0700000000000000  0500000000000000  0101016162
//
// Behind the last record there may be zeros: the file's end runs ahead in steps, so that a flush after a record has no
// new size to write (Writer.Extend). They end the log like the end of the file, which closing the Writer puts there.
//
// # Torn and damaged
//
// A process that is killed leaves whole records, and at most one cut short at the end. A loss of power leaves more
// kinds of tail, because the kernel writes pages in any order: unsynced pages read as zero while later ones are there.
// Neither may keep the engine from starting, since nothing in such a tail was promised. A damaged record that was
// promised must, by name. The durable field tells them apart: a record behind the damage that claims the damaged one
// was durable proves that promised bytes are gone. Without such a claim the shape decides, see Tail.Torn.
package wal
