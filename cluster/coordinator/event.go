package coordinator

import (
	"kvstore/cluster/hlc"
	"kvstore/cluster/version"
)

// depends reports whether the reply or the effect depends on what was there.
func (w *writeOp) depends() bool { return w.op.Depends == nil || w.op.Depends(w.args) }

// event makes the write event that the call decided on.
func (w *writeOp) event(o *version.Object) error {
	c := &w.call
	seen := o.Context.Newest()
	if c.context != nil {
		seen = max(seen, c.context.Newest())
	}
	at, err := w.timestamp(seen)
	if err != nil {
		return err
	}
	w.dot = version.Dot{Node: w.c.incarnation(w.v, w.part), Time: at}
	dropped := 0
	switch c.effect {
	case effectPut:
		dropped, err = o.Update(w.dot, c.context, version.Sibling{Kind: version.String, Value: c.newValue, Deadline: c.newDeadline})
	case effectRemove:
		dropped, err = o.Update(w.dot, c.context, version.Sibling{Kind: version.Tombstone})
	case effectAdd:
		if c.Exists {
			dropped, err = o.Increment(w.dot, c.delta, c.Deadline)
		} else {
			dropped, err = o.Update(w.dot, nil, version.Sibling{Kind: version.Counter, Delta: c.delta})
		}
	case effectExpire:
		dropped, err = w.expire(o)
	case effectNone:
		// A second run found that the operation should have done nothing:
		// what stood there is written again, over the first run's effect.
		dropped, err = w.restore(o)
	}
	w.c.Metrics.ContextsBounded.Add(uint64(dropped))
	return err
}

// timestamp is for an event that has seen another. A write that has not waited for
// anything began just now.
func (w *writeOp) timestamp(seen hlc.Timestamp) (hlc.Timestamp, error) {
	if w.kept {
		return w.c.o.Clock.After(seen)
	}
	return w.c.o.Clock.AfterAt(seen, w.now)
}

// expire gives the key another deadline. A counter stays the sum of its
// siblings: an increment of nothing carries the deadline.
func (w *writeOp) expire(o *version.Object) (int, error) {
	if w.call.Counter {
		return o.Increment(w.dot, 0, w.call.newDeadline)
	}
	return o.Update(w.dot, nil, version.Sibling{Kind: version.String, Value: w.call.Value, Deadline: w.call.newDeadline})
}

// restore writes what the call saw once more.
func (w *writeOp) restore(o *version.Object) (int, error) {
	c := &w.call
	switch {
	case !c.Exists:
		return o.Update(w.dot, nil, version.Sibling{Kind: version.Tombstone})
	case c.Counter:
		return o.Increment(w.dot, 0, c.Deadline)
	}
	return o.Update(w.dot, nil, version.Sibling{Kind: version.String, Value: c.Value, Deadline: c.Deadline})
}
