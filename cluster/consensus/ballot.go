package consensus

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"kvstore/cluster/ring"
)

// Ballot orders the attempts to decide what follows one ring. No two attempts have the
// same one. The zero Ballot comes before all others.
type Ballot struct {
	Counter uint64
	Node    ring.NodeID // whose attempt it is
}

// Less reports whether b comes before o.
func (b Ballot) Less(o Ballot) bool {
	return cmp.Or(cmp.Compare(b.Counter, o.Counter), cmp.Compare(b.Node, o.Node)) < 0
}

// String is for messages to people.
func (b Ballot) String() string { return fmt.Sprintf("%d.%v", b.Counter, b.Node) }

// Base names the ring whose successor is to be decided.
type Base struct {
	Generation uint64
	Epoch      ring.Epoch
	Hash       uint64
}

// BaseOf names a ring.
func BaseOf(r *ring.Ring) Base { return Base{r.Generation, r.Epoch, r.Hash()} }

// compare orders by generation, then by epoch: 0 for the same ring, and for two rings that
// cannot both have been chosen.
func (b Base) compare(o Base) int {
	return cmp.Or(cmp.Compare(b.Generation, o.Generation), cmp.Compare(b.Epoch, o.Epoch))
}

func (b Base) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, b.Generation)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.Epoch))
	return binary.BigEndian.AppendUint64(dst, b.Hash)
}

func (b Ballot) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, b.Counter), uint64(b.Node))
}

const (
	baseSize   = 24
	ballotSize = 16
)

func readBase(b []byte) Base {
	return Base{binary.BigEndian.Uint64(b), ring.Epoch(binary.BigEndian.Uint64(b[8:])), binary.BigEndian.Uint64(b[16:])}
}

func readBallot(b []byte) Ballot {
	return Ballot{binary.BigEndian.Uint64(b), ring.NodeID(binary.BigEndian.Uint64(b[8:]))}
}
