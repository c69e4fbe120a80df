package cluster

// room is what a node's disk can hold: what is free there, and what the node itself has
// stored. What others have on the same disk is not the node's to move away.
type room struct {
	free, stored int64
}

// part returns which part of what the disk can hold is free.
func (r room) part() float64 {
	if r.free+r.stored <= 0 {
		return 1
	}
	return float64(r.free) / float64(r.free+r.stored)
}

// With cluster.auto_weight a node whose disk is low takes a part of its share only: one
// step less after its disk was low for some time, one step more once it would not be low
// with that. Steps that are few and large, and a condition for more that is far from that
// for less, keep the ring from changing to and fro: what a node holds follows its share, so
// after a step up it would have roomEnough, and a step down is for less than roomLow.
const (
	roomLow    = 0.2  // less is low
	roomEnough = 0.35 // what has to be free after a step up
	roomGap    = 0.1  // how much more the others need, on average, to take something over
	// lowLooks and roomyLooks are how often in a row a node has to find its disk so, a
	// minute apart: compaction needs room for a while, and what has moved is dropped last.
	lowLooks, roomyLooks = 5, 30
	roundedOff           = 1e-9
)

// weighSteps are the parts of its share that a node takes; the last is the least.
func weighSteps() [4]float64 { return [...]float64{1, 0.75, 0.5, 0.25} }

// weigher decides what part of its share a node takes. It is told how the disks are at
// every look, and remembers for how long that has been so.
type weigher struct {
	low, roomy int // looks in a row
}

// look returns the part that the node is to take, which now takes another. rests is false while
// something moves: then nothing is decided, and what was found before counts no more,
// because disks are not what they will be.
func (w *weigher) look(own room, others []room, part float64, rests bool) float64 {
	if !rests {
		*w = weigher{}
		return part
	}
	steps, at := weighSteps(), 0
	for at < len(steps)-1 && part < steps[at]*(1-roundedOff) { // it was a weight, rounded
		at++
	}
	switch {
	case own.part() < roomLow:
		w.low, w.roomy = w.low+1, 0
		if w.low >= lowLooks && at < len(steps)-1 && roomElsewhere(others) >= own.part()+roomGap {
			w.low = 0
			return steps[at+1]
		}
	case at > 0 && roomAfter(own, part, steps[at-1]) >= roomEnough:
		w.low, w.roomy = 0, w.roomy+1
		if w.roomy >= roomyLooks {
			w.roomy = 0
			return steps[at-1]
		}
	default:
		*w = weigher{}
	}
	return part
}

// roomElsewhere returns which part of what other nodes can hold is free; none if there
// are none.
func roomElsewhere(others []room) float64 {
	if len(others) == 0 {
		return 0
	}
	var sum room
	for _, o := range others {
		sum.free, sum.stored = sum.free+o.free, sum.stored+o.stored
	}
	return sum.part()
}

// roomAfter returns which part would be free if a node took another part of its share.
func roomAfter(r room, part, next float64) float64 {
	grows := int64(float64(r.stored) * (next/part - 1))
	return room{r.free - grows, r.stored + grows}.part()
}
