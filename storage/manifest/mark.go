package manifest

import "encoding/binary"

// Mark says that records of the keys from Lo up to and without Hi were lost to damage, with sequence numbers up to Seq:
// what is left of such a key counts only if it is newer. Marks stay until what was lost has come back from elsewhere.
type Mark struct {
	// ID names the mark; it is a file number that no file has.
	ID, Seq uint64
	Lo, Hi  []byte
}

// The tags of what damage leaves behind; see the package comment.
const (
	tagMark     byte = 16
	tagUnmark   byte = 17
	tagRepaired byte = 18
)

// Repair is what an edit says of the store as a whole.
type Repair byte

// The zero Repair leaves the state as it is.
const (
	// Mended says that the store was repaired and has lost writes that others may have seen.
	Mended Repair = 1
	// Known says that whoever uses the store has taken notice.
	Known Repair = 2
)

// appendDamage appends the fields about damage.
func (e *Edit) appendDamage(dst []byte) []byte {
	for _, m := range e.Marks {
		dst = binary.AppendUvarint(append(dst, tagMark), m.ID)
		dst = binary.AppendUvarint(dst, m.Seq)
		dst = appendBytes(appendBytes(dst, m.Lo), m.Hi)
	}
	for _, n := range e.Unmarked {
		dst = binary.AppendUvarint(append(dst, tagUnmark), n)
	}
	if e.Repair != 0 {
		dst = append(dst, tagRepaired, byte(e.Repair))
	}
	return dst
}

// decodeDamage decodes the field behind one of the tags about damage; it is false for another tag.
func (e *Edit) decodeDamage(tag byte, d *decoder) bool {
	switch tag {
	case tagMark:
		e.Marks = append(e.Marks, Mark{ID: d.uvarint(), Seq: d.uvarint(), Lo: d.bytes(), Hi: d.bytes()})
	case tagUnmark:
		e.Unmarked = append(e.Unmarked, d.uvarint())
	case tagRepaired:
		n := d.uvarint()
		if e.Repair = Repair(n); n == 0 || n > uint64(Known) {
			d.failed = true
		}
	default:
		return false
	}
	return true
}
