package version

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"kvstore/cluster/hlc"
)

// An object begins with a tag byte: its form, the kind of the sibling in it,
// and whether that sibling has a deadline. Integers are big endian, lengths
// are unsigned varints in their shortest form. An object is:
//
//	plain   tag | sibling                    one sibling, whose dot is the context
//	full    tag | floor 8 | entry count | entries | sibling count | siblings
//	dotted  tag | floor 8 | entry count | entries | dot count | dots | sibling count | siblings
//	entry   node 8 | time 8, as is a dot
//	sibling node 8 | time 8 | [deadline 8] | payload
//	payload value (plain: to the end; full: length, bytes) | delta 8 | nothing
//
// The dotted form is the full form of a context with exact dots. In both the tag carries no kind, and each sibling begins with a byte
// of its own that has the bits of the tag. SET k v without expiry, in 18 bytes:
//
//	11 | 00000000000000a1 | 018bcfe568000007 | 76
//	form 1, String; node a1; 1700000000000.7; "v"
//
// Every object has exactly one encoding: equal objects have equal bytes.
const (
	formMask    = 0xf0
	formPlain   = 0x10
	formFull    = 0x20
	formDotted  = 0x30
	deadlineBit = 0x08
	kindMask    = 0x07
)

const (
	dotSize   = 16
	plainSize = 1 + dotSize // before the deadline

	// MaxDecodeSiblings and MaxDecodeEntries bound what a decoder takes in. Both
	// are far above what clients can make, because merging is not bounded.
	MaxDecodeSiblings = 10000
	MaxDecodeEntries  = 4096
)

// ErrCorrupt is wrapped by every decoding error.
var ErrCorrupt = errors.New("corrupt object")

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// plain reports whether the plain form is the one for o.
func (o *Object) plain() bool {
	return len(o.Siblings) == 1 && len(o.Context.Entries) == 1 && o.Context.Floor == 0 &&
		len(o.Context.Dots) == 0 && o.Context.Entries[0] == o.Siblings[0].Dot
}

// Append appends o's encoding to dst.
func (o *Object) Append(dst []byte) []byte {
	if o.plain() {
		s := &o.Siblings[0]
		dst = s.appendHead(append(dst, formPlain|s.tag()))
		return append(dst, s.Value...)
	}
	form := byte(formFull)
	if len(o.Context.Dots) > 0 {
		form = formDotted
	}
	dst = o.Context.append(append(dst, form))
	dst = binary.AppendUvarint(dst, uint64(len(o.Siblings)))
	for i := range o.Siblings {
		s := &o.Siblings[i]
		dst = s.appendHead(append(dst, s.tag()))
		if s.Kind == String {
			dst = binary.AppendUvarint(dst, uint64(len(s.Value)))
			dst = append(dst, s.Value...)
		}
	}
	return dst
}

// tag returns the bits of a sibling in its first byte.
func (s *Sibling) tag() byte {
	if s.Deadline != 0 {
		return byte(s.Kind) | deadlineBit
	}
	return byte(s.Kind)
}

// appendHead appends everything of a sibling but its tag and value.
func (s *Sibling) appendHead(dst []byte) []byte {
	dst = appendDot(dst, s.Dot)
	if s.Deadline != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.Deadline))
	}
	if s.Kind == Counter {
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.Delta))
	}
	return dst
}

// append appends c as it stands in the full form, or in the dotted one when it
// has exact dots.
func (c *Context) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Floor))
	dst = appendDots(dst, c.Entries)
	if len(c.Dots) > 0 {
		dst = appendDots(dst, c.Dots)
	}
	return dst
}

func appendDots(dst []byte, dots []Dot) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(dots)))
	for _, d := range dots {
		dst = appendDot(dst, d)
	}
	return dst
}

func appendDot(dst []byte, d Dot) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.Node))
	return binary.BigEndian.AppendUint64(dst, uint64(d.Time))
}

// Decode makes o the object that b is the encoding of. Values share b's memory.
// It checks everything that Object promises; after an error o is empty.
func (o *Object) Decode(b []byte) error {
	o.Reset()
	if err := o.decode(b); err != nil {
		o.Reset()
		return err
	}
	return nil
}

func (o *Object) decode(b []byte) error {
	if len(b) == 0 {
		return corrupt("no bytes")
	}
	switch b[0] & formMask {
	case formPlain:
		return o.decodePlain(b)
	case formFull, formDotted:
		if b[0]&^formMask != 0 {
			return corrupt("tag")
		}
		return o.decodeFull(b[1:], b[0] == formDotted)
	}
	return corrupt("form")
}

func (o *Object) decodePlain(b []byte) error {
	var s Sibling
	rest, err := s.decodeHead(b[0]&^formMask, b[1:])
	if err != nil {
		return err
	}
	if s.Kind == String {
		s.Value = rest
	} else if len(rest) > 0 {
		return corrupt("bytes after the sibling")
	}
	o.Context.Entries = append(o.Context.Entries, s.Dot)
	o.Siblings = append(o.Siblings, s)
	return nil
}

