package coordinator

import (
	"time"

	"kvstore/cluster/version"
)

// readFirst reads a quorum for a write that depends on the value: as many
// replicas as it takes to meet every write that reached W of them.
func (c *Coordinator) readFirst(w *writeOp) {
	c.Metrics.QuorumFirst.Add(1)
	place := &w.v.places[w.part]
	need := w.need(place)
	t, _ := newTally(need, place)
	op := c.reads.Get().(*readOp)
	op.req, op.next = nil, w
	op.args = op.args[:0]
	op.start(w.v, w.part, w.key, t, Levels{R: need, W: w.levels.W, Mode: w.levels.Mode}, time.Until(w.deadline))
}

// need implements reader.
func (w *writeOp) need(p *placement) Level {
	if l := w.levels.W; l > 0 {
		return Level(max(p.n-int(l)+1, 1))
	}
	return Level(max(p.n-p.n/2, 1))
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
