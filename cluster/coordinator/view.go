package coordinator

import (
	"slices"
	"sync/atomic"
	"time"

	"kvstore/cluster/ring"
)

// Reach says how a node can be used right now.
type Reach uint32

// Down nodes get nothing. Slow nodes are suspect: they are asked last. Up nodes
// are asked first.
const (
	Down Reach = iota
	Slow
	Up
)

// peer is what the coordinator knows of a member, shared by successive views.
type peer struct {
	id    ring.NodeID
	reach atomic.Uint32
	// late is when an answer of this peer is overdue: its p95, in nanoseconds.
	late atomic.Int64
}

func (p *peer) is() Reach { return Reach(p.reach.Load()) }

// view is the ring as requests see it: everything a request looks up is an
// array index away. It never changes; a new ring makes a new view.
type view struct {
	ring   *ring.Ring
	epoch  ring.Epoch // see EpochOf
	self   ring.NodeID
	peers  []*peer      // by member index
	places []placement  // by partition
	own    []int8       // by partition: this node's place in the preference list, -1 none
	since  []ring.Epoch // by partition: the first epoch this node knows it to have had this list and this move in
	moves  []move       // by partition: what is under way; nil for nothing anywhere
	states []state      // by partition; shared by successive views
	// lists are, by partition, the members that get writes: its preference list, and
	// behind it the partner of one of its places.
	lists [][]uint16
	// fallbacks are, by partition, who may stand in, nil before anybody asked;
	// see fallbacksOf.
	fallbacks []atomic.Pointer[[]uint16]
}

// state is what this node knows of its copy of a partition, whatever ring it works by.
type state struct {
	// unsettled says that another node may have written what this one has not seen,
	// so a decision that depends on the value reads a quorum first.
	unsettled atomic.Bool
	doubts    atomic.Uint32 // how often it became unsettled
	// lacks says, if it is not 0, that the copy lacks something, and answers no reads.
	lacks atomic.Uint32
}

// What a copy can lack.
const (
	lacksPast   = 1 << iota // what it once held: SetFilled
	lacksLatest             // what its partition's other holders may have got last: CaughtUp
)

// newView derives a view; peers are made by get, which finds known ones again.
func newView(r *ring.Ring, self ring.NodeID, get func(ring.NodeID) *peer) *view {
	v := &view{
		ring: r, epoch: EpochOf(r), self: self,
		peers:     make([]*peer, len(r.Members)),
		places:    make([]placement, r.Q),
		own:       make([]int8, r.Q),
		since:     make([]ring.Epoch, r.Q),
		lists:     make([][]uint16, r.Q),
		fallbacks: make([]atomic.Pointer[[]uint16], r.Q),
	}
	for i := range r.Members {
		v.peers[i] = get(r.Members[i].ID)
	}
	home := ""
	if m := r.Member(self); m != nil {
		home = m.DC
	}
	for p := range v.places {
		v.own[p] = -1
		v.lists[p] = r.ReplicaIndexes(ring.Partition(p))
		v.places[p] = v.place(v.lists[p], home)
		for i, id := range r.Replicas(ring.Partition(p)) {
			if id == self {
				v.own[p] = int8(i)
			}
		}
	}
	v.pairUp()
	return v
}

// follow finds out what changed since the view before, which may be nil.
func (v *view) follow(before *view) {
	if before == nil || before.ring.Q != v.ring.Q {
		before = nil
		v.states = make([]state, v.ring.Q)
	} else {
		v.states = before.states
	}
	for i := range v.since {
		p := ring.Partition(i)
		v.since[p] = v.epoch
		if before == nil || !slices.Equal(before.ring.Replicas(p), v.ring.Replicas(p)) {
			v.unsettle(p) // another node may have been soft primary
		}
		if before != nil && before.moveOf(p) == v.moveOf(p) && sameSet(before.ring.Replicas(p), v.ring.Replicas(p)) {
			v.since[p] = before.since[p]
		} else {
			v.fall(p)
		}
	}
}

