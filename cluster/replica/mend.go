package replica

import (
	"bytes"
	"sync"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// mendTask merges a record of another replica.
type mendTask struct {
	r      *Replica
	key    Key
	object []byte
	yields hlc.Timestamp
	done   func(err error)
}

// Mend merges records of another replica into this one, and returns when that is
// done. What this replica holds only up to yields gives way to the other's record
// instead of being merged: see package antientropy, which has no trust in it. A
// record that cannot be read is replaced.
func (r *Replica) Mend(records []Record, yields hlc.Timestamp) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	if r.Crowded() {
		return ErrBusy
	}
	for _, rec := range records {
		token, db, name, err := key.ParseUser(rec.Key)
		if err != nil {
			return err
		}
		wg.Add(1)
		r.Do(&mendTask{r, Key{ring.Token(token), db, name}, rec.Value, yields, func(err error) {
			if err != nil {
				mu.Lock()
				if first == nil {
					first = err
				}
				mu.Unlock()
			}
			wg.Done()
		}})
	}
	wg.Wait()
	r.endTurn()
	return first
}

// Key implements Task.
func (t *mendTask) Key() Key { return t.key }

// Keep implements Task: Mend waits, and what it was given stays.
func (t *mendTask) Keep() {}

// Mends implements Mender.
func (t *mendTask) Mends(err error) bool { return t.r.corrupt(err) }

// Done implements Task.
func (t *mendTask) Done(err error) { t.done(err) }

// Apply implements Task.
func (t *mendTask) Apply(s *Scratch) ([]byte, error) {
	if err := s.Other.Decode(t.object); err != nil {
		return nil, err
	}
	t.r.Forget(t.key.DB, &s.Other)
	o := &s.Other
	switch held := s.Object.Newest(); {
	case o.Empty():
		return nil, nil
	case held == nil:
		if t.r.Gone(t.key, o) {
			return nil, nil
		}
	case held.Time <= t.yields:
	case s.Object.Covers(o):
		return nil, nil
	case !o.Covers(&s.Object):
		version.Merge(&s.Merged, &s.Object, o)
		o = &s.Merged
	}
	s.Buf = o.Append(s.Buf[:0])
	if bytes.Equal(s.raw, s.Buf) {
		return nil, nil
	}
	return s.Buf, nil
}

// Yield removes a record if all of it is from at or before a horizon.
func (r *Replica) Yield(k []byte, upTo hlc.Timestamp) (removed bool, err error) {
	return r.removeIf(k, func(o *version.Object) bool {
		newest := o.Newest()
		return newest != nil && newest.Time <= upTo
	})
}

// Seen returns a record as readers of this replica see it: without what was
// flushed. ok is false when nothing is left. The value is the one given, or new.
func (r *Replica) Seen(k, value []byte) (seen []byte, ok bool) {
	_, db, _, err := key.ParseUser(k)
	horizon := r.flushed.of(db)
	if err != nil || horizon == 0 {
		return value, err == nil
	}
	var o version.Object
	if o.Decode(value) != nil {
		return value, true
	}
	if !r.Forget(db, &o) {
		return value, true
	}
	if o.Empty() {
		return nil, false
	}
	return o.Append(nil), true
}

// Tidy stores a record anew as Seen has it, or removes it.
func (r *Replica) Tidy(k []byte) error {
	token, _, _, err := key.ParseUser(k)
	if err != nil {
		return nil
	}
	st := &r.stripes[token%stripes]
	st.mu.Lock()
	defer st.mu.Unlock()
	value, found, err := r.store.Get(nil, k)
	if err != nil || !found {
		return err
	}
	seen, ok := r.Seen(k, value)
	switch {
	case !ok:
		return r.store.Delete(k, Sum(k, value))
	case bytes.Equal(seen, value):
		return nil
	}
	return r.store.Set(k, seen, Sum(k, value)^Sum(k, seen))
}
