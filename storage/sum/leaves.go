package sum

import (
	"encoding/binary"
	"errors"
)

const (
	// Shift takes a token to its leaf.
	Shift = 44
	// Count is the number of leaves.
	Count = 1 << 18
	// PageLeaves is the number of leaves in a page.
	PageLeaves = 1 << pageBits
	// Pages is the number of pages.
	Pages = Count / PageLeaves

	pageBits = 10
)

// Leaves has an XOR for each leaf. The zero Leaves has zeros.
type Leaves struct {
	pages [Pages]*page
	// totals are the XORs of each page's leaves.
	totals [Pages]uint64
}

type page [PageLeaves]uint64

// Xor changes the XOR of a leaf.
func (l *Leaves) Xor(leaf uint32, delta uint64) {
	p := l.pages[leaf>>pageBits]
	if p == nil {
		p = l.grow(leaf >> pageBits)
	}
	p[leaf%PageLeaves] ^= delta
	l.totals[leaf>>pageBits] ^= delta
}

func (l *Leaves) grow(at uint32) *page {
	p := new(page)
	l.pages[at] = p
	return p
}

// At returns the XOR of a leaf.
func (l *Leaves) At(leaf uint32) uint64 {
	if p := l.pages[leaf>>pageBits]; p != nil {
		return p[leaf%PageLeaves]
	}
	return 0
}

// Total returns the XOR of all leaves of a page.
func (l *Leaves) Total(at int) uint64 { return l.totals[at] }

// XorInto changes dst, the XORs of the leaves from lo on, by those of l. They must be of one page.
func (l *Leaves) XorInto(dst []uint64, lo uint32) {
	p := l.pages[lo>>pageBits]
	if p == nil {
		return
	}
	for i, x := range p[lo%PageLeaves:][:len(dst)] {
		dst[i] ^= x
	}
}

// Empty reports whether nothing was ever changed.
func (l *Leaves) Empty() bool { return *l == Leaves{} }

// Add changes l by everything in o.
func (l *Leaves) Add(o *Leaves) {
	for i, p := range o.pages {
		if p != nil {
			l.addPage(i, p)
			l.totals[i] ^= o.totals[i]
		}
	}
}

// Take moves what a page of o holds to l. It reports whether there was anything.
func (l *Leaves) Take(o *Leaves, at int) bool {
	p := o.pages[at]
	if p == nil {
		return false
	}
	l.totals[at] ^= o.totals[at]
	o.pages[at], o.totals[at] = nil, 0
	if l.pages[at] == nil {
		l.pages[at] = p
	} else {
		l.addPage(at, p)
	}
	return true
}

// Has reports whether a page has anything.
func (l *Leaves) Has(at int) bool { return l.pages[at] != nil }

func (l *Leaves) addPage(at int, p *page) {
	to := l.pages[at]
	if to == nil {
		to = l.grow(uint32(at))
	}
	for i, x := range p {
		to[i] ^= x
	}
}

// Append appends the encoding to dst.
func (l *Leaves) Append(dst []byte) []byte {
	next := 0
	for at, p := range l.pages {
		if p == nil {
			continue
		}
		for i, x := range p {
			if x != 0 {
				leaf := at*PageLeaves + i
				dst = binary.AppendUvarint(dst, uint64(leaf-next))
				dst = binary.LittleEndian.AppendUint64(dst, x)
				next = leaf + 1
			}
		}
	}
	return dst
}

var errDecode = errors.New("the sums do not decode")

// Decode decodes what Append made, all of encoded.
func Decode(encoded []byte) (*Leaves, error) {
	l := &Leaves{}
	next := uint64(0)
	for len(encoded) > 0 {
		gap, n := binary.Uvarint(encoded)
		if n <= 0 || len(encoded) < n+8 || gap >= Count || next+gap >= Count {
			return nil, errDecode
		}
		x := binary.LittleEndian.Uint64(encoded[n:])
		if x == 0 {
			return nil, errDecode
		}
		l.Xor(uint32(next+gap), x)
		next += gap + 1
		encoded = encoded[n+8:]
	}
	return l, nil
}
