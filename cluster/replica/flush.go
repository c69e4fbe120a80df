package replica

import (
	"fmt"
	"sync/atomic"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// horizons say up to when each database was flushed.
type horizons [Databases]atomic.Uint64

func (h *horizons) of(db uint8) hlc.Timestamp { return hlc.Timestamp(h[db%Databases].Load()) }

// Horizon returns the timestamp up to which a database was flushed, 0 if never.
func (r *Replica) Horizon(db uint8) hlc.Timestamp { return r.flushed.of(db) }

// Flush empties a database: versions at or before horizon are never seen again,
// whichever node they come from. It holds every lock for a moment and touches no
// record; Purge removes those. It reports whether the horizon was news.
func (r *Replica) Flush(db uint8, horizon hlc.Timestamp) bool {
	r.lockAll()
	news := horizon > r.flushed.of(db)
	if news {
		r.flushed[db%Databases].Store(uint64(horizon))
		r.counts.clear(db)
	}
	r.unlockAll()
	return news
}

// forget drops the siblings a flush covers.
func (s *Scratch) forget(horizon hlc.Timestamp) {
	newest := s.Object.Newest()
	switch {
	case newest != nil && newest.Time <= horizon:
		s.Object.Reset()
		s.stored, s.Found = s.stored[:0], false
	case keepAfter(&s.Object, horizon):
		s.stored = s.stored[:0]
	}
}

// Forget drops from an object what was flushed, for objects that come from
// other nodes. It reports whether there was anything to drop.
func (r *Replica) Forget(db uint8, o *version.Object) (dropped bool) {
	horizon := r.flushed.of(db)
	newest := o.Newest()
	switch {
	case horizon == 0 || newest == nil:
		return false
	case newest.Time <= horizon:
		o.Reset()
		return true
	}
	return keepAfter(o, horizon)
}

// keepAfter drops the siblings at or before horizon.
func keepAfter(o *version.Object, horizon hlc.Timestamp) (dropped bool) {
	kept := o.Siblings[:0]
	for _, sibling := range o.Siblings {
		if sibling.Time > horizon {
			kept = append(kept, sibling)
		}
	}
	dropped = len(kept) != len(o.Siblings)
	o.Siblings = kept
	return dropped
}

// purgeBatch bounds how many keys Purge collects before it removes them.
const purgeBatch = 1024

// Purge removes the records that flushes cover. stop is asked between batches.
func (r *Replica) Purge(stop func() bool) (removed int, err error) {
	next := key.AppendToken(nil, 0)
	end := key.AppendToken(nil, uint64(ring.TokenEnd))
	for !stop() {
		var batch [][]byte
		err := r.store.Scan(next, end, func(k, value []byte) bool {
			_, db, _, err := key.ParseUser(k)
			if err != nil {
				return true
			}
			if dot, _, _, err := version.PeekNewest(value); err == nil && dot.Time <= r.flushed.of(db) {
				batch = append(batch, append([]byte(nil), k...))
			}
			return len(batch) < purgeBatch
		})
		if err != nil {
			return removed, fmt.Errorf("scan for flushed records: %w", err)
		}
		for _, k := range batch {
			if err := r.purge(k); err != nil {
				return removed, err
			}
			removed++
		}
		if len(batch) < purgeBatch {
			return removed, nil
		}
		next = append(batch[len(batch)-1], 0)
		r.endTurn()
	}
	return removed, nil
}

// purge removes one record if a flush still covers it.
func (r *Replica) purge(k []byte) error {
	_, db, _, err := key.ParseUser(k)
	if err != nil {
		return nil
	}
	_, err = r.removeIf(k, func(o *version.Object) bool {
		newest := o.Newest()
		return newest != nil && newest.Time <= r.flushed.of(db)
	})
	return err
}
