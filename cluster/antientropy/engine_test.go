package antientropy

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/storage/key"
)

// engine is a store of records, in memory, with the sums that the real one keeps.
type engine struct {
	mu      sync.Mutex
	records map[string][]byte // guarded by mu
	order   []string          // guarded by mu: the keys, sorted, unless dirty
	dirty   bool
	sums    [Leaves]uint64
	blocks  [Leaves / blockLeaves]uint64
	marks   map[ring.Partition][]byte
	lost    [][2][]byte
	inexact map[uint32]bool // guarded by mu: leaves
	reads   atomic.Int64    // of records: what would read blocks
	rebuilt int
}

func newEngine() *engine {
	return &engine{records: map[string][]byte{}, marks: map[ring.Partition][]byte{}, inexact: map[uint32]bool{}}
}

func (e *engine) Get(dst, k []byte) ([]byte, bool, error) {
	e.reads.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	v, ok := e.records[string(k)]
	if !ok && e.isLost(k) {
		return dst, false, errDamaged
	}
	return append(dst, v...), ok, nil
}

var errDamaged = errors.New("damaged")

// isLost reports whether a key may have had a record. The caller holds mu.
func (e *engine) isLost(k []byte) bool {
	return slices.ContainsFunc(e.lost, func(r [2][]byte) bool { return bytes.Compare(k, r[0]) >= 0 && bytes.Compare(k, r[1]) < 0 })
}

func (e *engine) TryGet(dst, k []byte) ([]byte, bool, bool, error) {
	v, ok, err := e.Get(dst, k)
	return v, ok, true, err
}

func (e *engine) Set(k, value []byte, delta uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.records[string(k)]; !ok {
		e.dirty = true
	}
	e.records[string(k)] = bytes.Clone(value)
	e.change(k, delta)
	return nil
}

func (e *engine) change(k []byte, delta uint64) {
	token, _, _, err := key.ParseUser(k)
	if err != nil {
		panic(err)
	}
	l := leafOf(ring.Token(token))
	e.sums[l] ^= delta
	e.blocks[l/blockLeaves] ^= delta
}

func (e *engine) Delete(k []byte, delta uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.records, string(k))
	e.dirty = true
	e.change(k, delta)
	return nil
}

func (e *engine) Apply(c *replica.Change) error {
	if c.Remove {
		return e.Delete(c.Key, c.Delta)
	}
	return e.Set(c.Key, c.Value, c.Delta)
}

func (e *engine) Scan(lower, upper []byte, fn func(k, v []byte) bool) error {
	e.reads.Add(1)
	e.mu.Lock()
	for _, r := range e.lost {
		if bytes.Compare(lower, r[1]) < 0 && bytes.Compare(r[0], upper) < 0 {
			e.mu.Unlock()
			return errDamaged
		}
	}
	if e.dirty {
		e.order, e.dirty = slices.Sorted(maps.Keys(e.records)), false
	}
	order := e.order
	e.mu.Unlock()
	i, _ := slices.BinarySearch(order, string(lower))
	for ; i < len(order) && order[i] < string(upper); i++ {
		e.mu.Lock()
		v, ok := e.records[order[i]]
		e.mu.Unlock()
		if ok && !fn([]byte(order[i]), v) {
			break
		}
	}
	return nil
}

// side is the rest of Store that the engine gives; the replica gives the other half.
type side struct {
	*replica.Replica
	*engine
}

func (s side) AppendSums(dst []uint64, lo, hi uint32) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.sums[lo:hi]...)
}

func (s side) Sum(lo, hi uint32) (x uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := lo; l < hi; {
		if l%blockLeaves == 0 && hi-l >= blockLeaves {
			x ^= s.blocks[l/blockLeaves]
			l += blockLeaves
			continue
		}
		x ^= s.sums[l]
		l++
	}
	return x
}

// blockLeaves is how many leaves have a sum of their own besides, for Sum.
const blockLeaves = 4096

// resum makes sums and blocks those of the records. The caller holds mu, or nobody
// else is there.
func (e *engine) resum(lo, hi uint32) {
	clear(e.sums[lo:hi])
	for k, v := range e.records {
		token, _, _, _ := key.ParseUser([]byte(k))
		if l := leafOf(ring.Token(token)); l >= lo && l < hi {
			e.sums[l] ^= replica.Sum([]byte(k), v)
		}
	}
	e.reblock()
}

// reblock makes the blocks those of the sums.
func (e *engine) reblock() {
	clear(e.blocks[:])
	for l, s := range e.sums {
		e.blocks[l/blockLeaves] ^= s
	}
}

// len returns how many records there are.
func (e *engine) len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.records)
}

// at returns the record of a key, nil for none.
func (e *engine) at(name string) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Clone(e.records[string(engineKey(name))])
}

// image is a copy of a disk.
type image struct {
	records map[string][]byte
	marks   map[ring.Partition][]byte
}

func (e *engine) image() image {
	e.mu.Lock()
	defer e.mu.Unlock()
	return image{maps.Clone(e.records), maps.Clone(e.marks)}
}

// restore puts an image back. No node runs on the engine.
func (e *engine) restore(i image) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.records, e.marks, e.dirty = maps.Clone(i.records), maps.Clone(i.marks), true
	e.resum(0, Leaves)
}

func (s side) Exact(lo, hi uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.inexact {
		if l >= lo && l < hi {
			return false
		}
	}
	return true
}

func (s side) Rebuild(_ context.Context, lo, hi uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.lost {
		first, last := leafRange{lo, hi}.tokens().bounds()
		if bytes.Compare(r[0], last) < 0 && bytes.Compare(first, r[1]) < 0 {
			return errDamaged
		}
	}
	s.rebuilt += int(hi - lo)
	s.resum(lo, hi)
	maps.DeleteFunc(s.inexact, func(l uint32, _ bool) bool { return l >= lo && l < hi })
	return nil
}

func (s side) Lost(lower, upper []byte) (out [][2][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.lost {
		if bytes.Compare(r[0], upper) < 0 && bytes.Compare(lower, r[1]) < 0 {
			out = append(out, r)
		}
	}
	return out
}

func (s side) Refilled(lower, upper []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = slices.DeleteFunc(s.lost, func(r [2][]byte) bool { return bytes.Compare(lower, r[0]) <= 0 && bytes.Compare(r[1], upper) <= 0 })
	return nil
}

func (s side) Marks(p ring.Partition) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marks[p], nil
}

func (s side) SaveMarks(marks map[ring.Partition][]byte, _ bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.marks, marks)
	return nil
}
