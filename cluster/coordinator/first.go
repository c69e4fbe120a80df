package coordinator

import (
	"math/bits"
	"time"

	"kvstore/cluster/version"
)

// readFirst reads a quorum for a write that depends on the value: as many
// replicas as it takes to meet every write that reached W of them. Whatever W is, those
// hold what was read when readDone is called. What a run saw takes part: this node's own
// copy may be none that is read, because it is being filled, or is a fallback's.
func (c *Coordinator) readFirst(w *writeOp) {
	c.Metrics.QuorumFirst.Add(1)
	need, t := w.need(w.v)
	op := c.reads.Get().(*readOp)
	op.req, op.next = nil, w
	op.args = op.args[:0]
	op.saw = w.enc
	op.start(w.v, w.part, w.key, t, Levels{R: need, W: All, Mode: w.levels.Mode}, time.Until(w.deadline))
}

// need implements reader. What was acknowledged to clients of a data centre by its own
// replicas is met at those: the client's, wherever the soft primary is.
func (w *writeOp) need(v *view) (Level, tally) {
	place := v.places[w.part]
	level := Level(max(place.n-place.n/2, 1))
	switch l := w.levels.W; {
	case l == LocalOne || l == LocalQuorum:
		if w.req == nil {
			place = v.placementFor(w.part, w.origin)
		}
		t, _ := newTally(LocalQuorum, &place)
		if l == LocalOne {
			t.groups[0].need = bits.OnesCount64(place.local)
		}
		return LocalQuorum, t
	case l > 0:
		level = Level(max(place.n-int(l)+1, 1))
	}
	t, _ := newTally(level, &place)
	return level, t
}

// confirm answers a run that changed nothing, if what it saw is what a quorum
// holds: a value that so far is only here may yet be lost, and a reply must not
// tell of it. Otherwise it reads a quorum, which also brings that level. If the
// run had read one before, the reply stands then, whatever was written meanwhile;
// if not, somebody else's write may have been missed, and it runs again.
func (w *writeOp) confirm() {
	switch {
	case w.settled:
		w.finish(nil)
	case time.Now().After(w.deadline):
		w.finish(ErrTimeout)
	default:
		w.Keep()
		w.confirms = w.read
		w.c.readFirst(w)
	}
}

// readDone continues a write that had to read a quorum first.
func (w *writeOp) readDone(o *version.Object, err error) {
	if err != nil {
		w.finish(err)
		return
	}
	if w.confirms && w.told(o) {
		w.finish(nil)
		return
	}
	w.seen, w.read = *o.Clone(), true
	w.c.o.Replica.Do(w)
}
