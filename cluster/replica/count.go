package replica

import (
	"context"
	"sync/atomic"

	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// Databases is the number of databases, as SELECT offers them.
const Databases = 16

// counts are the live keys this replica holds, by database and slot. Every
// write adds what it changed; what was stored before the node started comes from
// one pass over a snapshot, until whose end the counts are not complete.
type counts struct {
	slots    [Databases]atomic.Pointer[[ring.Slots]atomic.Int64]
	complete atomic.Pointer[chan struct{}]
}

// add counts a key that came to life, or one that ceased to live.
func (c *counts) add(db uint8, slot ring.Slot, alive bool) {
	n := int64(1)
	if !alive {
		n = -1
	}
	c.table(db)[slot].Add(n)
}

// table returns a database's counts, made at first use: 128 KiB.
func (c *counts) table(db uint8) *[ring.Slots]atomic.Int64 {
	p := &c.slots[db%Databases]
	if t := p.Load(); t != nil {
		return t
	}
	p.CompareAndSwap(nil, new([ring.Slots]atomic.Int64))
	return p.Load()
}

// clear forgets a database's counts.
func (c *counts) clear(db uint8) { c.slots[db%Databases].Store(nil) }

// StartCount begins counting what was stored before the first write. It is
// called before the first write; the returned function takes the records of a
// snapshot of that moment and, with a nil key, their end.
func (r *Replica) StartCount() (record func(key, value []byte)) {
	done := make(chan struct{})
	r.counts.complete.Store(&done)
	return func(k, value []byte) {
		if k == nil {
			close(done)
			return
		}
		token, db, _, err := key.ParseUser(k)
		if err != nil {
			return
		}
		// A flush, which forgets the counts, holds all locks.
		st := &r.stripes[token%stripes]
		st.mu.Lock()
		defer st.mu.Unlock()
		dot, kind, deadline, err := version.PeekNewest(value)
		if err != nil || dot.Time <= r.flushed.of(db) {
			return
		}
		slot := ring.Token(token).Slot()
		if kind != version.Tombstone {
			r.counts.add(db, slot, true)
		}
		r.deaths.note(slot, dot, kind, deadline)
	}
}

// Count returns how many live keys of a database are held in the slots from
// first to last. Keys past their deadline count until they are purged, as in
// Redis. It waits until what the node started with is counted.
func (r *Replica) Count(ctx context.Context, db uint8, first, last ring.Slot) (n int64, err error) {
	if done := r.counts.complete.Load(); done != nil {
		select {
		case <-*done:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	t := r.counts.slots[db%Databases].Load()
	if t == nil {
		return 0, nil
	}
	for i := int(first); i <= int(last); i++ {
		n += t[i].Load()
	}
	return n, nil
}

// alive reports whether an object counts as a key: its newest sibling is a
// value, be it past its deadline.
func alive(o *version.Object) bool {
	newest := o.Newest()
	return newest != nil && newest.Kind != version.Tombstone
}
