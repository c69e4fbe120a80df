package coordinator

import (
	"math/bits"
	"slices"
	"time"

	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// merge makes merged of the answers and returns who is behind it. The caller
// holds mu.
func (o *readOp) merge() (behind uint64, err error) {
	o.merged.Reset()
	lead := -1
	same := true
	for set := o.tally.ok | o.spent; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if lead < 0 {
			lead = i
		} else if string(o.answered[i].object) != string(o.answered[lead].object) {
			same = false
		}
	}
	if same && (len(o.saw) == 0 || string(o.saw) == string(o.answered[lead].object)) {
		if len(o.answered[lead].object) == 0 {
			return 0, nil
		}
		return 0, o.merged.Decode(o.answered[lead].object)
	}
	var one, sum version.Object
	object := o.saw
	for set := o.tally.ok | o.spent; ; set &= set - 1 {
		if len(object) > 0 {
			if err := one.Decode(object); err != nil {
				return 0, err
			}
			version.Merge(&sum, &o.merged, &one)
			o.merged, sum = sum, o.merged
		}
		if set == 0 {
			break
		}
		object = o.answered[bits.TrailingZeros64(set)].object
	}
	o.c.o.Replica.Forget(o.key.DB, &o.merged)
	if o.merged.Empty() {
		return 0, nil
	}
	o.enc = o.merged.Append(o.enc[:0])
	for set := o.tally.ok; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if string(o.answered[i].object) != string(o.enc) {
			behind |= 1 << uint(i)
		}
	}
	return behind, nil
}

// repairAll sends the merged object to those who are behind it, and answers the
// client: after their acknowledgements when R+W>N, at once otherwise. Who has got
// something since it answered that the merged object knows nothing of says so: see
// goOver. The caller holds mu, which repairAll gives up.
func (o *readOp) repairAll(behind uint64) {
	o.c.Metrics.Repairs.Add(uint64(bits.OnesCount64(behind)))
	o.repair = true
	o.level = o.fresh
	o.level.ok = o.tally.ok &^ behind
	o.level.bad = 0
	own, flags := o.own, wire.Repair
	if o.blocking {
		flags |= Covering
	}
	m := wire.Message{
		Kind: wire.Replicate, Flags: flags, ID: o.id, Timeout: time.Until(o.deadline),
		Token: o.key.Token, DB: o.key.DB, Key: o.key.Name, Object: o.enc,
	}
	if !o.blocking {
		m.Flags |= wire.NoAck
	}
	for set := behind; set != 0; set &= set - 1 {
		place := bits.TrailingZeros64(set)
		if place == own {
			continue
		}
		m.Flags &^= wire.StandIn
		if o.cast.by[place] != 0 {
			m.Flags |= wire.StandIn
			m.Target = o.v.idAt(o.part, place)
		}
		if o.c.send(o.v.actor(o.part, place, &o.cast).id, o.v, &m) != nil {
			o.level.bad |= 1 << uint(place)
		}
	}
	id := o.id
	if own >= 0 && behind>>uint(own)&1 != 0 {
		t := o.c.merges.Get().(*mergeTask)
		t.v, t.key, t.object, t.flags, t.kept, t.stale, t.healed = o.v, o.key, o.enc, flags, false, false, false
		t.origin, t.body, t.target = 0, nil, 0
		if o.cast.by[own] != 0 {
			t.target = o.v.idAt(o.part, own)
		}
		t.Keep()
		t.finished = func(err error) { o.repairedHere(id, own, err, t) }
		o.mu.Unlock()
		o.c.o.Replica.Do(t)
		o.mu.Lock()
		if o.id != id {
			o.mu.Unlock()
			return
		}
	}
	if !o.blocking {
		o.release()
		o.mu.Unlock()
		o.run(&o.merged, nil)
		o.finish(nil)
		return
	}
	o.settleRepair()
}

// repairedHere notes that this node's own copy is level.
func (o *readOp) repairedHere(id uint64, own int, err error, t *mergeTask) {
	o.mu.Lock()
	switch {
	case o.id != id || !o.repair:
		o.mu.Unlock()
		return
	case err != nil:
		o.level.bad |= 1 << uint(own)
	case t.stale && o.unseen(t.enc):
		o.goOver(own, t.enc)
		return
	default:
		o.level.ok |= 1 << uint(own)
	}
	if !o.blocking {
		o.mu.Unlock()
		return
	}
	o.settleRepair()
}

// repaired notes what a replica says to the merged object. The caller holds mu, which
// repaired gives up.
func (o *readOp) repaired(place int, m *wire.Message) {
	switch {
	case errorOf(m) != nil:
		o.level.bad |= 1 << uint(place)
		o.outdated = o.outdated || m.Status == wire.WrongEpoch
	case m.Status == wire.Stale && o.unseen(m.Object):
		o.goOver(place, m.Object)
		return
	default:
		o.level.ok |= 1 << uint(place)
	}
	o.settleRepair()
}

// unseen reports whether a replica holds a sibling that the merged object knows nothing
// of. The caller holds mu.
func (o *readOp) unseen(held []byte) bool {
	var h version.Object
	return h.Decode(held) == nil && slices.ContainsFunc(h.Siblings, func(s version.Sibling) bool {
		return !o.merged.Has(s.Dot) && !o.merged.Context.Covers(s.Dot)
	})
}

// goOver merges again, with what a replica holds now. A write may have been acknowledged
// since that replica answered, and one that was never in force beside it have begun after
// that, at a replica that answered later: what was merged shows the second and later
// reads the first. What was sent before is acknowledged under another id, and counts no
// more. The caller holds mu, which goOver gives up.
func (o *readOp) goOver(place int, held []byte) {
	o.brought()
	a := &o.answered[place]
	a.object = append(a.object[:0], held...)
	o.repair = false
	o.release()
	if o.wait() {
		o.conclude()
	}
}

// brought notes that who acknowledged the merged object holds that. The caller holds mu.
func (o *readOp) brought() {
	for set := o.level.ok & o.tally.ok; set != 0; set &= set - 1 {
		a := &o.answered[bits.TrailingZeros64(set)]
		a.object = append(a.object[:0], o.enc...)
	}
}

// settleRepair answers once as many replicas as the level needs are level. The
// caller holds mu, which settleRepair gives up.
func (o *readOp) settleRepair() {
	if o.level.met() {
		o.release()
		o.mu.Unlock()
		o.run(&o.merged, nil)
		o.finish(nil)
		return
	}
	// Replicas that were not part of the read cannot help here.
	left := o.level
	left.bad |= ^o.tally.ok
	if !left.hopeless() {
		o.mu.Unlock()
		return
	}
	o.askInstead()
}

// askInstead goes on with other replicas for those that could not be brought
// level, for example because their disk is full. What these hold still counts
// among what is merged. Who was asked and has not been heard is asked anew: an answer that
// came beside the repair was not taken, and one that is to come may compare with what this
// node held before it. The caller holds mu, which askInstead gives up.
func (o *readOp) askInstead() {
	o.brought()
	o.repair = false
	o.spent |= o.tally.ok & o.level.bad
	o.tally.ok &^= o.level.bad
	o.tally.bad |= o.level.bad
	if o.failure == nil {
		o.failure = ErrTimeout
	}
	o.asked = o.tally.ok | o.tally.bad
	o.release()
	o.ask()
}
