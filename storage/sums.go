package storage

import (
	"context"
	"encoding/binary"
	"fmt"

	"kvstore/storage/sum"
)

const (
	// SumShift takes a token to its leaf, the unit of sums.
	SumShift = sum.Shift
	// SumLeaves is the number of leaves of the token space.
	SumLeaves = sum.Count
)

// sums are the XORs of the records in each leaf (package sum): what the manifest has of the tables, and behind it what
// each memtable changes. Nothing here is written by itself: the log's operations carry their changes, and a flush's edit
// those of its memtable. It stands under DB.mu.
type sums struct {
	// flushed are the sums of what is in tables.
	flushed sum.Leaves
	// layers are the memories whose changes are not in flushed, the active one last. A page of one may be moved to
	// flushed at any time: what is put together stays the same.
	layers []*memorySums
	// exact are the leaves whose sums are known to be those of their records.
	exact sum.Set
	// drops counts the range deletions.
	drops uint64
}

// memorySums is what the operations of one memory changed.
type memorySums struct {
	delta sum.Leaves
	// noted are the last changes, which are not in delta yet. Leaves lie far apart in memory: a writer that went there with
	// each operation would wait for it each time, but many in a row are fetched side by side.
	noted [256]sumChange
	n     int
	// exact and inexact are the leaves that became so.
	exact, inexact sum.Set
	// corrected says that something is in delta or exact that no operation of the log brings back.
	corrected bool
}

type sumChange struct {
	delta uint64
	leaf  uint32
}

// note adds an operation's change. The caller holds DB.mu.
func (m *memorySums) note(leaf uint32, delta uint64) {
	m.noted[m.n] = sumChange{delta, leaf}
	if m.n++; m.n == len(m.noted) {
		m.settle()
	}
}

// settle brings what was noted into delta. The caller holds DB.mu.
func (m *memorySums) settle() {
	for _, c := range m.noted[:m.n] {
		m.delta.Xor(c.leaf, c.delta)
	}
	m.n = 0
}

// AppendSums appends to dst the sum of each leaf from lo up to and without hi. Each is of what was visible at one moment
// of the call.
func (d *DB) AppendSums(dst []uint64, lo, hi uint32) []uint64 {
	var part [sum.PageLeaves]uint64
	for lo, hi = min(lo, SumLeaves), min(hi, SumLeaves); lo < hi; {
		n := min(hi-lo, sum.PageLeaves-lo%sum.PageLeaves)
		d.sumsNow(part[:n], lo)
		dst = append(dst, part[:n]...)
		lo += n
	}
	return dst
}

// Sum returns the XOR of the sums of the leaves from lo up to and without hi.
func (d *DB) Sum(lo, hi uint32) uint64 {
	var part [sum.PageLeaves]uint64
	total := uint64(0)
	for lo, hi = min(lo, SumLeaves), min(hi, SumLeaves); lo < hi; {
		n := min(hi-lo, sum.PageLeaves-lo%sum.PageLeaves)
		if n == sum.PageLeaves {
			total ^= d.totalNow(int(lo / sum.PageLeaves))
			lo += n
			continue
		}
		d.sumsNow(part[:n], lo)
		for _, x := range part[:n] {
			total ^= x
		}
		lo += n
	}
	return total
}

// totalNow returns the XOR of the sums of a page's leaves.
func (d *DB) totalNow(page int) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := d.sums.flushed.Total(page)
	for _, m := range d.sums.layers {
		m.settle()
		total ^= m.delta.Total(page)
	}
	return total
}

// sumsNow fills dst with the sums of the leaves from lo on, all of one page.
func (d *DB) sumsNow(dst []uint64, lo uint32) {
	clear(dst)
	d.mu.Lock()
	d.sums.xorInto(dst, lo)
	d.mu.Unlock()
}

// xorInto changes dst by the sums of the leaves from lo on, all of one page.
func (s *sums) xorInto(dst []uint64, lo uint32) {
	s.flushed.XorInto(dst, lo)
	for _, m := range s.layers {
		m.settle()
		m.delta.XorInto(dst, lo)
	}
}

// SumsExact reports whether the sums of the leaves from lo up to and without hi are those of what is visible: of all
// operations on their keys the changes were told. They are not in a store that was written before there were sums, after
// a part of its data was lost, and where DropRange took a part of a leaf, until RebuildSums or a DropRange of the whole leaf.
func (d *DB) SumsExact(lo, hi uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sums.exact.Has(sum.Range{Lo: lo, Hi: min(hi, SumLeaves)})
}

