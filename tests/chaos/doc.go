// Package chaos breaks a real cluster while real clients use it, and checks that
// nothing acknowledged is lost and nothing deleted returns.
//
//	make chaos                                   ten minutes, and some for looking
//	go test ./tests/chaos -for=2m -seed=7        two, and the faults of seed 7
//
// Nodes run on hosts of their own (package lab). Clients on another one speak the
// Redis protocol, each over connections to two nodes; one that fails or says nothing
// is replaced by one to another node. There are three tests:
//
//   - TestChaos, for half of the time: five nodes (N=3 R=2 W=2), and faults of the
//     network, of processes and of disks.
//   - TestChaosGrowing, for a quarter: three nodes become six, and those three again,
//     one after the other, under kill -9 of who has to do with it.
//   - TestChaosCentres, for a quarter: three nodes and replicas in each of two data
//     centres with 20 ms between them, of which one is lost and comes back.
//
// The last two go by rounds of about a minute, and half a one: as many as there is time
// for, and one at least, which is a small one where there is less than bigRound.
//
// # Workloads
//
// All run at once, and differ in what is checked:
//
//   - registers: several clients GET, SET and DEL the same few keys, in strict mode.
//     The history of each key must be linearizable (porcupine). Keys are replaced
//     by new ones every few seconds, which keeps histories short.
//   - sets: each element is a key of its own that is set once, and some are deleted
//     later. At the end an element that was acknowledged and never deleted is
//     there, and one whose deletion was acknowledged is not.
//   - owners: each client sets and deletes keys that no other client writes. At the
//     end a key has the outcome of the last acknowledged operation, or of one whose
//     outcome is unknown.
//   - counters: INCR. At the end a counter is at least the number of acknowledged
//     increments, and at most that and the unknown ones.
//
// The registers' clients are strict; the others use the default, sloppy mode, in which
// stand-ins answer for nodes that are away. There a DEL that replies 0 may not have
// seen what is there, and counts as unknown.
//
// An error that says that nothing was written is believed, and checked: its value
// must never be seen.
//
// # Faults
//
// The seed chooses kinds, places, and times (plan.go): kill -9, an orderly restart,
// SIGSTOP, a node without network, cut in one direction, a cut between two nodes,
// a split of the cluster, delayed and lossy links, a full disk; alone or two at a
// time, with quiet between. The schedule of a seed is the same each time, what
// processes make of it is not.
//
// # Growing
//
// In a round three nodes join, and three of the six are decommissioned, whichever. In
// each of these changes two nodes are killed and started again a moment later; over the
// round each part (a source, a target, who planned: the node that took the new one in or
// that was given the command) at each stage (planned, copying, switched, cleaning up),
// as rings tell of them (grow.go). Who planned may die with the command under way: then
// the operator looks, and gives it to another. In the end a node is killed for good, its
// directory is deleted, and another gets its place by kvstore cluster replace and remove.
// Each change has to end with a settled ring, by every node, before the next.
//
// # Data centres
//
// Clients use the nodes of their own data centre, at local_quorum. In a round the link
// is cut, and after it is back the west is killed whole. Then each_quorum has to be
// refused by NOQUORUM, the east goes on, and in the end replicas are equal, and
// kvstore repair completes. All that docs/consistency.md promises across data centres is
// checked: registers of each data centre for themselves, and keys that one client writes
// at one level and others read at another (across.go). At first, while nothing happens,
// bytes over the link are counted: a value crosses it once each way at most, whatever
// the number of replicas.
//
// # The end
//
// All faults are healed, the nodes see each other again, and hints are handed over.
// Then replicas have to become level by themselves: every node, asked alone (R=ONE),
// must say the same of every key. Each key is read at R=ALL, everything is checked,
// and each replica alone must say the same still.
//
// What is printed is the number of operations and of faults of each kind, the unknown
// outcomes, and the longest time that a client had no operation succeed. A run that
// fails keeps the nodes' directories and the history, and prints the seed.
package chaos
