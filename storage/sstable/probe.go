package sstable

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"kvstore/storage/prefetch"
)

// Probe is a key with what the tables that may have it are asked, worked out once for all of them.
type Probe struct {
	prefix, hash uint64
}

// NewProbe returns the probe of a key.
func NewProbe(key []byte) Probe { return Probe{prefixOf(key), keyHash(key)} }

// ProbeOf is NewProbe for a key of user data that begins with this token.
func ProbeOf(token uint64) Probe { return Probe{token, tokenHash(token)} }

// prefixOf is the first eight bytes of a key as a number, zeros after the end. Keys are ordered by it, but for those
// whose prefixes are equal.
func prefixOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// bounds finds the partition of a key by the key's prefix alone.
type bounds struct {
	// smallest is the prefix of the table's first key, largest has those of the partitions' separators.
	smallest uint64
	largest  []uint64
	// scale is what a prefix's distance from the smallest is multiplied by, in units of 2^-64, to guess its partition.
	scale uint64
}

func newBounds(smallest uint64, largest []uint64) bounds {
	b := bounds{smallest: smallest, largest: largest}
	if n := uint64(len(largest)); n > 0 && largest[n-1] > smallest && largest[n-1]-smallest > n {
		b.scale, _ = bits.Div64(n, 0, largest[n-1]-smallest)
	}
	return b
}

// guessReach is how far from the guess a partition is looked for before halving begins. Tokens are uniform, so that the
// guess is mostly right and nearly always a neighbour.
const guessReach = 3

// find returns the one partition that may have keys of this prefix. It is -1 when there is none, and not sure when the
// prefix does not settle it.
func (b *bounds) find(prefix uint64) (at int, sure bool) {
	n := len(b.largest)
	if n == 0 || prefix < b.smallest || prefix > b.largest[n-1] {
		return -1, true
	}
	guess, _ := bits.Mul64(prefix-b.smallest, b.scale)
	at = min(int(guess), n-1)
	low, high := max(at-guessReach, 0), min(at+guessReach, n-1)
	for at > low && b.largest[at-1] >= prefix {
		at--
	}
	for at < high && b.largest[at] < prefix {
		at++
	}
	if b.largest[at] < prefix || at > 0 && b.largest[at-1] >= prefix {
		at = b.halve(prefix)
	}
	return at, b.largest[at] != prefix
}

// halve returns the first partition whose separator is not before prefix; there is one.
func (b *bounds) halve(prefix uint64) int {
	low, high := 0, len(b.largest)-1
	for low < high {
		if middle := int(uint(low+high) / 2); b.largest[middle] < prefix {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// TurnsAway reports that the table does not have the key, for all that is pinned. When it is false nothing is known.
func (r *Reader) TurnsAway(p Probe) bool {
	at, sure := r.bounds.find(p.prefix)
	if at < 0 || !sure {
		return at < 0
	}
	pinned := r.parts[at].pinned.Load()
	return pinned != nil && !pinned.mayHave(p.hash)
}

// Expect has the processor fetch what TurnsAway looks at.
func (r *Reader) Expect(p Probe) {
	if at, _ := r.bounds.find(p.prefix); at >= 0 {
		if pinned := r.parts[at].pinned.Load(); pinned != nil && len(pinned.cells) > 0 {
			prefetch.Line(unsafe.Pointer(&pinned.cells[cellOf(p.hash, uint32(len(pinned.cells)/cellSize))*cellSize]))
		}
	}
}
