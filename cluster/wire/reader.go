package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	readBufferMin = 64 << 10
	// readBufferKeep is the largest buffer a reader keeps when everything in it has been handed out. It grows towards it
	// while reads come back full, so that a busy connection costs fewer system calls.
	readBufferKeep = 1 << 20
)

// Reader finds packets in a stream.
//
//	for {
//		if err := r.Fill(); err != nil { ... }
//		for {
//			messages, err := r.Next()
//			if err != nil { ... }
//			if messages == nil { break }
//			...
//		}
//	}
//
// Who reads the stream himself says Lend(b) in place of Fill, and Keep after Next has returned nil.
type Reader struct {
	src io.Reader
	// limit bounds packets of several messages, largest those of one.
	limit, largest int64
	buf            []byte // buf[at:] has arrived and was not handed out
	at             int
	full           bool // the last read filled the buffer
	lent           bool // buf is the caller's until Keep
	spare          []byte
}

// NewReader returns a reader of src. A packet of more than limit bytes must hold exactly one message, and none has more
// than largest bytes.
func NewReader(src io.Reader, limit, largest int) *Reader {
	r := &Reader{src: src}
	r.SetLimits(limit, largest)
	return r
}

// SetLimits changes the limits of the packets to come.
func (r *Reader) SetLimits(limit, largest int) {
	r.limit, r.largest = int64(limit), int64(max(limit, largest))
}

// Fill reads once from the source. What Next returned before is no longer valid. At the end of the stream it returns io.EOF
// between packets, io.ErrUnexpectedEOF within one.
func (r *Reader) Fill() error {
	r.room()
	n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	r.full = len(r.buf) == cap(r.buf)
	if n > 0 {
		return nil
	}
	if err == io.EOF && len(r.buf) > r.at {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Lend takes what arrived next, which must not change until Keep. What Next returned before is no longer valid.
func (r *Reader) Lend(b []byte) {
	if r.at == len(r.buf) {
		r.spare, r.buf, r.at, r.lent = r.buf[:0], b, 0, true
		return
	}
	if r.at > 0 && r.at >= len(r.buf)/2 {
		r.buf, r.at = r.buf[:copy(r.buf, r.buf[r.at:])], 0
	}
	r.buf = append(r.buf, b...)
}

// Keep ends a loan: what of it has not been handed out is copied.
func (r *Reader) Keep() {
	if r.lent {
		r.buf, r.at, r.spare, r.lent = append(r.spare, r.buf[r.at:]...), 0, nil, false
	}
	if r.at == len(r.buf) && cap(r.buf) > readBufferKeep {
		r.buf, r.at = nil, 0
	}
}

// room makes place behind buf: by moving what is left to the front, and by doubling when that does not suffice. So the
// buffer is never more than twice what has arrived.
func (r *Reader) room() {
	left := len(r.buf) - r.at
	size := cap(r.buf)
	switch {
	case left == 0 && size > readBufferKeep:
		size = readBufferMin
	case left > size/2 || r.full && size < readBufferKeep:
		size = max(2*size, readBufferMin)
	case size == 0:
		size = readBufferMin
	}
	switch {
	case size != cap(r.buf) && len(r.buf) == cap(r.buf), size < cap(r.buf):
		moved := make([]byte, left, size)
		copy(moved, r.buf[r.at:])
		r.buf, r.at = moved, 0
	case r.at > 0 && left <= cap(r.buf)/2:
		r.buf, r.at = r.buf[:copy(r.buf, r.buf[r.at:])], 0
	}
}

// Next returns the messages of the next packet, verified, or nil when it has not arrived whole. They are valid until the
// next Fill. Errors are ErrDamaged and ErrTooLong.
func (r *Reader) Next() (messages []byte, err error) {
	rest := r.buf[r.at:]
	if len(rest) < PacketHeader {
		return nil, nil
	}
	size := int64(binary.LittleEndian.Uint32(rest))
	if size == 0 {
		return nil, fmt.Errorf("%w: it holds nothing", ErrDamaged)
	}
	if size > r.largest {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLong, size, r.largest)
	}
	if int64(len(rest)-PacketHeader) < size {
		return nil, nil
	}
	messages = rest[PacketHeader : PacketHeader+size : PacketHeader+size]
	if crc32.Checksum(messages, castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
		return nil, fmt.Errorf("%w: its checksum does not match", ErrDamaged)
	}
	if size > r.limit {
		var m Message
		if n, err := m.Decode(messages); err != nil || n != len(messages) {
			return nil, fmt.Errorf("%w: %d bytes that are not one message", ErrTooLong, size)
		}
	}
	r.at += PacketHeader + int(size)
	return messages, nil
}
