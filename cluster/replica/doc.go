// Package replica is one node's copy of the data: it turns engine records into
// versioned objects, holds a key's lock while an operation runs on it, and
// never makes its caller wait for the disk.
//
// # The life of a task
//
// A Task is one read-modify-write of one key: a client's command at the soft
// primary, or the merging of an object another node sent. Do takes the key's
// lock, reads the object from memory or cache, lets the task decide, stores the
// result and calls Done, all on the caller's goroutine. When the object's block
// is not in the cache the task is parked: Keep tells it to copy what it
// borrowed, a worker loads the block, and the tasks parked on that key run in
// the order in which they came. A later task on a key with parked tasks queues
// behind them, so operations on one key never overtake each other. How many
// wait for the disk is bounded; what comes beyond ends with ErrBusy. Time is the
// task's own affair: Apply is where it can find that its time is over.
//
// Where the store has fallen behind (Slowing) tasks are parked in the same way until
// it is to be written to: no caller, no lock and no read waits for that. Crowded
// says when clients' writes are to be refused instead.
//
// A Reader is the same for a read, which needs no lock. Who knows the token of
// either a little earlier tells Expect, so that it finds memory near, and who knows
// several tells ExpectAll (expect.go).
//
// # Invariants
//
//   - Between reading an object and storing its successor the key's lock is
//     held, so no task ever works on an object that another one has replaced.
//
//   - Done and Loaded run without any lock.
//
//   - What was flushed (see Flush) is never seen again: siblings at or before a
//     database's horizon are dropped from every object that is read or merged.
//
//   - Every write tells the engine what it changes of the sum of its leaf (Sum), so
//     sums are those of the records at any moment.
//
//   - What died at or before its partition's death horizon counts as absent, be it
//     removed yet or not, and is not stored again (death.go).
//
// Locks are striped by token. All methods may be called concurrently.
package replica
