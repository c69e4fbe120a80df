package storage

import (
	"bytes"

	"kvstore/storage/compaction"
	"kvstore/storage/entry"
)

// IterOptions bound an iterator: it shows the keys from Lower up to and without Upper. A nil bound is none.
type IterOptions struct {
	Lower, Upper []byte
	// Left shows what is left where records are lost (see DB.Lost), instead of failing there.
	Left bool
}

// Iter walks the live keys of the engine at one time, in both directions. It belongs to one goroutine and must be
// closed. It keeps the files it reads from alive, so it should not stay open for long.
//
// A new Iter stands nowhere; SeekGE, SeekLT, First or Last place it. When Valid is false, Err tells an end from a
// failure.
type Iter struct {
	state *readState
	seq   uint64
	walk  *walk
	inner *compaction.Merge
	lower []byte
	upper []byte

	place place
	// Moving forward the inner iterator stands on the shown record. Moving backward it stands before all records of the
	// shown key, which was met oldest record first, so that key and value are copies.
	key, value []byte
	err        error
	// lost is what the iterator must not pass over, nil when nothing is, and origin where a move began.
	lost   *lostSet
	origin []byte
}

// place says where an Iter and its inner iterator stand.
type place uint8

const (
	nowhere place = iota
	// onRecord: inner stands on the shown record.
	onRecord
	// before: inner stands before the shown key, or before the beginning when innerEnded.
	before
	beforeAtStart
)

// NewIter returns an iterator over the present content.
func (d *DB) NewIter(o IterOptions) (*Iter, error) {
	s, seq, err := d.acquireAt()
	if err != nil {
		return nil, err
	}
	return newIter(s, seq, o), nil
}

// newIter takes over the caller's hold of the state.
func newIter(s *readState, seq uint64, o IterOptions) *Iter {
	w := s.db.walks.take()
	w.open(s, o)
	i := &Iter{state: s, seq: seq, walk: w, inner: &w.merge, lower: w.lower, upper: w.upper, key: w.key, value: w.value}
	if !o.Left {
		i.lost = s.version.lost
	}
	return i
}

// SeekGE moves to the first key at or after key, within the bounds.
func (i *Iter) SeekGE(key []byte) bool {
	if i.state == nil {
		return false
	}
	if i.lower != nil && bytes.Compare(key, i.lower) < 0 {
		key = i.lower
	}
	i.setOut(key)
	return i.forward(i.inner.SeekGE(key), false)
}

// SeekLT moves to the last key before key, within the bounds.
func (i *Iter) SeekLT(key []byte) bool {
	if i.state == nil {
		return false
	}
	if i.upper != nil && bytes.Compare(key, i.upper) > 0 {
		key = i.upper
	}
	i.setOut(key)
	return i.backward(i.inner.SeekLT(key))
}

// First moves to the first key.
func (i *Iter) First() bool {
	if i.state == nil {
		return false
	}
	if i.lower != nil {
		return i.SeekGE(i.lower)
	}
	i.setOut(nil)
	return i.forward(i.inner.First(), false)
}

// Last moves to the last key.
func (i *Iter) Last() bool {
	if i.state == nil {
		return false
	}
	if i.upper != nil {
		return i.SeekLT(i.upper)
	}
	i.setOut(nil)
	return i.backward(i.inner.Last())
}

// Next moves to the next key. On an iterator that is not valid it does nothing.
func (i *Iter) Next() bool {
	if i.lost != nil && i.place != nowhere {
		i.setOut(i.Key())
	}
	switch i.place {
	case onRecord:
		i.key = append(i.key[:0], i.inner.Key()...)
		return i.forward(i.inner.Next(), true)
	case before:
		return i.forward(i.inner.Next(), true)
	case beforeAtStart:
		return i.forward(i.inner.First(), true)
	}
	return false
}

// Prev moves to the key before. On an iterator that is not valid it does nothing.
func (i *Iter) Prev() bool {
	if i.lost != nil && i.place != nowhere {
		i.setOut(i.Key())
	}
	switch i.place {
	case onRecord:
		// Newer records of the shown key, which the iterator does not see, stand before it. And when a writer adds one
		// behind it at the moment of turning, inner may come by there.
		i.key = append(i.key[:0], i.inner.Key()...)
		ok := i.inner.Prev()
		for ok && bytes.Compare(i.inner.Key(), i.key) >= 0 {
			ok = i.inner.Prev()
		}
		return i.backward(ok)
	case before:
		return i.backward(true)
	case beforeAtStart:
		return i.backward(false)
	}
	return false
}

