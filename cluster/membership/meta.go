package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"kvstore/cluster/ring"
)

// Meta is what a node says of itself.
type Meta struct {
	NodeID      ring.NodeID
	Incarnation uint64
	ClusterID   uint64     // 0: belongs to none yet
	Generation  uint64     // of the ring, below 2^16
	Epoch       ring.Epoch // of the ring, below 2^48
	RingHash    uint64
	Weight      float64
	Name        string // unique among living nodes
	DC          string
	Rack        string
	RPC         string // addresses, host:port
	Client      string
	Gossip      string
}

const (
	// MaxMeta is the most an encoded Meta may take: memberlist's own limit, so that it fits into one packet with its head.
	MaxMeta = 512
	// metaVersion is the first byte of an encoded Meta.
	metaVersion = 1
	metaFixed   = 1 + 6*8
	// epochBits is what the epoch has of the word that it shares with the generation.
	epochBits = 48
)

// ErrMeta is the class of encoded Metas that cannot be read.
var ErrMeta = errors.New("malformed node description")

// Append appends the encoded Meta to dst:
//
//	version (1) ‖ node id ‖ incarnation ‖ cluster id ‖ generation (upper 16 bits) and epoch ‖ ring hash
//	‖ weight (IEEE 754 bits), 8 bytes each, little endian ‖ name ‖ dc ‖ rack ‖ rpc ‖ client ‖ gossip, each uvarint length ‖ bytes
//
// It is an error when that is over MaxMeta.
func (m *Meta) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, metaVersion)
	for _, v := range [...]uint64{uint64(m.NodeID), m.Incarnation, m.ClusterID, m.Generation<<epochBits | uint64(m.Epoch), m.RingHash, math.Float64bits(m.Weight)} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	for _, s := range m.texts() {
		dst = binary.AppendUvarint(dst, uint64(len(*s)))
		dst = append(dst, *s...)
	}
	if n := len(dst) - start; n > MaxMeta {
		return dst[:start], fmt.Errorf("description of node %q takes %d bytes, over %d: shorten its name, data centre, rack or addresses", m.Name, n, MaxMeta)
	}
	return dst, nil
}

// Decode reads what Append wrote. Errors are ErrMeta.
func (m *Meta) Decode(b []byte) error {
	if len(b) < metaFixed || len(b) > MaxMeta {
		return fmt.Errorf("%w: %d bytes", ErrMeta, len(b))
	}
	if b[0] != metaVersion {
		return fmt.Errorf("%w: version %d", ErrMeta, b[0])
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[1+8*i:]) }
	*m = Meta{NodeID: ring.NodeID(word(0)), Incarnation: word(1), ClusterID: word(2),
		Generation: word(3) >> epochBits, Epoch: ring.Epoch(word(3) & (1<<epochBits - 1)), RingHash: word(4), Weight: math.Float64frombits(word(5))}
	if !(m.Weight >= 0 && m.Weight <= ring.MaxWeight) {
		return fmt.Errorf("%w: weight %v", ErrMeta, m.Weight)
	}
	rest := b[metaFixed:]
	for _, s := range m.texts() {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return fmt.Errorf("%w: cut short", ErrMeta)
		}
		*s = string(rest[used : used+int(n)])
		rest = rest[used+int(n):]
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes behind the end", ErrMeta, len(rest))
	}
	return nil
}

// texts returns the texts in the order of their encoding.
func (m *Meta) texts() [6]*string {
	return [...]*string{&m.Name, &m.DC, &m.Rack, &m.RPC, &m.Client, &m.Gossip}
}
