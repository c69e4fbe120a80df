package sstable

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"kvstore/storage/entry"
)

const (
	blockHeader = 16
	fingerSize  = 2
)

// blockBuilder collects rows in order. The prefix is not known before the last row, so rows are laid out in finish.
type blockBuilder struct {
	rows  []row
	bytes []byte // keys and values of the rows, one after another
}

type row struct {
	start    int // of the key in bytes
	keyLen   int
	valueLen int
	seq      uint64
	kind     entry.Kind
}

func (b *blockBuilder) add(key []byte, seq uint64, kind entry.Kind, value []byte) {
	b.rows = append(b.rows, row{start: len(b.bytes), keyLen: len(key), valueLen: len(value), seq: seq, kind: kind})
	b.bytes = append(b.bytes, key...)
	b.bytes = append(b.bytes, value...)
}

func (b *blockBuilder) reset() {
	b.rows = b.rows[:0]
	if b.bytes = b.bytes[:0]; cap(b.bytes) > keepBuffer {
		b.bytes = nil
	}
}

// size estimates the length of the finished block.
func (b *blockBuilder) size() int { return blockHeader + len(b.bytes) + len(b.rows)*rowOverhead }

// rowOverhead is the usual cost of a row beside its key and value.
const rowOverhead = 8

func (b *blockBuilder) key(i int) []byte {
	r := &b.rows[i]
	return b.bytes[r.start : r.start+r.keyLen]
}

// finish appends the block to dst.
func (b *blockBuilder) finish(dst []byte) []byte {
	n := len(b.rows)
	base, prefix := uint64(0), 0
	if n > 0 {
		prefix = commonPrefix(b.key(0), b.key(n-1))
		base = b.rows[0].seq
		for i := range b.rows {
			base = min(base, b.rows[i].seq)
		}
	}
	wide, total := b.layout(base, prefix)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(prefix))
	dst = binary.LittleEndian.AppendUint64(dst, base<<1|uint64(wide))
	if n > 0 {
		dst = append(dst, b.key(0)[:prefix]...)
	}
	width := 2 + 2*wide
	start := len(dst)
	size := n*(fingerSize+width) + total
	dst = slices.Grow(dst, size)[:start+size]
	fingers := dst[start:]
	offsets := fingers[n*fingerSize:]
	rows := offsets[n*width:]
	at := 0
	for i := range b.rows {
		r := &b.rows[i]
		kept := b.bytes[r.start+prefix : r.start+r.keyLen+r.valueLen]
		binary.BigEndian.PutUint16(fingers[i*fingerSize:], finger(kept[:r.keyLen-prefix]))
		if wide == 1 {
			binary.LittleEndian.PutUint32(offsets[4*i:], uint32(at))
		} else {
			binary.LittleEndian.PutUint16(offsets[2*i:], uint16(at))
		}
		at += binary.PutUvarint(rows[at:], (r.seq-base)<<2|uint64(r.kind))
		at += binary.PutUvarint(rows[at:], uint64(r.keyLen-prefix))
		at += binary.PutUvarint(rows[at:], uint64(r.valueLen))
		at += copy(rows[at:], kept)
	}
	if at != total {
		panic("sstable: a block was laid out wrongly")
	}
	return dst
}

// layout finds the length of all rows and whether their offsets need four bytes.
func (b *blockBuilder) layout(base uint64, prefix int) (wide, total int) {
	for i := range b.rows {
		r := &b.rows[i]
		if total > math.MaxUint16 {
			wide = 1
		}
		total += uvarintLen((r.seq-base)<<2|uint64(r.kind)) + uvarintLen(uint64(r.keyLen-prefix)) + uvarintLen(uint64(r.valueLen))
		total += r.keyLen - prefix + r.valueLen
	}
	return wide, total
}