// setOut notes where a move begins; nil is an end.
func (i *Iter) setOut(key []byte) {
	if i.lost != nil {
		i.origin = append(i.origin[:0], key...)
		if key == nil {
			i.origin = nil
		}
	}
}

// forward goes on from where inner stands to the first record to be shown, unless records may be lost on the way there.
func (i *Iter) forward(ok, skip bool) bool {
	ok = i.advance(ok, skip)
	if i.lost == nil || i.err != nil {
		i.noticeDamage()
		return ok
	}
	to := i.upper
	if ok {
		to = i.Key()
	}
	return i.unless(i.lost.within(i.origin, to, ok), ok)
}

// backward goes back from where inner stands to the last key to be shown, unless records may be lost on the way there.
func (i *Iter) backward(ok bool) bool {
	ok = i.retreat(ok)
	if i.lost == nil || i.err != nil {
		i.noticeDamage()
		return ok
	}
	to := i.lower
	if ok {
		to = i.Key()
	}
	return i.unless(i.lost.within(to, i.origin, false), ok)
}

// unless returns ok unless something was lost, which is an error.
func (i *Iter) unless(lost, ok bool) bool {
	if lost {
		i.place, i.err = nowhere, i.state.db.lostError()
		return false
	}
	return ok
}

// noticeDamage tells the engine of a table that cannot be read.
func (i *Iter) noticeDamage() {
	if i.err != nil {
		i.state.db.noticeDamage(i.err)
	}
}

// advance goes on from where inner stands to the first record to be shown. With skip the records up to those of i.key
// are passed over. ok says that inner stands on a record.
func (i *Iter) advance(ok, skip bool) bool {
	i.place, i.err = nowhere, nil
	for ; ok; ok = i.inner.Next() {
		key := i.inner.Key()
		if i.upper != nil && bytes.Compare(key, i.upper) >= 0 {
			return false
		}
		if i.inner.Seq() > i.seq || skip && bytes.Compare(key, i.key) <= 0 {
			continue
		}
		if i.live() {
			i.place = onRecord
			return true
		}
		// The newest record it may see says the key is absent: the older ones do not count.
		i.key = append(i.key[:0], key...)
		skip = true
	}
	i.err = i.inner.Err()
	return false
}

// retreat goes back from where inner stands to the last key to be shown. ok says that inner stands on a record.
func (i *Iter) retreat(ok bool) bool {
	i.place, i.err = nowhere, nil
	for ok {
		i.key = append(i.key[:0], i.inner.Key()...)
		if i.lower != nil && bytes.Compare(i.key, i.lower) < 0 {
			return false
		}
		live := false
		for ok && bytes.Equal(i.inner.Key(), i.key) {
			if i.inner.Seq() <= i.seq {
				if live = i.live(); live {
					i.value = append(i.value[:0], i.inner.Value()...)
				}
			}
			ok = i.inner.Prev()
		}
		if i.err = i.inner.Err(); i.err != nil {
			return false
		}
		if live {
			i.place = before
			if !ok {
				i.place = beforeAtStart
			}
			return true
		}
	}
	i.err = i.inner.Err()
	return false
}

// live reports whether inner's record, the newest of its key that is seen, gives the key a value.
func (i *Iter) live() bool {
	return i.inner.Kind() == entry.KindSet && i.inner.Seq() >= i.state.ranges.newest(i.inner.Key(), i.seq)
}

// Valid reports whether the iterator stands on a key.
func (i *Iter) Valid() bool { return i.place != nowhere }

// Key returns the key, valid until the next move. The iterator must be valid.
func (i *Iter) Key() []byte {
	if i.place == onRecord {
		return i.inner.Key()
	}
	return i.key
}

// Value returns the key's value, valid until the next move. The iterator must be valid.
func (i *Iter) Value() []byte {
	if i.place == onRecord {
		return i.inner.Value()
	}
	return i.value
}

// Err returns why the iterator stopped early, nil at an end.
func (i *Iter) Err() error { return i.err }

// Close ends the iterator. Closing again does nothing.
func (i *Iter) Close() error {
	if i.state == nil {
		return nil
	}
	i.place = nowhere
	i.walk.key, i.walk.value = i.key, i.value
	err := i.walk.close()
	i.state.db.walks.give(i.walk)
	i.state.release()
	*i = Iter{err: i.err}
	return err
}
