package antientropy

import (
	"cmp"
	"slices"

	"kvstore/cluster/ring"
	"kvstore/storage/key"
)

const (
	// LeafShift is how far a token is shifted to become its leaf: the slot and 4
	// bits of the hash are left. The engine keeps a sum for each leaf.
	LeafShift = key.TokenBits - leafBits
	leafBits  = 18
	// Leaves is the number of leaves: 16 a slot, 38 keys each when a node holds ten
	// million.
	Leaves = 1 << leafBits
	// fanOut is how many branches a node of the tree has. A partition of the usual
	// ring has 1024 leaves, two levels; all of them under one root have four.
	fanOut = 32
)

// leafRange is a run of leaves, from lo up to, and without, hi.
type leafRange struct{ lo, hi uint32 }

// leavesOf returns the leaves of a partition of a ring of q partitions.
func leavesOf(q int, p ring.Partition) leafRange {
	each := uint32(Leaves / q)
	return leafRange{uint32(p) * each, (uint32(p) + 1) * each}
}

func leafOf(t ring.Token) uint32 { return uint32(t >> LeafShift) }

// parts returns into how many branches a range falls, and how many leaves each
// has. The number of leaves is a power of two.
func (r leafRange) parts() (count, each uint32) {
	count = min(r.hi-r.lo, fanOut)
	return count, (r.hi - r.lo) / count
}

// tokens returns the tokens of a range.
func (r leafRange) tokens() span {
	return span{ring.Token(r.lo) << LeafShift, ring.Token(r.hi) << LeafShift}
}

// span is a run of tokens, from lo up to, and without, hi.
type span struct{ lo, hi ring.Token }

// bounds returns the engine keys of a span.
func (s span) bounds() (lower, upper []byte) {
	return key.AppendToken(nil, uint64(s.lo)), key.AppendToken(nil, uint64(s.hi))
}

// split divides a span into at most n equal ones; the last may be shorter.
func (s span) split(n int) []span {
	each := max((s.hi-s.lo+ring.Token(n)-1)/ring.Token(n), 1)
	var out []span
	for lo := s.lo; lo < s.hi; lo += each {
		out = append(out, span{lo, min(lo+each, s.hi)})
	}
	return out
}

// runs joins leaves that follow each other. They are sorted.
func runs(leaves []uint32) (out []leafRange) {
	for _, l := range leaves {
		if n := len(out); n > 0 && out[n-1].hi == l {
			out[n-1].hi++
			continue
		}
		out = append(out, leafRange{l, l + 1})
	}
	return out
}

// stretches is runs of leaves that differ, over what lies between where nothing is: those
// leaves, being equal, are empty on both sides. Where keys are few most leaves are, and each
// run by itself would cost a request for a key or two.
func stretches(leaves []uint32, nothing func(leaf uint32) bool) (out []leafRange) {
	for _, r := range runs(leaves) {
		if n := len(out); n > 0 && (leafRange{out[n-1].hi, r.lo}).all(nothing) {
			out[n-1].hi = r.hi
			continue
		}
		out = append(out, r)
	}
	return out
}

// all reports whether something holds for every leaf of a range.
func (r leafRange) all(holds func(leaf uint32) bool) bool {
	for l := r.lo; l < r.hi; l++ {
		if !holds(l) {
			return false
		}
	}
	return true
}

// entry stands for a record in a list: where it is, and what it is.
type entry struct {
	token ring.Token
	sum   uint64
}

func (e entry) compare(f entry) int {
	return cmp.Or(cmp.Compare(e.token, f.token), cmp.Compare(e.sum, f.sum))
}

// diff returns what each of two lists has that the other has not. It sorts them.
func diff(mine, theirs []entry) (onlyMine, onlyTheirs []entry) {
	slices.SortFunc(mine, entry.compare)
	slices.SortFunc(theirs, entry.compare)
	i, j := 0, 0
	for i < len(mine) || j < len(theirs) {
		order := 0
		switch {
		case i == len(mine):
			order = 1
		case j == len(theirs):
			order = -1
		default:
			order = mine[i].compare(theirs[j])
		}
		switch {
		case order < 0:
			onlyMine = append(onlyMine, mine[i])
			i++
		case order > 0:
			onlyTheirs = append(onlyTheirs, theirs[j])
			j++
		default:
			i++
			j++
		}
	}
	return onlyMine, onlyTheirs
}
