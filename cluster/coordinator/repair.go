package coordinator

import (
	"math/bits"
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
// client: after their acknowledgements when R+W>N, at once otherwise. The caller
// holds mu, which repairAll gives up.
func (o *readOp) repairAll(behind uint64) {
	o.c.Metrics.Repairs.Add(uint64(bits.OnesCount64(behind)))
	o.repair = true
	o.level = o.fresh
	o.level.ok = o.tally.ok &^ behind
	o.level.bad = 0
	own := o.own
	m := wire.Message{
		Kind: wire.Replicate, Flags: wire.Repair, ID: o.id, Timeout: time.Until(o.deadline),
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
		t.v, t.key, t.object, t.flags, t.kept, t.stale, t.healed = o.v, o.key, o.enc, wire.Repair, false, false, false
		t.origin, t.body, t.target = 0, nil, 0
		if o.cast.by[own] != 0 {
			t.target = o.v.idAt(o.part, own)
		}
		t.Keep()
		t.finished = func(err error) { o.repairedHere(id, own, err) }
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
func (o *readOp) repairedHere(id uint64, own int, err error) {
	o.mu.Lock()
	if o.id != id || !o.repair {
		o.mu.Unlock()
		return
	}
	if err != nil {
		o.level.bad |= 1 << uint(own)
	} else {
		o.level.ok |= 1 << uint(own)
	}
	if !o.blocking {
		o.mu.Unlock()
		return
	}
	o.settleRepair()
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
// among what is merged. The caller holds mu, which askInstead gives up.
func (o *readOp) askInstead() {
	for set := o.level.ok & o.tally.ok; set != 0; set &= set - 1 {
		a := &o.answered[bits.TrailingZeros64(set)]
		a.object = append(a.object[:0], o.enc...)
	}
	o.repair = false
	o.spent |= o.tally.ok & o.level.bad
	o.tally.ok &^= o.level.bad
	o.tally.bad |= o.level.bad
	if o.failure == nil {
		o.failure = ErrTimeout
	}
	o.ask()
}
