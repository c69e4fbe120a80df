package replica

import "slices"

// Change is what a task stores at once.
type Change struct {
	Key, Value []byte // a nil Value leaves the record as it is
	Remove     bool   // the record is removed
	Delta      uint64 // what this changes of the sum of the key's leaf
	Beside     []Record
}

// Record is a record of the engine. Beside an object it is one of a system key that
// is stored, or without a Value removed, together with it.
type Record struct{ Key, Value []byte }

// Load returns a copy of what is stored of a key, as far as it was not flushed;
// empty when nothing is. It reads the disk if it has to.
func (r *Replica) Load(k Key) (object []byte, err error) {
	s := r.borrow()
	defer r.giveBack(s)
	if _, err := r.load(s, k, true); err != nil {
		return nil, err
	}
	return s.Record(), nil
}

// Record returns a copy of the object as it was read.
func (s *Scratch) Record() []byte {
	switch {
	case s.Object.Empty():
		return nil
	case len(s.stored) > 0:
		return slices.Clone(s.stored)
	}
	return s.Object.Append(nil)
}
