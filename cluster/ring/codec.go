package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// A ring is encoded with big endian integers and texts as length byte and bytes:
//
//	"kvring" | version 1 byte | cluster id 8 | cluster name | epoch 8 |
//	Q 2 | N 1 | effective N 1 | member count 2 | members | table | xxhash64 8
//	member  id 8 | incarnation 8 | weight 8 (IEEE 754) | state 1 |
//	        name, DC, rack, RPC, gossip, client
//	table   Q × effective N member indexes of 2 bytes
//
// Members are in the order of their ids, so equal rings have equal encodings.
const (
	codecMagic   = "kvring"
	codecVersion = 1

	// MaxEncoded is the size of the greatest ring.
	MaxEncoded = 64 + MaxText + MaxMembers*(25+6*(1+MaxText)) + MaxPartitions*MaxReplicas*2
)

// ErrCorrupt is wrapped by every decoding error.
var ErrCorrupt = errors.New("corrupt ring")

// Append appends the ring's encoding to dst.
func (r *Ring) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(append(dst, codecMagic...), codecVersion)
	dst = binary.BigEndian.AppendUint64(dst, r.ClusterID)
	dst = appendText(dst, r.ClusterName)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Epoch))
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.Q))
	dst = append(dst, byte(r.N), byte(r.replicas))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Members)))
	for i := range r.Members {
		m := &r.Members[i]
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.ID))
		dst = binary.BigEndian.AppendUint64(dst, m.Incarnation)
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(m.Weight))
		dst = append(dst, byte(m.State))
		for _, text := range m.texts() {
			dst = appendText(dst, *text)
		}
	}
	for _, m := range r.table {
		dst = binary.BigEndian.AppendUint16(dst, m)
	}
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// Encode returns the ring's encoding.
func (r *Ring) Encode() []byte { return r.Append(nil) }

func appendText(dst []byte, text string) []byte {
	return append(append(dst, byte(len(text))), text...)
}

// Decode returns the ring with this encoding, checked as a built one is. It
// shares nothing with b.
func Decode(b []byte) (*Ring, error) {
	if len(b) < len(codecMagic)+1+8 || string(b[:len(codecMagic)]) != codecMagic {
		return nil, fmt.Errorf("%w: not a ring", ErrCorrupt)
	}
	if v := b[len(codecMagic)]; v != codecVersion {
		return nil, fmt.Errorf("%w: unknown version %d", ErrCorrupt, v)
	}
	body, sum := b[:len(b)-8], b[len(b)-8:]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(sum) {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	d := decoder{rest: body[len(codecMagic)+1:]}
	r := d.ring()
	if d.short || len(d.rest) > 0 {
		return nil, fmt.Errorf("%w: wrong length", ErrCorrupt)
	}
	for i := 1; i < len(r.Members); i++ {
		if r.Members[i-1].ID >= r.Members[i].ID {
			return nil, fmt.Errorf("%w: members out of order", ErrCorrupt)
		}
	}
	if err := r.assemble(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return r, nil
}

// decoder takes fields off the front of rest. Once rest was too short, every
// field is zero.
type decoder struct {
	rest  []byte
	short bool
}

func (d *decoder) ring() *Ring {
	r := &Ring{
		ClusterID:   d.uint64(),
		ClusterName: d.text(),
		Epoch:       Epoch(d.uint64()),
		Q:           int(d.uint16()),
		N:           int(d.byte()),
		replicas:    int(d.byte()),
	}
	for range d.uint16() {
		if d.short {
			return r
		}
		m := Member{
			ID:          NodeID(d.uint64()),
			Incarnation: d.uint64(),
			Weight:      math.Float64frombits(d.uint64()),
			State:       State(d.byte()),
		}
		for _, text := range m.texts() {
			*text = d.text()
		}
		r.Members = append(r.Members, m)
	}
	// Sixteen thousand times 255 entries is the most these fields can ask for.
	entries := r.Q * r.replicas
	if len(d.rest) < 2*entries {
		d.short = true
		return r
	}
	r.table = make([]uint16, entries)
	for i := range r.table {
		r.table[i] = d.uint16()
	}
	return r
}

func (d *decoder) take(n int) []byte {
	if len(d.rest) < n {
		d.short, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) uint16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }
func (d *decoder) text() string   { return string(d.take(int(d.byte()))) }
