package coordinator

import (
	"errors"
	"math/bits"
	"slices"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/version"
)

// maxHeals bounds the damaged records that are being fetched from other replicas at once.
const maxHeals = 256

// healing replaces a record of this node that cannot be read by what the other replicas hold: it reads as many of them
// as it takes to meet every acknowledged write without the help of this node's own copy, merges that with what is left
// here, and stores it. Until then the record counts as damaged, whoever asks for it.
type healing struct {
	c    *Coordinator
	key  replica.Key
	then func(error) // nil when nobody waits
}

// heal begins to replace a damaged record. then, which may be nil, is called once, with nil when the record is whole, or
// when all agree that there is none.
func (c *Coordinator) heal(v *view, key replica.Key, timeout time.Duration, then func(error)) {
	if then == nil {
		then = func(error) {}
	}
	part := v.ring.PartitionOf(key.Token)
	place := &v.places[part]
	if place.n < 2 || v.own[part] < 0 {
		then(ErrCorrupt) // nobody else has it
		return
	}
	if c.heals.Add(1) > maxHeals {
		c.heals.Add(-1)
		then(ErrOverloaded)
		return
	}
	key.Name = slices.Clone(key.Name)
	h := &healing{c: c, key: key, then: func(err error) {
		c.heals.Add(-1)
		then(err)
	}}
	need := c.healLevel(place)
	t, _ := newTally(need, place)
	levels, usual := c.levels(Levels{}, true)
	if timeout <= 0 {
		timeout = usual
	}
	op := c.reads.Get().(*readOp)
	op.req, op.next, op.others = nil, h, true
	op.args = op.args[:0]
	op.start(v, part, key, t, Levels{R: need, W: levels.W}, timeout)
}

// healLevel is how many of the other replicas have to be asked.
func (c *Coordinator) healLevel(place *placement) Level {
	w, l := place.n/2+1, c.Defaults().W
	if l > 0 || l == LocalOne || l == LocalQuorum {
		w = l.Count(place.n, place.least())
	}
	return Level(max(1, min(place.n-w+1, place.n-1)))
}

// need implements reader.
func (h *healing) need(v *view) (Level, tally) {
	place := &v.places[v.ring.PartitionOf(h.key.Token)]
	level := h.c.healLevel(place)
	t, _ := newTally(level, place)
	return level, t
}

// readDone implements reader.
func (h *healing) readDone(o *version.Object, err error) {
	if err != nil {
		h.then(err)
		return
	}
	h.c.o.Replica.Do(&restoreTask{c: h.c, key: h.key, object: o.Append(nil), then: h.then})
}

// heardEnough reports whether a read that could not use the own copy met enough others to replace it.
func (o *readOp) heardEnough() bool {
	others := o.tally.ok &^ (1 << uint(o.v.own[o.part]))
	return bits.OnesCount64(others) >= int(o.c.healLevel(&o.v.places[o.part]))
}

// healOwn replaces the own copy, which the read found damaged: by what the read has heard, if that is enough, else by
// asking more replicas. No lock is held.
func (o *readOp) healOwn() {
	if o.heardEnough() {
		if o.merged.Empty() {
			return
		}
		key := o.key
		key.Name = slices.Clone(key.Name)
		o.c.o.Replica.Do(&restoreTask{c: o.c, key: key, object: o.merged.Append(nil)})
		return
	}
	o.c.heal(o.v, o.key, 0, nil)
}

// restoreTask replaces a damaged record.
type restoreTask struct {
	c      *Coordinator
	key    replica.Key
	object []byte
	then   func(error) // nil when nobody waits
}

// Key implements replica.Task.
func (t *restoreTask) Key() replica.Key { return t.key }

// Keep implements replica.Task.
func (t *restoreTask) Keep() {}

// Mends implements replica.Mender.
func (t *restoreTask) Mends(err error) bool { return isDamage(err) }

// Apply implements replica.Task. A record that can be read was restored by another read meanwhile; what is behind in it
// is an ordinary repair's business. What is left of a damaged one is merged.
func (t *restoreTask) Apply(s *replica.Scratch) ([]byte, error) {
	if s.Found {
		return nil, nil
	}
	if err := s.Other.Decode(t.object); err != nil {
		return nil, err
	}
	t.c.o.Replica.Forget(t.key.DB, &s.Other)
	version.Merge(&s.Merged, &s.Object, &s.Other)
	if s.Merged.Empty() {
		return nil, nil // there is nothing to store that would make the key whole
	}
	s.Buf = s.Merged.Append(s.Buf[:0])
	return s.Buf, nil
}

// Done implements replica.Task.
func (t *restoreTask) Done(err error) {
	if err != nil {
		t.c.o.Logger.Error().Bytes("key", t.key.Name).Err(err).Msg("a damaged record cannot be replaced")
	} else {
		t.c.Metrics.Repairs.Add(1)
	}
	if t.then != nil {
		t.then(err)
	}
}

// isDamage reports whether an error of the store says that a record is damaged.
func isDamage(err error) bool { return err != nil && errors.Is(storeError(err), ErrCorrupt) }

// Mends implements replica.Mender: once the others were asked, and have what was acknowledged, or when there are no
// others and the write replaces whatever was there.
func (w *writeOp) Mends(err error) bool { return w.healed && isDamage(err) }

// heal asks the other replicas for the record that this write found damaged, and then runs it. A write that replaces
// whatever is there, at the only replica, just does.
func (w *writeOp) heal() {
	w.c.Metrics.CorruptReads.Add(1)
	w.healed = true
	w.Keep()
	if w.v.places[w.part].n == 1 && !w.depends() {
		w.c.o.Replica.Do(w)
		return
	}
	w.c.heal(w.v, w.key, time.Until(w.deadline), func(err error) {
		if err == nil {
			w.c.o.Replica.Do(w)
			return
		}
		if w.wrote {
			err = ErrTimeout // the run before was stored and sent
		}
		w.finish(err)
	})
}

// Mends implements replica.Mender, like writeOp's.
func (t *mergeTask) Mends(err error) bool { return t.healed && isDamage(err) }

// heal asks the other replicas for the record that the object is to be merged into, and then merges it. Merging it into
// nothing would make a record that can be read, and lacks what was acknowledged before.
func (t *mergeTask) heal(damage error) {
	t.c.Metrics.CorruptReads.Add(1)
	t.healed = true
	t.Keep()
	t.c.heal(t.v, t.key, 0, func(err error) {
		if err == nil {
			t.c.o.Replica.Do(t)
			return
		}
		t.Done(damage)
	})
}

// healAfter begins to replace a record that another node's read found damaged here.
func (c *Coordinator) healAfter(v *view, key replica.Key) { c.heal(v, key, 0, nil) }
