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
	*mending
	key    Key
	object []byte
}

// mending is what the tasks of one Mend have in common.
type mending struct {
	r      *Replica
	yields hlc.Timestamp
	wg     sync.WaitGroup // for all tasks to be done

	mu    sync.Mutex
	first error // guarded by mu
}

// Mend merges records of another replica into this one, and returns when that is
// done. What this replica holds only up to yields gives way to the other's record
// instead of being merged: see package antientropy, which has no trust in it. A
// record that cannot be read is replaced.
func (r *Replica) Mend(records []Record, yields hlc.Timestamp) error {
	if r.Crowded() {
		return ErrBusy
	}
	m := &mending{r: r, yields: yields}
	tasks, tokens := make([]mendTask, len(records)), make([]uint64, len(records))
	for i, rec := range records {
		token, db, name, err := key.ParseUser(rec.Key)
		if err != nil {
			return err
		}
		tasks[i], tokens[i] = mendTask{m, Key{ring.Token(token), db, name}, rec.Value}, token
	}
	m.wg.Add(len(tasks))
	for i := range tasks {
		if i%mendAhead == 0 {
			r.ExpectAll(tokens[i:min(i+mendAhead, len(tokens))])
		}
		r.Do(&tasks[i])
	}
	m.wg.Wait()
	r.endTurn()
	return m.first
}

// mendAhead is how many records are looked for at a time: see ExpectAll.
const mendAhead = 16

// Key implements Task.
func (t *mendTask) Key() Key { return t.key }

// Keep implements Task: Mend waits, and what it was given stays.
func (t *mendTask) Keep() {}

// Mends implements Mender.
func (t *mendTask) Mends(err error) bool { return t.r.corrupt(err) }

// Done implements Task.
func (t *mendTask) Done(err error) {
	if err != nil {
		t.mu.Lock()
		if t.first == nil {
			t.first = err
		}
		t.mu.Unlock()
	}
	t.wg.Done()
}

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
