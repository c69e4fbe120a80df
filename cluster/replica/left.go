package replica

import "kvstore/storage/key"

// Salvager is a Store that can tell what is left of a record which Get cannot
// vouch for. Without it nothing is left.
type Salvager interface {
	GetLeft(dst, key []byte) (value []byte, found bool, err error)
}

// loadLeft loads what is left of a record that cannot be read, for a task that
// mends it. Found stays false: it is no record to rely on.
func (r *Replica) loadLeft(s *Scratch, k Key) {
	s.Object.Reset()
	s.stored, s.raw, s.Found, s.alive = s.stored[:0], nil, false, false
	left, ok := r.store.(Salvager)
	if !ok {
		return
	}
	s.key = key.AppendUser(s.key[:0], uint64(k.Token), k.DB, k.Name)
	value, found, err := left.GetLeft(s.stored[:0], s.key)
	if err != nil || !found {
		return
	}
	if s.Object.Decode(value) != nil {
		s.Object.Reset()
		return
	}
	s.raw = value
	s.Object = *s.Object.Clone() // Stored is empty: what is stored is not what counts
	if h := r.flushed.of(k.DB); h != 0 {
		s.forget(h)
	}
}
