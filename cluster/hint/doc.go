// Package hint keeps what replicas miss while they are away, and brings it to
// them when they are back.
//
// # The life of a hint
//
// A write finds replica B gone. Another node takes the object in B's place, or, if
// there is none, the node that runs the write keeps it for B beside its own copy.
// Either way Store.Add makes a record that says "B has not got this key", and it
// goes into the engine in one batch with the object: there is never the one
// without the other. The hint holds no value. What B will get is what the key is
// worth by then, so a key that was written a thousand times has one hint, made by
// the first.
//
// When B can be reached again, a Replayer walks B's hints in the order of their
// tokens, reads the newest object of each key, and sends them in batches. B merges
// them as it merges everything, and answers what it holds now and how much more it
// grants: a window of batches in flight and a pause before the next, which are
// narrower while clients keep B busy. A hint ends when B has acknowledged the very
// object that is still there; if it was written meanwhile, the hint stays and is
// replayed again. With its last hint a copy of a key that is none of the node's
// own goes too, in the same batch.
//
// # What must stay true
//
//   - A hint of a key is added and ended under the key's lock, by one Replayer
//     for each target. So whether it is there is known where it is asked.
//   - What is counted is what is on disk: each Add and End changes the count by
//     what its batch changes. Where that would need the disk (see Add) the target
//     is counted again, from a snapshot.
//   - A hint that could not be kept, outlived its time, or whose object is damaged
//     (ErrLost), is counted as dropped and told of (Options.Dropped): comparing replicas has to find what it stood
//     for. No write fails because of it, unless the copy was needed for its level.
//
// # Layout
//
//	key    0x43 ‖ target (8 bytes, big endian) ‖ token (8, big endian) ‖ database (1) ‖ key
//	value  when it was made, in Unix milliseconds (8 bytes, big endian) ‖ size (uvarint)
//
// The size is that of the key and the object as they were then; it is what the
// bound on bytes counts. The target is a node's id and not its incarnation: a node
// that comes back emptied misses these keys all the more.
//
// Store and Replayer may be used concurrently. Pacer and Granter have no clock and
// no goroutine.
package hint
