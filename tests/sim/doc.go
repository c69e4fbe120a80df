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
// # A run
//
// A seed decides a Plan: more than ten minutes, in which the clients work for a few
// rounds, with faults striking around each, and now and then one that lasts for
// minutes. What is quiet costs little: ten minutes without work are a tenth of a
// second. Most of that would be gossip, so in seven of eight seeds it is several times
// slower than a server's; the connections still tell who can be reached. Then all
// faults end. Hints must be delivered, the replicas must become
// level and every partition settled by their comparing, while nobody reads; then the
// machines stop. Every minute, and at the end, all disks are looked at (look.go).
//
// # Faults
//
// See Fault. Messages are lost, doubled, overtaken and late (Trouble); ways are cut
// in one direction or both, between two machines or groups; processes are paused,
// stopped, killed between any two changes of their disks, in the middle of a turn,
// or with their power, after which each unsynced page may be there or not; disks
// are full for a while, rot (tables, logs and manifests), or are replaced by their
// image of minutes ago or by an empty one, after which the one before may come back;
// clocks are minutes wrong. What a server or its operator does when a node says that
// it has to end, or does not start and names the mend, is done too (places.go, rot.go).
//
// Members come and go (Config.Members, members.go, operate.go): machines join with an
// empty disk, hand over what they hold and leave, die for good and are declared dead,
// are replaced and weighed; plans are aborted and paused, two operators plan at once,
// and who plans, enters or leaves is killed, at a step of a transfer that is waited for
// (KillMover). When the faults end so do pauses, and everybody who waits is let in. A
// majority may be lost for good and the cluster recovered by force (majority.go). In a
// third of these seeds more replicas are asked for now and then, or fewer (replicas.go).
//
// Machines may be spread over data centres (Config.Centres, centres.go), which are cut off
// and lost as a whole.
//
// A message that asks to run an operation is never doubled: that it runs at most
// once is what a connection gives.
//
// # What clients are promised
//
// Strict, with R+W>N and 2W>N: operations on a key behave like one register, unless
// a disk has lost what it held.
//
// Sloppy: nothing acknowledged is lost. A read may miss what others have written,
// while machines that hold it cannot be reached. But once the faults have ended and
// the replicas are level, each acknowledged write is either a sibling of its key,
// or was replaced by a version whose node held it when that version was made, and
// for which the same is true. So of two plain SETs made on two sides of a partition
// both remain, and a GET shows the newer; the next plain SET replaces both. What an
// acknowledged write has replaced or deleted does not return.
//
// # Invariants
//
// Each is a function of the history, of the order of causes (past.go), and of what
// the disks hold; see check.go, check_past.go, look.go and linear.go. The tests of
// checks prove for each that it can fail.
//
//   - linearizable: see above; also when faults make outcomes unknown
//   - fresh: with R+W>N alone, no read returns what was surely overwritten
//   - acknowledged: see above; increments are all counted, and none twice
//   - returned: what an acknowledged write has replaced is not there at the end
//   - written: every value that is read was written to that key before
//   - expired: no read returns a value after its deadline
//   - context: a write with a context replaces only what its client had seen
//   - siblings: of two siblings none had replaced the other
//   - collected: where a tombstone was forgotten, no replica holds what it deleted
//   - hints: what a machine was owed and is no longer has arrived there, or was
//     dropped and counted; once everybody is there all are delivered
//   - refused: what a client was told is not written is nowhere
//   - dots: no two values have one dot, and no disk holds a dot nobody issued
//   - equal: replicas of a quiet key hold the same bytes, and nobody else holds it;
//     this comes about without reads, within two periods of comparing
//   - place: who has met a life of a node meets no earlier one, whatever disk is
//     started in its place; a node has to end only if there is such a disk
//   - ring: no two rings are of one generation and epoch; a partition has N distinct
//     holders while there are N members, and each data centre its part of them; one of its
//     transfers at most is under way; who is recovered without has no part in the ring
//   - ends: within minutes of the last fault nothing moves any more
//   - left: who has left the ring holds nothing
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
//
// A seed that fails is made smaller (Shrink): faults, clients, operations, keys and
// time are left out as long as it still fails. What remains is printed as one
// command.
package sim