func uvarintLen(x uint64) int {
	return (bits.Len64(x|1) + 6) / 7
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func finger(suffix []byte) uint16 {
	switch len(suffix) {
	case 0:
		return 0
	case 1:
		return uint16(suffix[0]) << 8
	}
	return binary.BigEndian.Uint16(suffix)
}

// block is a view of a block's contents.
type block struct {
	n       int
	wide    bool
	base    uint64
	prefix  []byte
	fingers []byte
	offsets []byte
	rows    []byte
}

// parseBlock checks that the parts of a block lie within it; rows are checked when they are read.
func parseBlock(data []byte) (b block, ok bool) {
	if len(data) < blockHeader {
		return b, false
	}
	n, prefix := int(binary.LittleEndian.Uint32(data)), int(binary.LittleEndian.Uint32(data[4:]))
	head := binary.LittleEndian.Uint64(data[8:])
	b = block{n: n, wide: head&1 == 1, base: head >> 1}
	width := 2
	if b.wide {
		width = 4
	}
	data = data[blockHeader:]
	if prefix > len(data) || n*(fingerSize+width) > len(data)-prefix {
		return block{}, false
	}
	b.prefix, data = data[:prefix], data[prefix:]
	b.fingers, data = data[:n*fingerSize], data[n*fingerSize:]
	b.offsets, b.rows = data[:n*width], data[n*width:]
	return b, true
}

func (b *block) finger(i int) uint16 { return binary.BigEndian.Uint16(b.fingers[i*fingerSize:]) }

// rowView is a decoded row. Its key is the block's prefix and suffix.
type rowView struct {
	suffix, value []byte
	seq           uint64
	kind          entry.Kind
}

func (b *block) row(i int) (r rowView, ok bool) {
	var offset int
	if b.wide {
		offset = int(binary.LittleEndian.Uint32(b.offsets[4*i:]))
	} else {
		offset = int(binary.LittleEndian.Uint16(b.offsets[2*i:]))
	}
	if offset > len(b.rows) {
		return r, false
	}
	data := b.rows[offset:]
	head, n := binary.Uvarint(data)
	if n <= 0 {
		return r, false
	}
	data = data[n:]
	keyLen, n := binary.Uvarint(data)
	if n <= 0 {
		return r, false
	}
	data = data[n:]
	valueLen, n := binary.Uvarint(data)
	if n <= 0 {
		return r, false
	}
	data = data[n:]
	if keyLen > uint64(len(data)) || valueLen > uint64(len(data))-keyLen {
		return r, false
	}
	r.suffix, r.value = data[:keyLen:keyLen], data[keyLen:keyLen+valueLen:keyLen+valueLen]
	r.seq, r.kind = b.base+head>>2, entry.Kind(head&3)
	return r, r.kind <= entry.KindSet
}

// isKey reports whether a row's key is key.
func (b *block) isKey(r *rowView, key []byte) bool {
	n := len(b.prefix)
	return len(key) == n+len(r.suffix) && string(key[n:]) == string(r.suffix) && string(key[:n]) == string(b.prefix)
}

// firstFinger returns the first row whose finger is not below f. Tokens are uniform, so the row is mostly where the
// finger's place between the first and the last one says, or next to it; from there the steps double.
func (b *block) firstFinger(f uint16) int {
	if b.n == 0 || f <= b.finger(0) {
		return 0
	}
	low, high := 1, b.n-1 // the bounds of the answer
	first, last := b.finger(0), b.finger(high)
	if f > last {
		return b.n
	}
	i := int(uint64(f-first) * uint64(high) / uint64(last-first))
	if b.finger(i) < f {
		low = i + 1
		for step := 1; low < high; step *= 2 {
			at := min(low+step-1, high)
			if b.finger(at) >= f {
				high = at
				break
			}
			low = at + 1
		}
	} else {
		high = i
		for step := 1; low < high; step *= 2 {
			at := max(high-step, low)
			if b.finger(at) < f {
				low = at + 1
				break
			}
			high = at
		}
	}
	for low < high {
		middle := int(uint(low+high) / 2)
		if b.finger(middle) < f {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// search returns the first row at or after (key, seq), n if there is none. It is not ok when a row it met is damaged.
func (b *block) search(key []byte, seq uint64) (i int, ok bool) {
	if len(key) < len(b.prefix) || !bytes.Equal(key[:len(b.prefix)], b.prefix) {
		if bytes.Compare(key, b.prefix) < 0 {
			return 0, true
		}
		return b.n, true
	}
	suffix := key[len(b.prefix):]
	f := finger(suffix)
	lo := b.firstFinger(f)
	if lo == b.n || b.finger(lo) != f {
		return lo, true
	}
	// Rows from lo on may have the same finger; the first after them is at most hi.
	hi := lo + 1
	for hi < b.n && b.finger(hi) == f {
		hi = min(b.n, hi+hi-lo)
	}
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if b.finger(mid) != f {
			hi = mid
			continue
		}
		r, ok := b.row(mid)
		if !ok {
			return 0, false
		}
		if c := bytes.Compare(r.suffix, suffix); c < 0 || c == 0 && r.seq > seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, true
}
