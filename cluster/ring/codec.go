package ring

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/cespare/xxhash/v2"
)

// A ring is encoded with big endian integers and texts as length byte and bytes:
//
//	"kvring" | version 2 or 3, 1 byte | cluster id 8 | cluster name |
//	generation 8 | epoch 8 | planned 8 | paused 1 | Q 2 | N 1 |
//	DC count 1 | DCs | member count 2 | members | voter count 2 | former voters |
//	gone count 2 | gone | Q lists | transfer count 4 | transfers | relieved | xxhash64 8
//	DC        name, replicas 1
//	member    id 8 | incarnation 8 | weight 8 (IEEE 754) | state 1 |
//	          name, DC, rack, RPC, gossip, client
//	voter     id 8
//	gone      id 8 | removed 1 | name
//	list      length 1 | member indexes of 2 bytes
//	transfer  partition 2 | from 2 | to 2 | step 1; nodes as member indexes, none as ff ff
//	relieved  nothing in version 2; in version 3, which is written where a member has a
//	          full weight, count 2, and for each of them member index 2 | full weight 8
//
// Members are in the order of their ids, so equal rings have equal encodings.
// Version 1, which is read and not written, had
//
//	"kvring" | version 1, 1 byte | cluster id 8 | cluster name | epoch 8 |
//	Q 2 | N 1 | length 1 | member count 2 | members | Q × length member indexes of 2 bytes | xxhash64 8
const (
	codecMagic   = "kvring"
	codecVersion = 3
	noMember     = 0xffff

	// MaxEncoded is the size of the greatest ring.
	MaxEncoded = 128 + MaxText + MaxReplicas*(2+MaxText) + MaxMembers*(25+6*(1+MaxText)) + MaxMembers*8 + MaxGone*(10+MaxText) +
		MaxPartitions*(1+MaxReplicas*2) + MaxPartitions*(1+MaxReplicas)*transferSize + 2 + MaxMembers*relievedSize
	transferSize = 7
	relievedSize = 10
)

// ErrCorrupt is wrapped by every decoding error.
var ErrCorrupt = errors.New("corrupt ring")

// Append appends the ring's encoding to dst.
func (r *Ring) Append(dst []byte) []byte {
	start := len(dst)
	relieved := r.relieved()
	version := byte(codecVersion)
	if len(relieved) == 0 {
		version = 2
	}
	dst = append(append(dst, codecMagic...), version)
	dst = binary.BigEndian.AppendUint64(dst, r.ClusterID)
	dst = appendText(dst, r.ClusterName)
	dst = binary.BigEndian.AppendUint64(dst, r.Generation)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Epoch))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Planned))
	dst = appendBool(dst, r.Paused)
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.Q))
	dst = append(dst, byte(r.N), byte(len(r.PerDC)))
	for _, dc := range r.PerDC {
		dst = append(appendText(dst, dc.DC), byte(dc.N))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Members)))
	for i := range r.Members {
		dst = r.Members[i].append(dst)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Prev)))
	for _, id := range r.Prev {
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Gone)))
	for _, g := range r.Gone {
		dst = binary.BigEndian.AppendUint64(dst, uint64(g.ID))
		dst = appendText(appendBool(dst, g.Removed), g.Name)
	}
	dst = r.appendTable(dst)
	if len(relieved) > 0 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(relieved)))
		for _, i := range relieved {
			dst = binary.BigEndian.AppendUint16(dst, uint16(i))
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(r.Members[i].Full))
		}
	}
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// relieved returns the indexes of the members that have a full weight besides their weight.
func (r *Ring) relieved() (indexes []int) {
	for i := range r.Members {
		if r.Members[i].Full != 0 {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// appendTable appends lists and transfers.
func (r *Ring) appendTable(dst []byte) []byte {
	for p := range Partition(r.Q) {
		list := r.ReplicaIndexes(p)
		dst = append(dst, byte(len(list)))
		for _, m := range list {
			dst = binary.BigEndian.AppendUint16(dst, m)
		}
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Transfers)))
	for _, t := range r.Transfers {
		dst = binary.BigEndian.AppendUint16(dst, uint16(t.Partition))
		for _, id := range [2]NodeID{t.From, t.To} {
			m := noMember
			if at, found := r.Index(id); found {
				m = at
			}
			dst = binary.BigEndian.AppendUint16(dst, uint16(m))
		}
		dst = append(dst, byte(t.Step))
	}
	return dst
}

// append appends the member's encoding.
func (m *Member) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.ID))
	dst = binary.BigEndian.AppendUint64(dst, m.Incarnation)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(m.Weight))
	dst = append(dst, byte(m.State))
	for _, text := range m.texts() {
		dst = appendText(dst, *text)
	}
	return dst
}

// Encode returns the ring's encoding.
func (r *Ring) Encode() []byte { return r.Append(nil) }

func appendText(dst []byte, text string) []byte {
	return append(append(dst, byte(len(text))), text...)
}

func appendBool(dst []byte, is bool) []byte {
	if is {
		return append(dst, 1)
	}
	return append(dst, 0)
}
