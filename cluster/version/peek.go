package version

import "github.com/cespare/xxhash/v2"

// PeekNewest returns dot, kind and deadline of the newest sibling in an
// encoding, without decoding the rest. It checks only what it reads.
func PeekNewest(b []byte) (dot Dot, kind Kind, deadline int64, err error) {
	var s Sibling
	if len(b) == 0 {
		return Dot{}, 0, 0, corrupt("no bytes")
	}
	switch b[0] & formMask {
	case formPlain:
		_, err = s.decodeHead(b[0]&^formMask, b[1:])
	case formFull, formDotted:
		err = s.decodeLast(b[1:], b[0]&formMask == formDotted)
	default:
		err = corrupt("form")
	}
	if err != nil {
		return Dot{}, 0, 0, err
	}
	return s.Dot, s.Kind, s.Deadline, nil
}

// decodeLast reads the last sibling of the full or the dotted form.
func (s *Sibling) decodeLast(b []byte, dotted bool) error {
	if len(b) < 8 {
		return corrupt("context cut short")
	}
	count, b, err := decodeCount(b[8:], MaxDecodeEntries, dotSize)
	if err != nil {
		return err
	}
	b = b[count*dotSize:]
	if dotted {
		if count, b, err = decodeCount(b, MaxDecodeEntries, dotSize); err != nil {
			return err
		}
		b = b[count*dotSize:]
	}
	count, b, err = decodeCount(b, MaxDecodeSiblings, plainSize)
	if err != nil {
		return err
	}
	if count == 0 {
		return corrupt("no siblings")
	}
	for range count {
		*s = Sibling{}
		if b, err = s.decode(b); err != nil {
			return err
		}
	}
	return nil
}

// Digest returns a hash that is equal for equal objects: the xxhash64 of the
// encoding, which DigestOf takes from the encoding itself.
func (o *Object) Digest() uint64 {
	var stack [512]byte
	if !o.plain() {
		return xxhash.Sum64(o.Append(stack[:0]))
	}
	s := &o.Siblings[0]
	head := s.appendHead(append(stack[:0], formPlain|s.tag()))
	var d xxhash.Digest
	d.Reset()
	d.Write(head)
	d.Write(s.Value)
	return d.Sum64()
}

// DigestOf returns the Digest of the object with this encoding.
func DigestOf(encoded []byte) uint64 { return xxhash.Sum64(encoded) }
