package coordinator

import (
	"math/bits"
	"time"

	"kvstore/cluster/hot"
)

// Hot returns what this node's clients ask for most.
func (c *Coordinator) Hot(now time.Time) *hot.Report {
	return c.hot.Report(now, c.Metrics.Reads.Load(), c.Metrics.Writes.Load())
}

// TickHot has what is hot looked at again. It is to be called a few times a second.
func (c *Coordinator) TickHot(now time.Time) {
	c.hot.Tick(now, c.Metrics.Reads.Load(), c.Metrics.Writes.Load())
}

// HotKeys returns of how many keys this node spreads the reads.
func (c *Coordinator) HotKeys() int { return c.hot.HotKeys() }

// turn says which of several replicas, all as good, is asked by a read. Most reads have none, the zero
// turn, and ask in the order of the preference list: so that the others keep their memory for other keys.
type turn uint64

// fixed marks the turn of a node, which does not change from read to read.
const fixed turn = 1 << 63

// spread gives the read a turn if its key is hot.
//
// Where any two reads meet, and every write, one may ask other replicas than the one before. Where they do
// not, a read may return an older value than the one before did, and would often do so if it asked another
// replica: there each node keeps to one, and different nodes to different ones. The caller holds mu.
func (o *readOp) spread(place *placement, l Levels) {
	o.turn = 0
	if o.next != nil || !o.c.hot.Hot(o.key.Token) {
		return
	}
	n := o.c.Metrics.SpreadReads.Add(1)
	if o.blocking && place.overlap(l.R, l.R) {
		o.turn = turn(n) &^ fixed
		return
	}
	o.turn = fixed | turn(o.rank())
}

// rank is this node's number among the replicas of the read's partition or, if it is none, among the others.
func (o *readOp) rank() int {
	if own := o.v.own[o.part]; own >= 0 {
		return int(own)
	}
	self, _ := o.v.ring.Index(o.v.self)
	rank := self
	for _, m := range o.v.ring.ReplicaIndexes(o.part) {
		if int(m) < self {
			rank--
		}
	}
	return rank
}

// choose picks one of the usable places, which are not none: of the prompt ones if there are any, and of those
// in this node's data centre if there are any.
func (t turn) choose(usable, prompt, local uint64) int {
	if prompt == 0 {
		prompt = usable
	}
	if near := prompt & local; near != 0 {
		prompt = near
	}
	n := uint64(bits.OnesCount64(prompt))
	if n == 0 {
		return -1
	}
	k := uint64(t&^fixed) % n
	if t&fixed == 0 {
		// The picks of one read must not hang together, or two replicas would always be asked beside each other.
		k = mix(uint64(t)*maxSet+n) % n
	}
	for ; k > 0; k-- {
		prompt &= prompt - 1
	}
	return bits.TrailingZeros64(prompt)
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood, 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
