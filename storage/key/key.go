// Package key is the layout of the engine's keys.
//
// User keys are ordered by token first, so that a slot, a partition and a page of SCAN are each one range:
//
//	token     8 bytes, big endian, below 2^62, so that the first byte is below 0x40
//	database  1 byte
//	key       as the user wrote it, any bytes
//	kind      1 byte: what of the key this record holds; 0x00 is the whole object
//
// The kind stands at the end and is found from there. Two keys of which one begins with the other stay distinct: they
// have the same database, and different lengths.
//
// For example the object of key "k" in database 2 at token 0x1234 is 00 00 00 00 00 00 12 34 | 02 | 6b | 00.
//
// System keys begin with their space, a byte of 0x40 or more, followed by a name whose layout belongs to the space's
// owner.
package key

import (
	"encoding/binary"
	"fmt"
)

const (
	// TokenBits is the width of a token; a token is below 1<<TokenBits.
	TokenBits = 62
	// FirstSpace is the first byte a system key can begin with.
	FirstSpace byte = 0x40
	// KindObject marks the record that holds a whole object.
	KindObject byte = 0x00

	tokenSize = 8
	// userOverhead is what a user key's layout adds to it: token, database, kind.
	userOverhead = tokenSize + 2
)

// AppendUser appends the engine key of a user key's object to dst. A token of more than 62 bits is the caller's mistake
// and panics.
func AppendUser(dst []byte, token uint64, db uint8, key []byte) []byte {
	if token >= 1<<TokenBits {
		panic(fmt.Sprintf("key: token %#x has more than %d bits", token, TokenBits))
	}
	dst = AppendToken(dst, token)
	dst = append(dst, db)
	dst = append(dst, key...)
	return append(dst, KindObject)
}

// ParseUser takes an engine key of a user's object apart; the returned key points into k.
func ParseUser(k []byte) (token uint64, db uint8, key []byte, err error) {
	switch {
	case len(k) < userOverhead:
		return 0, 0, nil, fmt.Errorf("engine key of %d bytes is too short for a user key", len(k))
	case k[0] >= FirstSpace:
		return 0, 0, nil, fmt.Errorf("engine key in system space 0x%02x is no user key", k[0])
	case k[len(k)-1] != KindObject:
		return 0, 0, nil, fmt.Errorf("engine key has unknown kind 0x%02x", k[len(k)-1])
	}
	last := len(k) - 1
	return binary.BigEndian.Uint64(k), k[tokenSize], k[tokenSize+1 : last : last], nil
}

// AppendToken appends a token as user keys begin with it. Alone it is the lower bound of the token's keys; the limit
// 1<<62, which is no token, is the upper bound of all user keys.
func AppendToken(dst []byte, token uint64) []byte {
	if token > 1<<TokenBits {
		panic(fmt.Sprintf("key: bound %#x is past the last token", token))
	}
	return binary.BigEndian.AppendUint64(dst, token)
}

// AppendSystem appends a system key to dst. A space below 0x40 is the caller's mistake and panics.
func AppendSystem(dst []byte, space byte, name []byte) []byte {
	if space < FirstSpace {
		panic(fmt.Sprintf("key: space 0x%02x belongs to user keys", space))
	}
	dst = append(dst, space)
	return append(dst, name...)
}
