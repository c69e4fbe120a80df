package memtable

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"unsafe"

	"kvstore/storage/entry"
)

// Records begin with a word that tells their type in its low two bits.
//
//	entry    0 word: key length<<2 | 1     4 newest version (atomic)      8 key
//	leaf     0 word: pairs<<2 | 2          8 pairs of 8 bytes (atomic): tag<<32 | entry, 0 is free
//	node     0 word: bit position<<2 | 3   4 an entry below               8 sixteen slots of 4 bytes (atomic)
//	version  0 sequence number<<8 | kind   8 older version (atomic)  12 value length  16 value
const (
	typeEntry = 1
	typeLeaf  = 2
	typeNode  = 3
	typeMask  = 3

	headerSize  = 8
	versionHead = 16

	nodeBits  = 4
	nodeSlots = 1 << nodeBits

	// smallLeaf and fullLeaf make leaves of 32 and 64 bytes with their header.
	smallLeaf = 3
	fullLeaf  = 7
)

func word(p unsafe.Pointer) uint32 { return *(*uint32)(p) }

// field is the 32-bit field at a byte offset of a record.
func field(p unsafe.Pointer, offset int) *uint32 { return (*uint32)(unsafe.Add(p, offset)) }

func pair(leaf unsafe.Pointer, i int) *uint64 {
	return (*uint64)(unsafe.Add(leaf, headerSize+8*i))
}

func child(node unsafe.Pointer, i uint) *uint32 {
	return (*uint32)(unsafe.Add(node, headerSize+4*i))
}

// leafCap is the number of pairs of a leaf, free ones too.
func leafCap(w uint32) int { return int(w >> 2) }

// nodePos is the position of the first of the four bits by which a node parts its keys.
func nodePos(w uint32) int { return int(w >> 2) }

// entryKey needs no care for an empty key: a version lies behind it.
func entryKey(p unsafe.Pointer) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(p, headerSize)), word(p)>>2)
}

func versionSeq(v unsafe.Pointer) uint64      { return *(*uint64)(v) >> 8 }
func versionKind(v unsafe.Pointer) entry.Kind { return entry.Kind(*(*uint64)(v)) }
func olderVersion(v unsafe.Pointer) ref       { return atomic.LoadUint32(field(v, 8)) }

func versionValue(v unsafe.Pointer) []byte {
	n := *field(v, 12)
	if n == 0 {
		return []byte{} // an address behind the record may be no memory of ours
	}
	return unsafe.Slice((*byte)(unsafe.Add(v, versionHead)), n)[:n:n]
}

// searchKey is a key with what the trie asks of it at every step.
type searchKey struct {
	bytes  []byte
	prefix uint64 // the first eight bytes, big endian, zeros after the end
	tag    uint32
}

func newSearchKey(key []byte) searchKey {
	k := searchKey{bytes: key, prefix: keyPrefix(key)}
	if len(key) >= 8 && k.prefix>>62 == 0 {
		k.tag = uint32(k.prefix)
		return k
	}
	// System keys share their first bytes, so their tag is a hash (FNV-1a) of the whole key.
	h := uint32(2166136261)
	for _, b := range key {
		h = (h ^ uint32(b)) * 16777619
	}
	k.tag = h
	return k
}

// keyPrefix is the first eight bytes of a key, big endian, with zeros after its end.
func keyPrefix(key []byte) (prefix uint64) {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	for i, b := range key {
		prefix |= uint64(b) << (56 - 8*i)
	}
	return prefix
}

// nibble is the four bits at a bit position, zeros after the end of the key.
func (k *searchKey) nibble(pos int) uint {
	if pos <= 64-nodeBits {
		return uint(k.prefix>>(64-nodeBits-pos)) & (nodeSlots - 1)
	}
	var window uint
	if i := pos / 8; i < len(k.bytes) {
		window = uint(k.bytes[i]) << 8
		if i+1 < len(k.bytes) {
			window |= uint(k.bytes[i+1])
		}
	}
	return window >> (16 - nodeBits - pos%8) & (nodeSlots - 1)
}

// endless is the answer of commonBits for keys that differ in nothing but trailing zeros.
const endless = math.MaxInt

// commonBits counts the bits before the first in which a and b differ, taking both as followed by zeros.
func commonBits(a, b []byte) int {
	if len(a) > len(b) {
		a, b = b, a
	}
	for i := range b {
		diff := b[i]
		if i < len(a) {
			diff ^= a[i]
		}
		if diff != 0 {
			n := 8 * i
			for ; diff&0x80 == 0; diff <<= 1 {
				n++
			}
			return n
		}
	}
	return endless
}
