package hint

import (
	"encoding/binary"
	"errors"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// ErrBatch is the class of errors of the decoders below.
var ErrBatch = errors.New("malformed batch of hints")

// Item is one object on its way to the node that missed it.
type Item struct {
	Key    replica.Key
	Object []byte // encoded
}

// AppendItem appends an item to a batch: token (8 bytes, big endian) ‖ database
// (1) ‖ length of the key (uvarint) ‖ key ‖ length of the object (uvarint) ‖ object.
func AppendItem(dst []byte, it *Item) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(it.Key.Token))
	dst = append(dst, it.Key.DB)
	dst = binary.AppendUvarint(dst, uint64(len(it.Key.Name)))
	dst = append(dst, it.Key.Name...)
	dst = binary.AppendUvarint(dst, uint64(len(it.Object)))
	return append(dst, it.Object...)
}

// DecodeBatch reads a batch; the items point into b.
func DecodeBatch(b []byte) (items []Item, err error) {
	for len(b) > 0 {
		if len(b) < 9 {
			return nil, ErrBatch
		}
		var it Item
		it.Key.Token, it.Key.DB = ring.Token(binary.BigEndian.Uint64(b)), b[8]
		if it.Key.Token >= ring.TokenEnd || it.Key.DB >= replica.Databases {
			return nil, ErrBatch
		}
		var ok bool
		if it.Key.Name, b, ok = cut(b[9:]); !ok {
			return nil, ErrBatch
		}
		if it.Object, b, ok = cut(b); !ok {
			return nil, ErrBatch
		}
		items = append(items, it)
	}
	return items, nil
}

// cut takes a length and as many bytes off the front of b.
func cut(b []byte) (head, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	b = b[used:]
	return b[:n:n], b[n:], true
}

// Answer is what the target says of a batch: one byte window, pause in
// milliseconds (2 bytes, big endian), then a byte for each item, 1 when it is held.
type Answer struct {
	Grant Grant
	Held  []bool
}

// Append appends the encoded answer.
func (a *Answer) Append(dst []byte) []byte {
	pause := min(max(a.Grant.Pause.Milliseconds(), 0), 1<<16-1)
	dst = append(dst, byte(min(max(a.Grant.Window, 1), 255)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(pause))
	for _, held := range a.Held {
		b := byte(0)
		if held {
			b = 1
		}
		dst = append(dst, b)
	}
	return dst
}

// DecodeAnswer reads the answer to a batch of n items.
func DecodeAnswer(b []byte, n int) (a Answer, err error) {
	if len(b) != 3+n || b[0] == 0 {
		return a, ErrBatch
	}
	a.Grant = Grant{Window: int(b[0]), Pause: time.Duration(binary.BigEndian.Uint16(b[1:])) * time.Millisecond}
	a.Held = make([]bool, n)
	for i := range a.Held {
		a.Held[i] = b[3+i] == 1
	}
	return a, nil
}
