package wire

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

const (
	// PacketHeader is the length of what precedes the messages of a packet.
	PacketHeader = 8
	// PacketTarget is the size at which a packet is closed: large enough that header and checksum vanish, small enough that
	// the receiver works on one packet while the next is on its way.
	PacketTarget = 256 << 10
	// MaxMessage is the most one message may take: the largest value of Redis, 512 MiB, and a key and contexts beside it.
	MaxMessage = 513 << 20
	// DefaultPacketLimit is the most a packet of several messages may take, unless the reader is told otherwise.
	DefaultPacketLimit = 64 << 20
)

var (
	// ErrDamaged is the class of packets whose checksum does not match.
	ErrDamaged = errors.New("damaged packet")
	// ErrTooLong is the class of packets and messages over their limit.
	ErrTooLong = errors.New("packet over the limit")
)

// castagnoli never changes: the table of the polynomial for which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Builder collects messages into packets. The zero Builder is empty and ready.
type Builder struct {
	buf []byte
	// open is where the packet under construction begins in buf; everything before it is sealed.
	open  int
	count int
}

// Add appends a message. Append's rules hold.
func (b *Builder) Add(m *Message) {
	b.AddBound(m, Bound(m))
}

// AddBound is Add for a caller that has computed Bound(m) already.
func (b *Builder) AddBound(m *Message, bound int) {
	if size := len(b.buf) - b.open; size > PacketHeader && size+bound > PacketTarget {
		b.seal()
	}
	if len(b.buf) == b.open {
		b.buf = append(b.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	b.buf = Append(b.buf, m)
	b.count++
}

// seal closes the open packet.
func (b *Builder) seal() {
	messages := b.buf[b.open+PacketHeader:]
	binary.LittleEndian.PutUint32(b.buf[b.open:], uint32(len(messages)))
	binary.LittleEndian.PutUint32(b.buf[b.open+4:], crc32.Checksum(messages, castagnoli))
	b.open = len(b.buf)
}

// Len is the number of bytes collected, Count that of messages.
func (b *Builder) Len() int { return len(b.buf) }

// Count is the number of messages collected.
func (b *Builder) Count() int { return b.count }

// Seal closes the last packet and returns all bytes to send. They are valid until the next Add or Reset.
func (b *Builder) Seal() []byte {
	if len(b.buf) > b.open {
		b.seal()
	}
	return b.buf
}

// Reset empties the builder, and lets go of a buffer larger than keep.
func (b *Builder) Reset(keep int) {
	b.open, b.count = 0, 0
	b.buf = b.buf[:0]
	if cap(b.buf) > keep {
		b.buf = nil
	}
}
