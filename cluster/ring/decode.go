package ring

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// Decode returns the ring with this encoding, checked as a built one is. It
// shares nothing with b.
func Decode(b []byte) (*Ring, error) {
	if len(b) < len(codecMagic)+1+8 || string(b[:len(codecMagic)]) != codecMagic {
		return nil, fmt.Errorf("%w: not a ring", ErrCorrupt)
	}
	version := b[len(codecMagic)]
	if version < 1 || version > codecVersion {
		return nil, fmt.Errorf("%w: unknown version %d", ErrCorrupt, version)
	}
	body, sum := b[:len(b)-8], b[len(b)-8:]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(sum) {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	d := decoder{rest: body[len(codecMagic)+1:]}
	r := &Ring{ClusterID: d.uint64(), ClusterName: d.text()}
	if version == 1 {
		d.ringV1(r)
	} else {
		d.ring(r)
		if version > 2 {
			d.relieved(r)
		}
	}
	if d.bad || len(d.rest) > 0 {
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

// decoder takes fields off the front of rest. Once rest was too short, or a field
// was none, it is bad and every field is zero.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) ring(r *Ring) {
	r.Generation = d.uint64()
	r.Epoch = Epoch(d.uint64())
	r.Planned = Epoch(d.uint64())
	r.Paused = d.bool()
	r.Q, r.N = int(d.uint16()), int(d.byte())
	for range d.count(int(d.byte()), 2) {
		r.PerDC = append(r.PerDC, DCReplicas{DC: d.text(), N: int(d.byte())})
	}
	d.members(r)
	for range d.count(int(d.uint16()), 8) {
		r.Prev = append(r.Prev, NodeID(d.uint64()))
	}
	for range d.count(int(d.uint16()), 10) {
		r.Gone = append(r.Gone, Gone{ID: NodeID(d.uint64()), Removed: d.bool(), Name: d.text()})
	}
	r.starts = make([]uint32, 1, r.Q+1)
	for range r.Q {
		for range d.count(int(d.byte()), 2) {
			r.table = append(r.table, d.uint16())
		}
		r.starts = append(r.starts, uint32(len(r.table)))
	}
	for range d.count(int(d.uint32()), transferSize) {
		t := Transfer{Partition: Partition(d.uint16()), From: d.id(r), To: d.id(r), Step: Step(d.byte())}
		r.Transfers = append(r.Transfers, t)
	}
}

// relieved reads full weights; there is one at least, in the order of members.
func (d *decoder) relieved(r *Ring) {
	before := -1
	for range d.count(int(d.uint16()), relievedSize) {
		at, full := int(d.uint16()), math.Float64frombits(d.uint64())
		if at <= before || at >= len(r.Members) || full == 0 {
			d.bad = true
			return
		}
		r.Members[at].Full, before = full, at
	}
	d.bad = d.bad || before < 0
}

// ringV1 reads what the first release wrote.
func (d *decoder) ringV1(r *Ring) {
	r.Epoch = Epoch(d.uint64())
	r.Q, r.N = int(d.uint16()), int(d.byte())
	length := int(d.byte())
	d.members(r)
	r.table = make([]uint16, d.count(r.Q*length, 2))
	for i := range r.table {
		r.table[i] = d.uint16()
	}
	for p := range r.Q + 1 {
		r.starts = append(r.starts, uint32(p*length))
	}
}

func (d *decoder) members(r *Ring) {
	for range d.count(int(d.uint16()), 25+6) {
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
}

// count returns n if as many things of at least that many bytes can follow, so
// that what is damaged makes nothing large.
func (d *decoder) count(n, size int) int {
	if n > len(d.rest)/size {
		d.bad, d.rest = true, nil
		return 0
	}
	return n
}

func (d *decoder) take(n int) []byte {
	if len(d.rest) < n {
		d.bad, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// id returns the node with a member index.
func (d *decoder) id(r *Ring) NodeID {
	switch m := d.uint16(); {
	case m == noMember:
		return 0
	case int(m) < len(r.Members):
		return r.Members[m].ID
	}
	d.bad = true
	return 0
}

func (d *decoder) bool() bool {
	b := d.byte()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) uint16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) uint32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }
func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }
func (d *decoder) text() string   { return string(d.take(int(d.byte()))) }