func sameSet(a, b []ring.NodeID) bool {
	if len(a) != len(b) {
		return false
	}
	for _, id := range a {
		if !slices.Contains(b, id) {
			return false
		}
	}
	return true
}

// changed reports whether a partition has another list or another move in this view
// than in an older one.
func (v *view) changed(p ring.Partition, older *view) bool {
	return v != older && v.since[p] > older.epoch
}

// place derives the placement of a preference list.
func (v *view) place(members []uint16, home string) (p placement) {
	p.n = len(members)
	var names [maxGroups]string
	for i, m := range members {
		dc := v.ring.Members[m].DC
		if dc == home {
			p.local |= 1 << uint(i)
		}
		g := 0
		for g < p.ndcs && names[g] != dc {
			g++
		}
		if g == p.ndcs && p.ndcs < maxGroups {
			names[g] = dc
			p.ndcs++
		}
		p.dcs[min(g, maxGroups-1)] |= 1 << uint(i)
	}
	return p
}

// reachable returns the replicas of a partition, and the partner, that can be used
// and those of them that answer as they should, as places in the preference list.
func (v *view) reachable(p ring.Partition) (usable, prompt uint64) {
	for i, m := range v.lists[p] {
		bit := uint64(1) << uint(i)
		if v.peers[m].id == v.self {
			usable, prompt = usable|bit, prompt|bit
			continue
		}
		switch v.peers[m].is() {
		case Up:
			prompt |= bit
			usable |= bit
		case Slow:
			usable |= bit
		}
	}
	return usable, prompt
}

// placementFor returns a partition's placement as a coordinator sees it: what is
// local is so by its data centre.
func (v *view) placementFor(p ring.Partition, coordinator ring.NodeID) placement {
	place := v.places[p]
	m := v.ring.Member(coordinator)
	if m == nil {
		return place
	}
	place.local = 0
	for i, r := range v.ring.ReplicaIndexes(p) {
		if v.ring.Members[r].DC == m.DC {
			place.local |= 1 << uint(i)
		}
	}
	return place
}

// peerAt returns the peer at a place of a partition's preference list, or its partner.
func (v *view) peerAt(p ring.Partition, place int) *peer { return v.peers[v.lists[p][place]] }

// idAt returns the node at a place of a partition's preference list, or its partner.
func (v *view) idAt(p ring.Partition, place int) ring.NodeID { return v.peerAt(p, place).id }

// placeOf returns a node's place in a partition's preference list, that behind the
// list if it is the partner, -1 if none.
func (v *view) placeOf(p ring.Partition, id ring.NodeID) int {
	for i, m := range v.lists[p] {
		if v.peers[m].id == id {
			return i
		}
	}
	return -1
}

// takes reports whether this node keeps what is written to a partition: as a replica
// or as a partner.
func (v *view) takes(p ring.Partition) bool { return v.own[p] >= 0 || v.placeOf(p, v.self) >= 0 }

// overdue returns when an answer of a peer is late enough to ask another one.
func (p *peer) overdue() time.Duration {
	d := time.Duration(p.late.Load())
	if d == 0 {
		return unknownLate
	}
	return max(d, minLate)
}

const (
	// unknownLate is how long to wait for a peer whose latency is not known.
	unknownLate = 20 * time.Millisecond
	// silence is how late an answer is when its node is told of as not
	// answering: longer than a pause of the collector or a slow flush, shorter
	// than the silence after which its connection is given up.
	silence = 250 * time.Millisecond
	// silenceAgain is the time until it is told of again.
	silenceAgain = silence / 2
	// mute is after how long without any sign of life of its soft primary a
	// forwarded write is given up. Pings are answered by what answers requests, so
	// nothing has been served there for that long, and whoever asks again is served
	// by another replica. A shorter pause is waited for: where many processes
	// share few processors a node that lives is not run for half a second.
	mute = 3 * silence
	// notRun is how late alarms are of a node that was not run itself.
	notRun = silenceAgain / 2
	// minLate keeps the hedging of very fast peers from reacting to noise.
	minLate = 2 * tick
)
