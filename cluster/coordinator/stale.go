package coordinator

import (
	"slices"

	"kvstore/cluster/version"
)

// hear notes what a stale replica holds. The caller holds mu.
func (w *writeOp) hear(held []byte) {
	var o version.Object
	if err := o.Decode(held); err != nil {
		return
	}
	w.stale = true
	before := w.heard
	w.heard = version.Object{}
	version.Merge(&w.heard, &before, o.Clone())
}

// again begins the second run of a write that replicas found stale. Its client
// has no answer: while the origin's acknowledgement is out, which may have
// completed the request there, there is no second run. The caller holds mu,
// which again gives up.
func (w *writeOp) again() {
	var seen version.Object
	version.Merge(&seen, &w.seen, &w.heard)
	w.seen = *seen.Clone()
	w.release()
	w.mu.Unlock()
	w.c.Metrics.StaleWrites.Add(1)
	w.v.unsettle(w.part)
	w.c.o.Replica.Do(w)
}

// mend makes the object cover what stale replicas held, which this write meant to
// replace and had not seen. It is no new event: whoever has read this write may
// have replaced it since without our knowledge, and a new event would bring it
// back. What is newer than this write stays, and wins; then the write was never
// in force at those replicas and cannot be acknowledged.
func (w *writeOp) mend(o *version.Object) {
	newest := w.seen.Newest()
	if newest != nil && newest.Dot.Compare(w.dot) > 0 && o.Has(newest.Dot) {
		w.beaten = true
	}
	if w.beaten || w.passed {
		return
	}
	o.Siblings = slices.DeleteFunc(o.Siblings, func(s version.Sibling) bool {
		replaced := s.Dot != w.dot && w.seen.Has(s.Dot)
		if replaced && w.c.o.Mended != nil {
			w.c.o.Mended(w.dot, s.Dot)
		}
		return replaced
	})
}

// told reports whether a quorum now holds what the last run, which changed
// nothing, saw.
func (w *writeOp) told(o *version.Object) bool {
	if len(w.enc) == 0 {
		return true
	}
	var saw version.Object
	return saw.Decode(w.enc) == nil && o.Covers(&saw)
}