func (o *Object) decodeFull(b []byte, dotted bool) error {
	b, err := o.Context.decode(b, dotted)
	if err != nil {
		return err
	}
	count, b, err := decodeCount(b, MaxDecodeSiblings, plainSize)
	if err != nil {
		return err
	}
	o.Siblings = slices.Grow(o.Siblings, count)
	for range count {
		var s Sibling
		if b, err = s.decode(b); err != nil {
			return err
		}
		if newest := o.Newest(); newest != nil && newest.Dot.Compare(s.Dot) >= 0 {
			return corrupt("siblings out of order")
		}
		if !o.Context.vectorCovers(s.Dot) {
			return corrupt("sibling outside the context")
		}
		o.Siblings = append(o.Siblings, s)
	}
	if len(b) > 0 {
		return corrupt("bytes after the siblings")
	}
	if o.plain() {
		return corrupt("full form of a plain object")
	}
	return nil
}

// decode reads a sibling of the full form and returns what follows it.
func (s *Sibling) decode(b []byte) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, corrupt("sibling cut short")
	}
	if b, err = s.decodeHead(b[0], b[1:]); err != nil || s.Kind != String {
		return b, err
	}
	size, b, err := decodeUvarint(b)
	if err != nil {
		return nil, err
	}
	if size > uint64(len(b)) {
		return nil, corrupt("value cut short")
	}
	s.Value = b[:size:size]
	return b[size:], nil
}

// decodeHead reads what appendHead wrote.
func (s *Sibling) decodeHead(tag byte, b []byte) (rest []byte, err error) {
	s.Kind = Kind(tag & kindMask)
	if tag&^(kindMask|deadlineBit) != 0 || s.Kind < String || s.Kind > Tombstone {
		return nil, corrupt("kind")
	}
	if len(b) < dotSize {
		return nil, corrupt("dot cut short")
	}
	s.Dot = decodeDot(b)
	if s.Time == 0 {
		return nil, corrupt("dot without a time")
	}
	b = b[dotSize:]
	if tag&deadlineBit != 0 {
		if len(b) < 8 {
			return nil, corrupt("deadline cut short")
		}
		s.Deadline = int64(binary.BigEndian.Uint64(b))
		if s.Deadline <= 0 || s.Kind == Tombstone {
			return nil, corrupt("deadline")
		}
		b = b[8:]
	}
	if s.Kind == Counter {
		if len(b) < 8 {
			return nil, corrupt("counter cut short")
		}
		s.Delta = int64(binary.BigEndian.Uint64(b))
		b = b[8:]
	}
	return b, nil
}

// decode reads what append wrote; dotted says whether exact dots are there.
func (c *Context) decode(b []byte, dotted bool) (rest []byte, err error) {
	if len(b) < 8 {
		return nil, corrupt("context cut short")
	}
	c.Floor = hlc.Timestamp(binary.BigEndian.Uint64(b))
	count, b, err := decodeCount(b[8:], MaxDecodeEntries, dotSize)
	if err != nil {
		return nil, err
	}
	c.Entries = slices.Grow(c.Entries[:0], count)
	for i := range count {
		e := decodeDot(b[i*dotSize:])
		if i > 0 && c.Entries[i-1].Node >= e.Node {
			return nil, corrupt("context out of order")
		}
		if e.Time <= c.Floor {
			return nil, corrupt("context entry at or below the floor")
		}
		c.Entries = append(c.Entries, e)
	}
	c.Dots = c.Dots[:0]
	if !dotted {
		return b[count*dotSize:], nil
	}
	return c.decodeDots(b[count*dotSize:])
}

// decodeDots reads the exact dots, of which there is at least one.
func (c *Context) decodeDots(b []byte) (rest []byte, err error) {
	count, b, err := decodeCount(b, MaxDecodeEntries, dotSize)
	if err != nil {
		return nil, err
	}
	if count == 0 {
		return nil, corrupt("dotted form without dots")
	}
	c.Dots = slices.Grow(c.Dots, count)
	for i := range count {
		d := decodeDot(b[i*dotSize:])
		if i > 0 && c.Dots[i-1].Compare(d) >= 0 {
			return nil, corrupt("dots out of order")
		}
		if c.vectorCovers(d) {
			return nil, corrupt("dot within the vector")
		}
		c.Dots = append(c.Dots, d)
	}
	return b[count*dotSize:], nil
}

func decodeDot(b []byte) Dot {
	return Dot{
		Node: Incarnation(binary.BigEndian.Uint64(b)),
		Time: hlc.Timestamp(binary.BigEndian.Uint64(b[8:])),
	}
}

// decodeCount reads a count of things that take at least size bytes each.
func decodeCount(b []byte, limit, size int) (count int, rest []byte, err error) {
	n, b, err := decodeUvarint(b)
	if err != nil {
		return 0, nil, err
	}
	if n > uint64(limit) {
		return 0, nil, corrupt("count over the limit")
	}
	if int(n)*size > len(b) {
		return 0, nil, corrupt("fewer bytes than the count needs")
	}
	return int(n), b, nil
}

// decodeUvarint reads a varint and refuses one that is longer than it need be.
func decodeUvarint(b []byte) (v uint64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || (n > 1 && b[n-1] == 0) {
		return 0, nil, corrupt("varint")
	}
	return v, b[n:], nil
}
