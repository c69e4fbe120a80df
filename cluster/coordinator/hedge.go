package coordinator

import (
	"math/bits"
	"time"

	"kvstore/cluster/ring"
)

// hedgeAfter is when the slowest that is likely to be asked is overdue.
func (o *readOp) hedgeAfter() time.Duration {
	_, from := o.tally.missing(o.asked)
	if place := o.choose(from); place >= 0 {
		return o.v.actor(o.part, place, &o.cast).overdue()
	}
	return unknownLate
}

// giveUp tells of the replicas that have not answered, which others are asked
// for, whatever the budget: who is told of is asked no more. The caller holds mu,
// which giveUp gives up.
func (o *readOp) giveUp() {
	if o.repair {
		o.mu.Unlock()
		return
	}
	var silent [maxPlaces]ring.NodeID
	n := 0
	late := o.asked &^ o.tally.ok &^ o.tally.bad
	for set := late; set != 0; set &= set - 1 {
		if place := bits.TrailingZeros64(set); place != o.own {
			silent[n] = o.v.actor(o.part, place, &o.cast).id
			n++
		}
	}
	// The own copy can be late too, when the disk is slow.
	for {
		more, from := o.tally.missing(o.asked &^ late)
		if more == 0 {
			break
		}
		place := o.choose(from &^ o.asked &^ o.here())
		for set := late; set != 0 && place < 0; set &= set - 1 {
			if silent := bits.TrailingZeros64(set); o.standIn(silent, false) {
				place = silent
				late &^= 1 << uint(silent)
			}
		}
		if place < 0 {
			break
		}
		o.send(place)
	}
	c := o.c
	o.mu.Unlock()
	for _, id := range silent[:n] {
		c.timedOut(id)
	}
}

// hedge asks one replica more than needed. The caller holds mu, which hedge
// gives up.
func (o *readOp) hedge() {
	defer o.mu.Unlock()
	place := o.choose(o.tally.groups[0].members &^ o.asked &^ o.tally.bad &^ o.here())
	if o.repair || place < 0 || o.c.overloaded() || !o.c.budget.take(o.c.Metrics.Reads.Load(), o.c.Metrics.Hedges.Load()) {
		return
	}
	o.c.Metrics.Hedges.Add(1)
	o.send(place)
}

// overloaded reports whether more reads would only make everything later: this
// node is the slow one, or too much waits already.
func (c *Coordinator) overloaded() bool { return c.strained.Load() || c.pending.count() > hedgeBelow }

// hedgeBudget keeps hedged reads within a share of all reads.
type hedgeBudget struct{}

const (
	// hedgeShare is the share of reads that may be hedged: one in twenty.
	hedgeShare = 20
	// hedgeBelow is how many requests may wait for reads to be hedged: tens of
	// milliseconds of work.
	hedgeBelow = 8192
	// hedgeFree lets a quiet node hedge at all.
	hedgeFree = 10
)

// take reports whether one more read may be hedged.
func (hedgeBudget) take(reads, hedges uint64) bool { return hedges < hedgeFree+reads/hedgeShare }
