package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"kvstore/cluster/ring"
)

// maxMicroseconds is the longest timeout that a time.Duration holds.
const maxMicroseconds = math.MaxInt64 / int64(time.Microsecond)

// Decode reads one message from the front of b and returns the bytes it took. The slices of m alias b. After an error, which
// is ErrMalformed, m holds nothing of use.
func (m *Message) Decode(b []byte) (n int, err error) {
	m.Reset()
	d := decoder{b: b}
	m.Kind = Kind(d.byte())
	f := layout(m.Kind)
	if f == 0 {
		return 0, fmt.Errorf("%w: kind %d", ErrMalformed, m.Kind)
	}
	m.Flags = Flags(d.byte())
	m.ID = d.uvarint()
	m.Now = int64(d.word())
	if f&fMethod != 0 {
		m.Method = d.byte()
	}
	if f&fStatus != 0 {
		m.Status = Status(d.byte())
	}
	m.Epoch = ring.Epoch(d.uvarint())
	if f&fTimeout != 0 {
		m.Timeout = time.Duration(min(d.uvarint(), uint64(maxMicroseconds))) * time.Microsecond
	}
	if f&fPlace != 0 {
		m.Token = ring.Token(d.word())
		m.DB = d.byte()
		m.Key = d.bytes()
	}
	if f&fDigest != 0 {
		m.Digest = d.word()
	}
	if f&fLevels != 0 {
		m.R, m.W = d.level(), d.level()
		m.Mode, m.Proto = d.byte(), d.byte()
	}
	if f&fObject != 0 {
		m.Object = d.bytes()
	}
	if f&fOrigin != 0 {
		m.Origin = d.uvarint()
	}
	if f&fCommand != 0 {
		m.Op = d.bytes()
		m.Args = d.args(m.Args)
	}
	if f&fBody != 0 {
		m.Body = d.bytes()
	}
	if m.Kind == Replicate && m.Flags&(StandIn|Relay) != 0 {
		m.Target = ring.NodeID(d.word())
		if m.Flags&Relay != 0 {
			m.Relay = d.bytes()
		}
	}
	if d.bad {
		return 0, fmt.Errorf("%w: %v cut short or out of range", ErrMalformed, m.Kind)
	}
	return d.at, nil
}

// decoder walks b. After the first thing that does not fit, bad is true and everything read is zero.
type decoder struct {
	b   []byte
	at  int
	bad bool
}

func (d *decoder) byte() byte {
	if d.bad || d.at >= len(d.b) {
		d.bad = true
		return 0
	}
	c := d.b[d.at]
	d.at++
	return c
}

func (d *decoder) word() uint64 {
	if d.bad || len(d.b)-d.at < 8 {
		d.bad = true
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b[d.at:])
	d.at += 8
	return v
}

func (d *decoder) uvarint() uint64 {
	if d.bad {
		return 0
	}
	if d.at < len(d.b) && d.b[d.at] < 0x80 { // one byte, by far the most frequent
		d.at++
		return uint64(d.b[d.at-1])
	}
	v, n := binary.Uvarint(d.b[d.at:])
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.at += n
	return v
}

// level reads a zigzag varint of 16 bits.
func (d *decoder) level() int16 {
	u := d.uvarint()
	v := int64(u>>1) ^ -int64(u&1)
	if v < math.MinInt16 || v > math.MaxInt16 {
		d.bad = true
		return 0
	}
	return int16(v)
}

// bytes reads a length and returns as many bytes of the input, nil for none. Its capacity ends with it, so that an append
// by the receiver cannot reach the bytes behind.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.b)-d.at) {
		d.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	end := d.at + int(n)
	b := d.b[d.at:end:end]
	d.at = end
	return b
}

func (d *decoder) args(args [][]byte) [][]byte {
	n := d.uvarint()
	if d.bad || n > MaxArgs || n > uint64(len(d.b)-d.at) {
		d.bad = true
		return args[:0]
	}
	for range n {
		args = append(args, d.bytes())
		if d.bad {
			return args[:0]
		}
	}
	return args
}
