// Package storage is the engine of one node: an ordered map from keys to values on one directory of a disk, a
// log-structured merge tree.
//
// # The life of a write
//
// Set encodes the operation behind the pending log record, inserts it into the memtable under the next sequence number,
// and publishes that number: from here on every reader sees it. Nothing has touched the disk. Commit swaps the pending
// record for an empty one and hands it to the kernel with one write, checksum and all; who answers a client calls it
// before. When the memtable is full it becomes immutable, and one that was prepared ahead, with a log file of its own,
// takes its place. Where flushes or compactions cannot follow, writers are delayed a little each, the more the larger the
// backlog (backpressure). The flusher writes the immutable one to a table of level 0, records that in the manifest, and drops
// its log. Compaction workers merge tables downward, dropping what nobody can see any more.
//
// # The life of a read
//
// Get takes the present read state, an immutable bundle of memtables, tables and range deletions, by counting itself
// in; then the visible sequence number; then it looks for the newest record of the key that is not newer than that
// number: in the memtables, in level 0, newest first, and in at most one table of each level below. Get takes no lock
// and allocates nothing but the value's room. TryGet gives up where it would have to wait for the disk.
//
// # Sums
//
// For replicas to find out where they differ the engine keeps one XOR for each of 2^18 leaves of the token space (package
// sum): of a hash of every record in it. Who writes with SetSum or DeleteSum has read the record before and says what the
// XOR changes by. The change goes into the log with the operation, in memory beside the memtable, and into the manifest by
// the same edit as the memtable's table, so after a crash the sums are exactly those of what is recovered, and nothing is
// ever read for them. Where they are not known to be right, SumsExact says so and RebuildSums mends it.
//
// # Files
//
//	LOCK             held while the engine is open; has the holder's process id
//	CURRENT          names the manifest in force
//	MANIFEST-000007  which tables make up the tree, since when logs count (package manifest)
//	000008.log       operations that are in no table yet (package wal)
//	000005.sst       a table (package sstable)
//	SCRUB            how far the scrubber is
//	RESERVE          room that is given back for deletions when the disk is full; RESERVE-OPEN for opening then
//	quarantine       damaged files that were replaced
//
// Every file has its format's version in it. Numbers are never used twice.
//
// # What holds
//
//   - Sequence numbers grow by one with each operation; in memory, in the logs and over the levels, newer records of a
//     key come before older ones.
//   - What is recovered after a crash is exactly the operations up to some sequence number, and never half a batch.
//     After the loss of the process that number is at least the last Commit's; after a loss of power too under
//     SyncAlways.
//   - Nothing is dropped from a table on behalf of an operation that could still be lost.
//   - A file is removed when neither the manifest nor any reader needs it.
//   - Damage is an error that names file and place, never an absent key.
//
// # Goroutines
//
// The doctor mends tables that were found damaged, the scrubber looks for them. The syncer writes and flushes the log for those who wait, the preparer makes the logs and memtables of the next
// rotations, the keeper removes files and gives memory back, the flusher and
// the compaction workers write tables. All belong to the DB and end in Close. Any method may be called concurrently
// with any other; Batch and Iter are for one goroutine. The locks are leaves, held for memory work only: what must be
// exclusive across I/O (the log, the tree) is a token in a channel.
package storage
