// Package sim runs a whole cluster in one process and tries to break it: real
// nodes on a simulated network, simulated disks and a simulated clock, under
// faults, with clients whose history is then checked.
//
// # What is real
//
// Each machine runs cluster.Open with the commands of the server, and everything
// below: coordinator, replica, engine, gossip. Simulated are the clock (a
// testing/synctest bubble, where time passes only when everybody waits), the
// transport of messages (Network), that of gossip (package membertest) and the
// file system (vfs.Mem), which forgets at a loss of power what was not synced.
//
// # One event after another
//
// Deliveries, clients, replies and faults are events of one loop. It runs an event,
// waits until every goroutine of the cluster is blocked, and goes on to the next.
//
// # Invariants
//
// Each is a function of the history and of what the disks hold at the end; see
// check.go and linear.go, and check_test.go for proof that each can fail.
//
//   - linearizable: operations on a key at levels with R+W>N and 2W>N behave like
//     one register, also when faults make outcomes unknown
//   - fresh: with R+W>N alone, no read returns what was surely overwritten
//   - acknowledged: a write that was acknowledged is there at the end, or was
//     overwritten by one that had seen it; increments are all counted
//   - refused: what a client was told is not written is nowhere
//   - dots: no two values have one dot, and no disk holds a dot nobody issued
//   - equal: replicas of a quiet, repaired key hold the same bytes
//   - stands: every machine comes up again, and everything ends
//
// # Replay
//
// A seed decides the faults, the operations, the values, and the fate of the n-th
// message of each link. The order in which goroutines run within one event is the
// Go scheduler's; with one processor, which the tests set, it is nearly always the
// same, but gossip draws from the process's own random source, and a long event
// may be preempted. So a seed replays the schedule exactly and the run almost
// always; a bug that is found once deserves a fixed schedule as its test.
package sim
