package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxArgs bounds the arguments of one Write. It is Redis's own bound for the arguments of a command, and keeps what
	// Decode allocates for a hostile count to 24 MiB.
	MaxArgs = 1 << 20
	// headBound is the most that everything but slices' bytes and arguments takes: nine varints of at most 10 bytes (id,
	// epoch, timeout, r, w, origin), four 8-byte words, seven single bytes, five lengths.
	headBound = 192
	// lengthBound is the most that a length takes.
	lengthBound = 10
)

// ErrMalformed is the class of every error of Decode.
var ErrMalformed = errors.New("malformed message")

// field is a set of the parts that follow the head; a kind's layout is a set, because the order is the same for all.
type field uint32

const (
	fMethod field = 1 << iota
	fStatus
	fEpoch
	fTimeout
	fPlace // token, db, key
	fDigest
	fLevels // r, w, mode, proto
	fObject
	fOrigin
	fCommand // op, args
	fBody
)

// HasKey reports whether messages of the kind are about a key.
func (k Kind) HasKey() bool { return layout(k)&fPlace != 0 }

// layout returns the fields of a kind, 0 for a kind that does not exist.
func layout(k Kind) field {
	switch k {
	case Hello:
		return fMethod | fEpoch | fBody
	case HelloAck:
		return fStatus | fEpoch | fBody
	case Write:
		return fEpoch | fTimeout | fPlace | fLevels | fCommand
	case WriteReply:
		return fStatus | fEpoch | fBody
	case Replicate:
		return fEpoch | fTimeout | fPlace | fObject | fOrigin | fBody
	case ReplicateAck:
		return fStatus | fEpoch | fObject | fBody
	case Read:
		return fEpoch | fTimeout | fPlace | fDigest
	case ReadReply:
		return fStatus | fEpoch | fDigest | fObject | fBody
	case Control:
		return fMethod | fEpoch | fTimeout | fBody
	case ControlReply:
		return fMethod | fStatus | fEpoch | fBody
	case Ping, Pong:
		return fEpoch
	}
	return 0
}

// Bound returns a number of bytes that the encoded message does not exceed. It is cheap and close for large messages.
func Bound(m *Message) int {
	n := headBound + len(m.Key) + len(m.Object) + len(m.Op) + len(m.Body) + len(m.Relay)
	for _, a := range m.Args {
		n += lengthBound + len(a)
	}
	return n
}

// Append appends the encoded message to dst. It panics on a kind that does not exist.
func Append(dst []byte, m *Message) []byte {
	f := layout(m.Kind)
	if f == 0 {
		panic(fmt.Sprintf("wire: message of unknown kind %d", m.Kind))
	}
	dst = append(dst, byte(m.Kind), byte(m.Flags))
	dst = binary.AppendUvarint(dst, m.ID)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Now))
	if f&fMethod != 0 {
		dst = append(dst, m.Method)
	}
	if f&fStatus != 0 {
		dst = append(dst, byte(m.Status))
	}
	dst = binary.AppendUvarint(dst, uint64(m.Epoch))
	if f&fTimeout != 0 {
		dst = binary.AppendUvarint(dst, microseconds(m.Timeout))
	}
	if f&fPlace != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Token))
		dst = append(dst, m.DB)
		dst = appendBytes(dst, m.Key)
	}
	if f&fDigest != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, m.Digest)
	}
	if f&fLevels != 0 {
		dst = binary.AppendVarint(dst, int64(m.R))
		dst = binary.AppendVarint(dst, int64(m.W))
		dst = append(dst, m.Mode, m.Proto)
	}
	if f&fObject != 0 {
		dst = appendBytes(dst, m.Object)
	}
	if f&fOrigin != 0 {
		dst = binary.AppendUvarint(dst, m.Origin)
	}
	if f&fCommand != 0 {
		dst = appendBytes(dst, m.Op)
		dst = binary.AppendUvarint(dst, uint64(len(m.Args)))
		for _, a := range m.Args {
			dst = appendBytes(dst, a)
		}
	}
	if f&fBody != 0 {
		dst = appendBytes(dst, m.Body)
	}
	if m.Kind == Replicate && m.Flags&(StandIn|Relay) != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Target))
		if m.Flags&Relay != 0 {
			dst = appendBytes(dst, m.Relay)
		}
	}
	return dst
}

// microseconds rounds up, and makes a negative duration 1: time left, or over, never becomes no deadline.
func microseconds(d time.Duration) uint64 {
	switch {
	case d < 0:
		return 1
	case d%time.Microsecond != 0:
		return uint64(d/time.Microsecond) + 1
	}
	return uint64(d / time.Microsecond)
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
