package consensus

import (
	"slices"

	"kvstore/cluster/ring"
)

// outcome is what an answer means for a round.
type outcome uint8

const (
	waiting    outcome = iota // for more answers
	agreed                    // enough say Yes: to a Prepare the promise, to an Accept the decision, to a Learn that it is kept
	outbid                    // another attempt has a higher ballot
	superseded                // a newer ring than the base was chosen
	hopeless                  // too few are left who could say Yes
)

// round is one attempt at deciding the successor of a ring, without clocks, goroutines and
// connections: it says what is to be asked and whom, and is told the answers.
type round struct {
	base   *ring.Ring
	ballot Ballot
	forced bool
	asking Kind
	value  *ring.Ring // what is to be accepted, then learnt
	// voters are asked, and so many of them must say Yes.
	voters []ring.NodeID
	need   int
	said   map[ring.NodeID]bool // whether a voter said Yes; others have not answered

	// pending is the ring that was accepted in the highest ballot any promise told of,
	// pendingAt. It may have been chosen.
	pending   *ring.Ring
	pendingAt Ballot
	highest   Ballot     // that anybody has promised
	newer     *ring.Ring // of who answered Superseded
}

// newRound begins an attempt by asking for promises.
func newRound(base *ring.Ring, b Ballot) *round {
	r := &round{base: base, ballot: b, highest: b}
	r.ask(Prepare, base.Voters())
	return r
}

// newForced begins an attempt among members that all have to agree.
func newForced(base *ring.Ring, b Ballot, members []ring.NodeID) *round {
	r := &round{base: base, ballot: b, highest: b, forced: true}
	r.ask(Prepare, members)
	return r
}

// propose asks the voters to accept a ring. Only a round whose voters have promised may do
// so, with pending if there is one.
func (r *round) propose(value *ring.Ring) {
	r.value = value
	r.ask(Accept, r.voters)
}

// spread tells that the value was chosen, until its own voters keep it.
func (r *round) spread() {
	r.forced = false
	r.ask(Learn, r.value.Voters())
}

func (r *round) ask(k Kind, voters []ring.NodeID) {
	r.asking, r.voters, r.said = k, voters, make(map[ring.NodeID]bool, len(voters))
	r.need = len(voters)/2 + 1
	if r.forced {
		r.need = len(voters)
	}
}

// request is what the voters are asked.
func (r *round) request() Request {
	if r.asking == Learn {
		return Request{Kind: Learn, Ring: r.value}
	}
	q := Request{Kind: r.asking, Forced: r.forced, Base: BaseOf(r.base), Ballot: r.ballot}
	if r.asking == Accept {
		q.Ring = r.value
	}
	return q
}

// take notes an answer to the present request.
func (r *round) take(from ring.NodeID, a *Answer) outcome {
	if _, twice := r.said[from]; twice || !slices.Contains(r.voters, from) {
		return waiting
	}
	switch a.Verdict {
	case Superseded:
		// To a Learn this says that the acceptor keeps something newer.
		if r.asking != Learn && !a.Ring.NewerThan(r.base) {
			return r.note(from, false)
		}
		r.newer = a.Ring
		if r.asking != Learn {
			return superseded
		}
		return r.note(from, true)
	case Outbid:
		if r.highest.Less(a.Ballot) {
			r.highest = a.Ballot
		}
		return r.note(from, false)
	case Yes:
		if r.asking == Prepare && a.Ring != nil && (r.pending == nil || r.pendingAt.Less(a.Ballot)) {
			r.pending, r.pendingAt = a.Ring, a.Ballot
		}
		return r.note(from, true)
	}
	return r.note(from, false)
}

// lost notes that a voter does not answer.
func (r *round) lost(from ring.NodeID) outcome {
	if _, twice := r.said[from]; twice || !slices.Contains(r.voters, from) {
		return waiting
	}
	return r.note(from, false)
}

func (r *round) note(from ring.NodeID, yes bool) outcome {
	r.said[from] = yes
	count := 0
	for _, yes := range r.said {
		if yes {
			count++
		}
	}
	switch {
	case yes && count == r.need:
		return agreed
	case yes || count >= r.need || count+len(r.voters)-len(r.said) >= r.need:
		return waiting
	case r.ballot.Less(r.highest):
		return outbid
	}
	return hopeless
}

// missing returns the voters for want of whom there is no majority, in the order of the ring:
// those that are lost, if they are too many already, or else all that have not said Yes.
func (r *round) missing() (ids []ring.NodeID) {
	var lost []ring.NodeID
	for _, id := range r.voters {
		yes, heard := r.said[id]
		if !yes {
			ids = append(ids, id)
		}
		if heard && !yes {
			lost = append(lost, id)
		}
	}
	if len(r.voters)-len(lost) < r.need {
		return lost
	}
	return ids
}
