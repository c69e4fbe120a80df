package coordinator

import (
	"math/bits"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// Hints keeps what replicas that are away miss; package hint has it.
type Hints interface {
	// Add appends to beside the record of a hint that target has not got a key,
	// unless there is one. It is called under the key's lock; false: no hint is
	// kept.
	Add(beside []replica.Record, target ring.NodeID, k replica.Key, size int) ([]replica.Record, bool)
	// Undo says that what was added for a target was not stored.
	Undo(target ring.NodeID)
}

// noHints is where no hints are kept, in tests.
type noHints struct{}

func (noHints) Add(beside []replica.Record, _ ring.NodeID, _ replica.Key, _ int) ([]replica.Record, bool) {
	return beside, true
}
func (noHints) Undo(ring.NodeID) {}

// cast says who acts at each place of a preference list in one request: the
// replica itself, or a fallback that stands in for it. The zero cast is everybody
// for himself. A tally knows places only, so a stand-in counts as whom it stands
// in for, and the two of them as one.
type cast struct {
	// by is, for each place, 1 + the index of the stand-in among the partition's
	// fallbacks; 0 is the replica itself.
	by    [maxPlaces + 1]uint8
	tried uint64 // fallbacks that act, or will not, by their index
	any   bool   // somebody stands in
}

// stoodIn returns the places at which fallbacks act.
func (c *cast) stoodIn() (places uint64) {
	if c.any {
		for i, f := range c.by {
			if f != 0 {
				places |= 1 << uint(i)
			}
		}
	}
	return places
}

// maxSet bounds replicas and fallbacks of a partition together: sets of them are
// bits.
const maxSet = 64

// fallbacksOf returns those who may stand in, as indexes of members, in the order
// in which they are asked. It is made when somebody is away for the first time.
func (v *view) fallbacksOf(p ring.Partition) []uint16 {
	if list := v.fallbacks[p].Load(); list != nil {
		return *list
	}
	var list []uint16
	for _, id := range v.ring.Fallbacks(p, nil) {
		if v.placeOf(p, id) >= 0 {
			continue // the partner acts already
		}
		if i, found := v.ring.Index(id); found && len(list) < maxSet-v.places[p].width() {
			list = append(list, uint16(i))
		}
	}
	v.fallbacks[p].Store(&list)
	return list
}

// fallbackAt returns this node's index among the fallbacks of a partition, -1 if
// it is none.
func (v *view) fallbackAt(p ring.Partition, id ring.NodeID) int {
	for i, m := range v.fallbacksOf(p) {
		if v.ring.Members[m].ID == id {
			return i
		}
	}
	return -1
}

// reachOf is how a member can be used; this node always can.
func (v *view) reachOf(member uint16) Reach {
	if v.ring.Members[member].ID == v.self {
		return Up
	}
	return v.peers[member].is()
}

// standIn has the next fallback act at a place: one that answers promptly if there
// is any, one of the replica's data centre before others, and none of another one
// when local. False when there is none left.
func (v *view) standIn(p ring.Partition, place int, c *cast, local bool) bool {
	home := v.ring.Members[v.lists[p][place]].DC
	best, rank := -1, 0
	for i, m := range v.fallbacksOf(p) {
		reach, near := v.reachOf(m), v.ring.Members[m].DC == home
		if c.tried>>uint(i)&1 != 0 || reach == Down || local && !near {
			continue
		}
		r := 2 * int(reach)
		if near {
			r++
		}
		if r > rank {
			best, rank = i, r
		}
	}
	if best < 0 {
		return false
	}
	c.by[place] = uint8(best + 1)
	c.tried |= 1 << uint(best)
	c.any = true
	return true
}

// fill gives the replicas that are away stand-ins, as far as there are any, and
// returns the places that are filled.
func (v *view) fill(p ring.Partition, away uint64, c *cast, local bool) (filled uint64) {
	for set := away; set != 0; set &= set - 1 {
		place := bits.TrailingZeros64(set)
		if v.standIn(p, place, c, local) {
			filled |= 1 << uint(place)
		}
	}
	return filled
}

// reachableBy is reachable of a cast.
func (v *view) reachableBy(p ring.Partition, c *cast) (usable, prompt uint64) {
	usable, prompt = v.reachable(p)
	for set := c.stoodIn(); set != 0; set &= set - 1 {
		place := bits.TrailingZeros64(set)
		bit := uint64(1) << uint(place)
		usable, prompt = usable&^bit, prompt&^bit
		switch v.reachOf(v.fallbacksOf(p)[c.by[place]-1]) {
		case Up:
			usable, prompt = usable|bit, prompt|bit
		case Slow:
			usable |= bit
		}
	}
	return usable, prompt
}

// actor returns who acts at a place.
func (v *view) actor(p ring.Partition, place int, c *cast) *peer {
	if f := c.by[place]; f != 0 {
		return v.peers[v.fallbacksOf(p)[f-1]]
	}
	return v.peerAt(p, place)
}

// placeBy returns the place at which a node acts, or would act, -1 if none.
func (v *view) placeBy(p ring.Partition, id ring.NodeID, c *cast) int {
	if place := v.placeOf(p, id); place >= 0 || !c.any {
		return place
	}
	for place, f := range c.by[:len(v.lists[p])] {
		if f != 0 && v.ring.Members[v.fallbacksOf(p)[f-1]].ID == id {
			return place
		}
	}
	return -1
}

// memberAt returns a member of the list that replicas and, behind them, fallbacks
// make.
func (v *view) memberAt(p ring.Partition, place int) uint16 {
	if n := v.places[p].n; place >= n {
		return v.fallbacksOf(p)[place-n]
	}
	return v.ring.ReplicaIndexes(p)[place]
}

// local reports whether a level counts only replicas of certain data centres.
func (l Level) local() bool { return l == LocalOne || l == LocalQuorum || l == EachQuorum }
