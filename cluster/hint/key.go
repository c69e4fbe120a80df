package hint

import (
	"encoding/binary"
	"errors"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/storage/key"
)

// Space is the first byte of the system keys of hints.
const Space byte = 0x43

// Hint says that a node has not got a key.
type Hint struct {
	Target ring.NodeID
	Key    replica.Key
	Made   time.Time
	Size   int64 // bytes, see the package comment
}

// errMalformed is damage that the engine's checksums did not see.
var errMalformed = errors.New("malformed hint")

// keySize is what a hint's key has before the name.
const keySize = 1 + 8 + 8 + 1

// AppendKey appends the engine's key of a hint.
func AppendKey(dst []byte, target ring.NodeID, k replica.Key) []byte {
	dst = key.AppendSystem(dst, Space, nil)
	dst = binary.BigEndian.AppendUint64(dst, uint64(target))
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.Token))
	dst = append(dst, k.DB)
	return append(dst, k.Name...)
}

// Bounds returns the range of the engine's keys of a target's hints with tokens
// from lo up to, and without, hi.
func Bounds(target ring.NodeID, lo, hi ring.Token) (lower, upper []byte) {
	bound := func(t ring.Token) []byte {
		b := key.AppendSystem(nil, Space, nil)
		b = binary.BigEndian.AppendUint64(b, uint64(target))
		return binary.BigEndian.AppendUint64(b, uint64(t))
	}
	return bound(lo), bound(hi)
}

// appendValue appends the record of a hint.
func appendValue(dst []byte, made time.Time, size int64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(made.UnixMilli()))
	return binary.AppendUvarint(dst, uint64(size))
}

// Parse reads a hint from its key and record; its name points into k.
func Parse(k, value []byte) (h Hint, err error) {
	if len(k) < keySize || k[0] != Space || len(value) < 9 {
		return h, errMalformed
	}
	token := binary.BigEndian.Uint64(k[9:])
	size, used := binary.Uvarint(value[8:])
	if token >= uint64(ring.TokenEnd) || used <= 0 || used != len(value)-8 || size > 1<<40 {
		return h, errMalformed
	}
	h.Target = ring.NodeID(binary.BigEndian.Uint64(k[1:]))
	h.Key = replica.Key{Token: ring.Token(token), DB: k[17], Name: k[keySize:len(k):len(k)]}
	h.Made = time.UnixMilli(int64(binary.BigEndian.Uint64(value)))
	h.Size = int64(size)
	return h, nil
}
