package coordinator

import (
	"errors"
	"math/bits"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// errMoved says that a partition has other replicas, or another move under way, than
// when a request for it was let in. Nothing was done.
var errMoved = errors.New("the partition has changed")

// ringWait is how long a request waits for a node that has not got this node's ring
// yet before it asks again: a few round trips, in which that node fetches it. A ring
// that this node has not got wakes the request when it comes.
const ringWait = 2 * tick

// moved takes a write whose partition changed before it ran, or before it ran again,
// to where it belongs now. Nothing of this run was stored.
func (w *writeOp) moved() {
	c, v := w.c, w.c.view.Load()
	switch {
	case w.wrote:
		w.runAnew(v)
	case w.req != nil:
		way := route{v: v, token: w.key.Token, part: w.part, levels: w.levels, now: time.Now(), deadline: w.deadline}
		c.Metrics.Rerouted.Add(1)
		c.route(w.req, w.key.Name, w.args, way, ErrNoQuorum)
		c.putWrite(w)
	default:
		w.v = v // the answer tells of it
		c.answerStatus(w, wire.WrongEpoch, "")
	}
}

// runAnew begins the second run of a write by another ring. Where this node does not
// keep the partition any more, the outcome of the first is not known.
func (w *writeOp) runAnew(v *view) {
	w.v = v
	if !v.takes(w.part) {
		w.finish(ErrTimeout)
		return
	}
	w.mu.Lock()
	w.tally, _ = w.tallyBy(v)
	w.reassign()
	w.mu.Unlock()
	w.c.o.Replica.Do(w)
}

// tallyBy returns the tally of the write's level by a view.
func (w *writeOp) tallyBy(v *view) (t tally, possible bool) {
	place := v.places[w.part]
	if w.req == nil && (w.levels.W == LocalOne || w.levels.W == LocalQuorum) {
		place = v.placementFor(w.part, w.origin)
	}
	return newWriteTally(w.levels.W, &place)
}

// reassign is assign for a write that is stored here already, whoever this node is now.
func (w *writeOp) reassign() {
	usable, _ := w.v.reachable(w.part)
	w.own, w.keeps, w.cast = w.v.placeOf(w.part, w.c.o.Self), 0, cast{}
	w.tally.bad = 0
	if away := w.v.places[w.part].writers() &^ usable; away != 0 && w.levels.Mode == Sloppy {
		w.v.fill(w.part, away, &w.cast, w.levels.W.local())
	}
}

// outrun is called when a node has refused the object because one of the two rings is
// older: its, or this node's. The caller holds mu, which outrun gives up.
func (w *writeOp) outrun(place int) {
	if place == w.originPlace {
		w.originPlace = -1 // it has not answered its client
	}
	w.behind |= 1 << uint(place)
	if v := w.c.view.Load(); v != w.v {
		w.renew(v)
		return
	}
	w.c.alarms.set(w.id, alarmRing, ringWait)
	w.mu.Unlock()
}

// look is called when there is a new ring, and when a node may have got this one. The
// caller holds mu, which look gives up.
func (w *writeOp) look() {
	if v := w.c.view.Load(); v.changed(w.part, w.v) || w.behind != 0 && v != w.v {
		w.renew(v)
		return
	}
	again := w.behind &^ w.tally.ok &^ w.tally.bad
	w.behind = 0
	if again == 0 {
		w.mu.Unlock()
		return
	}
	m := &w.msg
	m.Timeout, m.Now, m.Origin, m.Body = time.Until(w.deadline), 0, 0, nil
	for ; again != 0; again &= again - 1 {
		if place := bits.TrailingZeros64(again); !w.send(place) {
			w.replace(place)
		}
	}
	w.settle()
}

// renew counts a write that is stored here anew, by a ring in which its partition has
// changed: those who have acknowledged and still count, count; the others get the
// object. The caller holds mu, which renew gives up.
func (w *writeOp) renew(v *view) {
	var holds [maxPlaces + 1]ring.NodeID
	n := 0
	for set := w.tally.ok; set != 0; set &= set - 1 {
		if place := bits.TrailingZeros64(set); w.cast.by[place] == 0 {
			holds[n] = w.v.idAt(w.part, place)
			n++
		}
	}
	if w.originPlace >= 0 {
		// Its own acknowledgement may have answered its client by the old ring. It
		// gets an answer in any case, but the operation does not run again.
		w.originPlace, w.final = -1, true
	}
	w.release()
	w.v, w.renewed, w.behind, w.leaders = v, true, 0, 0
	w.tally, _ = w.tallyBy(v)
	w.reassign()
	for _, id := range holds[:n] {
		if place := v.placeOf(w.part, id); place >= 0 {
			w.tally.ok |= 1 << uint(place)
		}
	}
	w.c.Metrics.Renewed.Add(1)
	w.spread()
}

// outrun notes that a node does not answer because one of the two rings is older, its
// or this node's. The caller holds mu.
func (o *readOp) outrun(place int) {
	o.tally.bad |= 1 << uint(place)
	o.outdated = true
}

// awaitRing begins the read again by the ring there is now, or waits for the other
// node to get it. The caller holds mu, which awaitRing gives up.
func (o *readOp) awaitRing() {
	if o.c.view.Load() != o.v {
		o.restart()
		return
	}
	o.stuck = true
	o.c.alarms.set(o.id, alarmRing, ringWait)
	o.mu.Unlock()
}

// restart begins the read again. The caller holds mu, which restart gives up.
func (o *readOp) restart() {
	o.release()
	v := o.c.view.Load()
	t, possible := tally{}, true
	if o.next != nil {
		o.levels.R, t = o.next.need(v)
	} else {
		t, possible = newTally(o.levels.R, &v.places[o.part])
	}
	left := time.Until(o.deadline)
	o.mu.Unlock()
	switch {
	case left <= 0:
		o.finish(ErrTimeout)
	case !possible:
		o.finish(ErrLevel)
	default:
		o.c.Metrics.Rerouted.Add(1)
		o.start(v, o.part, o.key, t, o.levels, left)
	}
}
