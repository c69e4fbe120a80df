package sum

import (
	"encoding/binary"
	"slices"
)

// Range is the leaves from Lo up to and without Hi.
type Range struct{ Lo, Hi uint32 }

// Set is a set of leaves, as ranges that neither touch nor are empty, ascending. It is mostly everything or nothing. A
// Set is not changed in place, so a copy stays what it is.
type Set []Range

// All returns the set of all leaves.
func All() Set { return Set{{0, Count}} }

// With returns the set and the leaves of r.
func (s Set) With(r Range) Set {
	if r.Lo >= r.Hi {
		return s
	}
	var out Set
	for _, o := range s {
		if o.Hi < r.Lo || o.Lo > r.Hi {
			out = append(out, o)
		} else {
			r = Range{min(r.Lo, o.Lo), max(r.Hi, o.Hi)}
		}
	}
	at, _ := slices.BinarySearchFunc(out, r, func(a, b Range) int { return int(a.Lo) - int(b.Lo) })
	return slices.Insert(out, at, r)
}

// Without returns the set less the leaves of r.
func (s Set) Without(r Range) Set {
	if r.Lo >= r.Hi {
		return s
	}
	var out Set
	for _, o := range s {
		if left := (Range{o.Lo, min(o.Hi, r.Lo)}); left.Lo < left.Hi {
			out = append(out, left)
		}
		if right := (Range{max(o.Lo, r.Hi), o.Hi}); right.Lo < right.Hi {
			out = append(out, right)
		}
	}
	return out
}

// Has reports whether all leaves of r are in the set.
func (s Set) Has(r Range) bool {
	return r.Lo >= r.Hi || slices.ContainsFunc(s, func(o Range) bool { return o.Lo <= r.Lo && r.Hi <= o.Hi })
}

// Leaf returns the leaf of an engine key, which is not ok for one that is not a user's.
func Leaf(key []byte) (leaf uint32, ok bool) {
	if len(key) < 8 {
		return 0, false
	}
	leaf = uint32(binary.BigEndian.Uint64(key) >> Shift)
	return leaf, leaf < Count
}

// Covered returns which leaves the keys from lo up to and without hi take whole, and which they may take a part of: the
// two, possibly empty, ends.
func Covered(lo, hi []byte) (whole Range, ends [2]Range) {
	from, to := bound(lo, false), bound(hi, false)
	first, last := bound(lo, true), bound(hi, true)
	if first > to { // within one leaf
		return Range{}, [2]Range{{from, last}, {}}
	}
	return Range{first, to}, [2]Range{{from, first}, {to, last}}
}

// Touched returns the leaves that the keys from lo up to and without hi may be in.
func Touched(lo, hi []byte) Range { return Range{bound(lo, false), bound(hi, true)} }

// bound returns the leaf that a bound lies in, or, with up, the first one that does not begin before it.
func bound(key []byte, up bool) uint32 {
	var token [8]byte
	copy(token[:], key)
	v := binary.BigEndian.Uint64(token[:])
	leaf := v >> Shift
	if up && (v&(1<<Shift-1) != 0 || len(key) > len(token)) {
		leaf++
	}
	return uint32(min(leaf, Count))
}
