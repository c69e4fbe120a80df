// Package consensus is the register that holds the ring: one value, which members
// change by compare-and-swap, so that two operators never make two rings.
//
// # A change
//
// A node that wants to change the ring runs Proposer.Change with a function from the
// ring to the next one. Three steps follow, each a message to the voters and back:
//
//	Prepare  ballot        to the voters of the present ring: take part in no lower ballot any more,
//	                       and tell what you have accepted
//	Accept   ballot, ring  to the same: the ring that f made of the present one; or, if the promises
//	                       told of an accepted ring, that one, unchanged, and then all over again
//	Learn    ring          to all members of both rings, until a majority of the new ring's voters keeps it
//
// A majority of the voters has to say yes to each. Acceptors store what they promise and
// accept before they answer. A ring is chosen when a majority has accepted it in one ballot,
// and nodes use it once they have learnt that. When two try at once, the lower ballot is
// refused, and its proposer waits for a random while and runs f again on the ring of the winner.
//
// An acceptor answers with the ring it has when the proposer's is older, and asks for the
// proposer's when its own is older, so nobody votes on the successor of a ring that it does not
// know to be chosen.
//
// # Why an epoch has one ring, though the voters change
//
// The successor of ring e is decided by the voters of ring e, whoever they propose, by one run of
// Paxos: ballots, promises and votes are about that base, and an acceptor forgets them only when it
// has stored that a successor was chosen. By induction: ring e is one ring, so its voters are one
// set, any two majorities of it share an acceptor, and so at most one successor is chosen, as Paxos
// proves: before a ballot proposes anything, a majority has promised to vote in no lower one and
// has told of the highest in which a ring may have been chosen. The first ring is the founder's.
//
// A chosen ring is not lost either. Until a majority of its own voters has stored it, which
// Change waits for, a majority of the voters before is needed for everything, and knows it; after
// that those voters are not needed, and a node that has left may be switched off.
//
// The voters are those that ring.Voters names, in the life that the ring names: a node that has
// lost its disk has lost its promises too, and could vote twice. Its new life votes once a
// ring that names it (ring.Incarnate) was chosen by the others. A new life that still has the state
// of the old one, as after a loss of power, votes in its name.
//
// # Without a majority
//
// Change then returns NoMajority with the names of those missing, and the ring stays; requests on
// keys do not need the register. If the majority is gone for good, Force lets the members that are
// left agree unanimously on a ring of a higher generation, which beats every epoch of a lower one.
// Whoever is not in it has to be kept out from then on, because those it cannot reach may decide
// on rings of the old generation: that is for the caller to be sure of.
//
// # Where it is from
//
// CASPaxos (D. Rystsov, CASPaxos: Replicated State Machines without logs, 2018): a register
// without a log, changed by functions that clients send to any proposer. It changes its acceptors
// by changes of their own, one node at a time; here they are a part of the value, and the instance
// of Paxos is that of the epoch, as in SMART (J. Lorch et al., 2006). So there is no rule for the
// order in which members may come and go.
package consensus