// RebuildSums makes the sums of the leaves from lo up to and without hi exact, from a scan of their records; of gives a
// record's hash. Operations on them go on meanwhile, and must tell their changes. What it did lasts from the next flush
// of the memtable on; before, a crash undoes it.
func (d *DB) RebuildSums(ctx context.Context, lo, hi uint32, of func(key, value []byte) uint64) error {
	for lo, hi = min(lo, SumLeaves), min(hi, SumLeaves); lo < hi; {
		n := min(hi-lo, sum.PageLeaves-lo%sum.PageLeaves)
		done, err := d.rebuildPage(ctx, sum.Range{Lo: lo, Hi: lo + n}, of)
		if err != nil {
			return err
		}
		if done {
			lo += n
		}
	}
	return nil
}

// rebuildPage rebuilds leaves of one page. It is not done when a range deletion came in between, which told no change.
func (d *DB) rebuildPage(ctx context.Context, r sum.Range, of func(key, value []byte) uint64) (done bool, err error) {
	wrong := make([]uint64, r.Hi-r.Lo)
	s, drops := d.snapshotSums(wrong, r.Lo)
	defer s.Close()
	// Where records are lost, what is left has its sums too: comparing them finds what is missing.
	it, err := s.NewIter(IterOptions{Lower: leafKey(r.Lo), Upper: leafKey(r.Hi), Left: true})
	if err != nil {
		return false, err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if leaf, ok := sum.Leaf(it.Key()); ok {
			wrong[leaf-r.Lo] ^= of(it.Key(), it.Value())
		}
	}
	if err := it.Err(); err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false, ErrClosed
	}
	if d.sums.drops != drops {
		return false, nil
	}
	m := d.active.sums
	for i, delta := range wrong {
		if delta != 0 {
			m.delta.Xor(r.Lo+uint32(i), delta)
		}
	}
	m.corrected = true
	d.sums.mark(m, r, true)
	return true, nil
}

// snapshotSums returns a snapshot, the sums of its very moment in dst, and how many range deletions were before.
func (d *DB) snapshotSums(dst []uint64, lo uint32) (*Snapshot, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sums.xorInto(dst, lo)
	return d.newSnapshot(), d.sums.drops
}

// leafOf returns the leaf of a user's key.
func leafOf(key []byte) uint32 {
	leaf, ok := sum.Leaf(key)
	if !ok {
		panic(fmt.Sprintf("storage: the key %.16x is no user's and has no sum", key))
	}
	return leaf
}

// leafKey returns the lower bound of a leaf's keys.
func leafKey(leaf uint32) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(leaf)<<sum.Shift)
}

// mark notes that leaves became exact, or are not any more.
func (s *sums) mark(m *memorySums, r sum.Range, exact bool) {
	if exact {
		s.exact = s.exact.With(r)
		m.exact, m.inexact = m.exact.With(r), m.inexact.Without(r)
	} else {
		s.exact = s.exact.Without(r)
		m.exact, m.inexact = m.exact.Without(r), m.inexact.With(r)
	}
}

// drop brings the sums to zero of the leaves that lie in a deleted range, by changes of m. What becomes of one that lies in
// it in part is not known. The replay of the log does the same again.
func (s *sums) drop(m *memorySums, lo, hi []byte) {
	s.drops++
	whole, ends := sum.Covered(lo, hi)
	var part [sum.PageLeaves]uint64
	for at := whole.Lo; at < whole.Hi; {
		n := min(whole.Hi-at, sum.PageLeaves-at%sum.PageLeaves)
		clear(part[:n])
		s.xorInto(part[:n], at)
		for i, x := range part[:n] {
			if x != 0 {
				m.delta.Xor(at+uint32(i), x)
			}
		}
		at += n
	}
	if !s.exact.Has(whole) {
		s.mark(m, whole, true)
	}
	for _, r := range ends {
		if r.Lo < r.Hi {
			s.mark(m, r, false)
		}
	}
}

// doubt notes that records of leaves were lost: these are not exact, whatever an operation that is not flushed yet said.
func (s *sums) doubt(r sum.Range) {
	s.exact = s.exact.Without(r)
	for _, m := range s.layers {
		m.exact = m.exact.Without(r)
	}
}
