package coordinator

import (
	"slices"

	"kvstore/cluster/ring"
)

// move is what is under way for one partition, as requests see it; the zero move is
// nothing. A ring tells it by Partner, Unfilled and TransferOf.
type move struct {
	partner  ring.NodeID // who gets writes beside the replica at place; 0: nobody
	place    int8
	switched bool // the replica at place has just begun to be read in its partner's stead
	filling  bool // the replica at place takes writes and answers no reads
}

// moveIn reads a partition's move from a ring.
func moveIn(r *ring.Ring, p ring.Partition) move {
	if place, ok := r.Unfilled(p); ok {
		return move{place: int8(place), filling: true}
	}
	place, partner, ok := r.Partner(p)
	if !ok {
		return move{}
	}
	t, _ := r.TransferOf(p)
	return move{partner: partner, place: int8(place), switched: t.Step == ring.Switched}
}

// EpochOf is the epoch of a ring as requests carry it, and NewerRing tells it: that of a
// later generation is later.
func EpochOf(r *ring.Ring) ring.Epoch { return ring.Epoch(r.Generation)<<48 | r.Epoch }

// pairUp derives what pairs there are.
func (v *view) pairUp() {
	if !v.moving() {
		return
	}
	for i := range v.places {
		p := ring.Partition(i)
		m := moveIn(v.ring, p)
		if m == (move{}) {
			continue
		}
		if v.moves == nil {
			v.moves = make([]move, len(v.places))
		}
		v.moves[p] = m
		place := &v.places[p]
		if m.filling {
			place.blind = 1 << uint(m.place)
			continue
		}
		if at, found := v.ring.Index(m.partner); found {
			place.pair = pair{place: 1 << uint(m.place), partner: 1 << uint(place.n)}
			v.lists[p] = append(slices.Clip(v.lists[p]), uint16(at))
		}
	}
}

// moveOf returns what is under way for a partition.
func (v *view) moveOf(p ring.Partition) move {
	if v.moves == nil {
		return move{}
	}
	return v.moves[p]
}

// fall notes whether this node's copy of a partition that has changed may answer
// reads. One that has taken the place of another may not until it has been compared
// with that one once more (CaughtUp).
func (v *view) fall(p ring.Partition) {
	m, lacks := v.moveOf(p), &v.states[p].lacks
	if (m.switched || m.filling) && v.own[p] == m.place {
		lacks.Or(lacksLatest)
		v.unsettle(p)
		return
	}
	lacks.And(^uint32(lacksLatest))
}

// CaughtUp says that this node's copy of a partition has what its partner, or whom it
// replaces, could have told a reader of. It was compared with the partner after that
// one had adopted the ring by which this node is read in its stead.
func (c *Coordinator) CaughtUp(p ring.Partition) {
	if v := c.view.Load(); v != nil && int(p) < len(v.states) {
		v.states[p].lacks.And(^uint32(lacksLatest))
	}
}

// Lags reports whether this node's copy of a partition waits for CaughtUp.
func (c *Coordinator) Lags(p ring.Partition) bool {
	v := c.view.Load()
	return v != nil && int(p) < len(v.states) && v.states[p].lacks.Load()&lacksLatest != 0
}

// moving reports whether partitions are about to change.
func (v *view) moving() bool { return len(v.ring.Transfers) > 0 }
