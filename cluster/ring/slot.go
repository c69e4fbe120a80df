package ring

import (
	"bytes"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Slots is the number of slots, as in Redis Cluster.
const Slots = 1 << slotBits

const (
	slotBits = 14
	hashBits = 48

	// TokenEnd is one past the greatest token.
	TokenEnd = Token(Slots) << hashBits
)

// Slot is CRC16 of a key or its hash tag, modulo Slots. Keys of one slot are
// always on the same nodes.
type Slot uint16

// Token is a key's place in the order of everything stored: its slot above 48
// bits of a hash of database and key. It has 62 bits.
type Token uint64

// Slot returns the slot of the keys with this token.
func (t Token) Slot() Slot { return Slot(t >> hashBits) }

// SlotOf returns the slot of a key: of what stands between the first { and the
// first } after it if that is something, else of the whole key.
func SlotOf(key []byte) Slot {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if size := bytes.IndexByte(key[open+1:], '}'); size > 0 {
			key = key[open+1 : open+1+size]
		}
	}
	var crc uint16
	for _, b := range key {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^b]
	}
	return Slot(crc % Slots)
}

// TokenOf returns the token of a key in a database.
func TokenOf(db uint8, key []byte) Token {
	return Token(SlotOf(key))<<hashBits | Token(KeyHash(db, key)>>(64-hashBits))
}

// KeyHash returns 64 bits that name a key in a database, for binding contexts.
func KeyHash(db uint8, key []byte) uint64 {
	// The hash of a seeded digest would do the same at twice the price.
	return mix(xxhash.Sum64(key) + uint64(db)*0x9e3779b97f4a7c15)
}

// mix is a bijection in which every bit of x changes half of the result: the
// finalizer of splitmix64 (Steele, Lea, Flood, 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hashPair returns a hash of two numbers.
func hashPair(a, b uint64) uint64 {
	var buf [16]byte
	binary.LittleEndian.PutUint64(buf[:], a)
	binary.LittleEndian.PutUint64(buf[8:], b)
	return xxhash.Sum64(buf[:])
}

// crcTable is the CRC of each byte under the XMODEM polynomial x^16+x^12+x^5+1.
var crcTable = makeCRCTable()

func makeCRCTable() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			carry := crc & 0x8000
			crc <<= 1
			if carry != 0 {
				crc ^= 0x1021
			}
		}
		table[i] = crc
	}
	return table
}
