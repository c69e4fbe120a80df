package replica

import (
	"fmt"
	"slices"
	"sync/atomic"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// deaths is what the replica knows of records that only say that a key is gone:
// tombstones, and values past their deadline.
//
// A partition has a horizon, up to which all its replicas have agreed that they
// hold the same (package antientropy). What died at or before it may be removed:
// every replica has it, so nobody is left for whom it has to cover an older value.
// From then on such a record counts as absent, whether or not it is removed yet,
// so replicas that remove at different moments do not differ.
type deaths struct {
	horizon [ring.Slots]atomic.Uint64 // hlc.Timestamp
	// soonest is, by slot, a Unix millisecond before which no record there is dead;
	// 0 when none can ever be. Whoever looks for dead records looks at no slot too
	// early, and at none without any.
	soonest [ring.Slots]atomic.Int64
}

// Dead reports whether an object says nothing but that its key was gone at a
// horizon: each sibling is a tombstone, or a value past its deadline, from at or
// before it.
func Dead(o *version.Object, horizon hlc.Timestamp) bool {
	for i := range o.Siblings {
		s := &o.Siblings[i]
		if s.Time > horizon || s.Kind != version.Tombstone && !version.Expired(s.Deadline, horizon.Millis()) {
			return false
		}
	}
	return len(o.Siblings) > 0
}

// SetDeathHorizon lets what died at or before h count as absent, in the slots from
// first to last. A horizon only rises.
func (r *Replica) SetDeathHorizon(first, last ring.Slot, h hlc.Timestamp) {
	for s := int(first); s <= int(last); s++ {
		for {
			before := r.deaths.horizon[s].Load()
			if uint64(h) <= before || r.deaths.horizon[s].CompareAndSwap(before, uint64(h)) {
				break
			}
		}
	}
}

// deadHere reports whether an object counts as absent at its key's place.
func (r *Replica) deadHere(t ring.Token, o *version.Object) bool {
	for i := range o.Siblings {
		if s := &o.Siblings[i]; s.Kind != version.Tombstone && s.Deadline == 0 {
			return false // most end here, without a look at the horizon
		}
	}
	h := r.deaths.horizon[t.Slot()].Load()
	return h != 0 && Dead(o, hlc.Timestamp(h))
}

// Gone reports whether an object of another node must not be stored where nothing
// is: all replicas of its key held it, and may have removed it since.
func (r *Replica) Gone(k Key, o *version.Object) bool { return r.deadHere(k.Token, o) }

// Outlived reports whether an object that was kept for this replica, and may come late, is what the replica has had
// before: all of it is from at or before the horizon, and nothing of it is in held, which is what the replica holds now. All
// replicas held it once, or what replaced it. So it was replaced or deleted since, and what said so may be collected: if it
// came once more it would be back for good, beside what was written since. Where this copy lacks it for another reason, the
// others have it.
//
// An object that is partly younger is none. To store the rest of it, with a context that covers what was left out, would
// remove that wherever it is still rightly held.
func (r *Replica) Outlived(k Key, o, held *version.Object) bool {
	h := hlc.Timestamp(r.deaths.horizon[k.Token.Slot()].Load())
	newest := o.Newest()
	if h == 0 || newest == nil || newest.Time > h {
		return false
	}
	return !slices.ContainsFunc(o.Siblings, func(s version.Sibling) bool { return held.Has(s.Dot) })
}

// note remembers when a record that was written can be dead, if ever.
func (d *deaths) note(slot ring.Slot, dot version.Dot, kind version.Kind, deadline int64) {
	at := dot.Time.Millis()
	if kind != version.Tombstone {
		if deadline == 0 {
			return
		}
		at = max(at, deadline)
	}
	at = max(at, 1)
	for {
		before := d.soonest[slot].Load()
		if before != 0 && before <= at || d.soonest[slot].CompareAndSwap(before, at) {
			return
		}
	}
}

// Collect removes the records of the slots from first to last that are dead at
// their horizon, and returns how many. It reads only slots that may have some.
// pace is told after each batch how many bytes were read, and ends the work by
// returning false.
func (r *Replica) Collect(first, last ring.Slot, pace func(bytes int) bool) (removed int, err error) {
	for s := int(first); s <= int(last); s++ {
		slot := ring.Slot(s)
		soonest := r.deaths.soonest[slot].Load()
		if soonest == 0 {
			continue
		}
		h := hlc.Timestamp(r.deaths.horizon[slot].Load())
		if h == 0 || soonest > h.Millis() {
			continue
		}
		// What is written from here on notes itself; what stays is noted below.
		r.deaths.soonest[slot].CompareAndSwap(soonest, 0)
		n, bytes, err := r.collectSlot(slot, h)
		removed += n
		if err != nil {
			r.deaths.note(slot, version.Dot{Time: hlc.FromMillis(soonest)}, version.Tombstone, 0)
			return removed, err
		}
		if !pace(bytes) {
			return removed, nil
		}
	}
	return removed, nil
}

// slotShift is where a token's slot begins.
const slotShift = key.TokenBits - 14

// collectSlot removes a slot's dead records, a batch at a time.
func (r *Replica) collectSlot(slot ring.Slot, h hlc.Timestamp) (removed, read int, err error) {
	next := key.AppendToken(nil, uint64(slot)<<slotShift)
	end := key.AppendToken(nil, (uint64(slot)+1)<<slotShift)
	for {
		var batch [][]byte
		err := r.store.Scan(next, end, func(k, value []byte) bool {
			read += len(k) + len(value)
			dot, kind, deadline, err := version.PeekNewest(value)
			if err != nil || kind != version.Tombstone && deadline == 0 {
				return true
			}
			if dot.Time > h || kind != version.Tombstone && !version.Expired(deadline, h.Millis()) {
				r.deaths.note(slot, dot, kind, deadline)
				return true
			}
			batch = append(batch, append([]byte(nil), k...))
			return len(batch) < purgeBatch
		})
		if err != nil {
			return removed, read, fmt.Errorf("scan for dead records: %w", err)
		}
		for _, k := range batch {
			gone, err := r.removeIf(k, func(o *version.Object) bool { return Dead(o, h) })
			if err != nil {
				return removed, read, err
			}
			if gone {
				removed++
			}
		}
		if len(batch) < purgeBatch {
			return removed, read, nil
		}
		next = append(batch[len(batch)-1], 0)
		r.endTurn()
	}
}

// removeIf removes a record, under its key's lock, if its object is one to remove.
func (r *Replica) removeIf(k []byte, which func(o *version.Object) bool) (removed bool, err error) {
	token, db, _, err := key.ParseUser(k)
	if err != nil {
		return false, nil
	}
	st := &r.stripes[token%stripes]
	st.mu.Lock()
	defer st.mu.Unlock()
	value, found, err := r.store.Get(nil, k)
	if err != nil || !found {
		return false, err
	}
	var o version.Object
	if err := o.Decode(value); err != nil || !which(&o) {
		return false, nil // a damaged record is for whoever reads it
	}
	if err := r.store.Delete(k, Sum(k, value)); err != nil {
		return false, err
	}
	if newest := o.Newest(); alive(&o) && newest.Time > r.flushed.of(db) {
		r.counts.add(db, ring.Token(token).Slot(), false)
	}
	return true, nil
}
