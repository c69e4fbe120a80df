package cluster

import (
	"context"
	"encoding/binary"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/transfer"
	"kvstore/storage"
	"kvstore/storage/key"
)

const (
	// sumShift is how far a token is shifted to become a leaf.
	sumShift = storage.SumShift
	// barrierWithin bounds the wait for another node's adoption of a ring.
	barrierWithin = 5 * time.Second
	// adoptAgain is the time after which it is looked whether a ring has come.
	adoptAgain = 10 * time.Millisecond
)

// barrier asks a node to say when it has adopted a ring of an epoch (see
// coordinator.EpochOf), 8 bytes, and everything is written that it had begun to write to
// a partition, 2 bytes, by older ones. All is big endian. The answer is how many keys of
// it the node holds, and about how many bytes they take, 8 each.
type barrier struct {
	epoch     ring.Epoch
	partition ring.Partition
}

func (b barrier) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(dst, uint64(b.epoch)), uint16(b.partition))
}

func decodeSize(b []byte) (transfer.Size, error) {
	if len(b) != 16 {
		return transfer.Size{}, errShort
	}
	return transfer.Size{Keys: int64(binary.BigEndian.Uint64(b)), Bytes: int64(binary.BigEndian.Uint64(b[8:]))}, nil
}

func (n *Node) serveBarrier(ctx context.Context, from ring.NodeID, body []byte) ([]byte, error) {
	if len(body) != 10 {
		return nil, errShort
	}
	s, err := n.passBarrier(ctx, from, barrier{ring.Epoch(binary.BigEndian.Uint64(body)), ring.Partition(binary.BigEndian.Uint16(body[8:]))})
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(s.Keys)), uint64(s.Bytes)), nil
}

// passBarrier waits until this node is past a barrier. Requests on keys look at the ring
// last under their key's lock, or are parked: so once the ring is adopted, every lock
// was free once, and what was parked has run, nothing of before is under way.
func (n *Node) passBarrier(ctx context.Context, from ring.NodeID, b barrier) (transfer.Size, error) {
	r, err := n.awaitEpoch(ctx, from, b.epoch)
	if err != nil {
		return transfer.Size{}, err
	}
	if int(b.partition) >= r.Q {
		return transfer.Size{}, errShort
	}
	lo, hi := r.TokenRange(b.partition)
	if err := n.replica.Drain(ctx, lo, hi); err != nil {
		return transfer.Size{}, err
	}
	n.entropy.Steady()
	keys := entropyRequests{n}.Keys(ctx, b.partition)
	return transfer.Size{Keys: keys, Bytes: int64(float64(keys) * n.bytesOfKey())}, nil
}

// awaitEpoch waits for a ring that another node has.
func (n *Node) awaitEpoch(ctx context.Context, from ring.NodeID, epoch ring.Epoch) (*ring.Ring, error) {
	for {
		r := n.ring.Load()
		if r != nil && coordinator.EpochOf(r) >= epoch {
			return r, nil
		}
		n.newerRing(from, epoch)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.ctx.Done():
			return nil, n.ctx.Err()
		case <-time.After(adoptAgain):
		}
	}
}

// bytesOfKey is about what a key takes on this node's disk.
func (n *Node) bytesOfKey() float64 {
	bytes, keys := n.storedBytes(), int64(1)
	// What is not counted yet is not worth waiting for.
	ctx, cancel := context.WithTimeout(n.ctx, time.Millisecond)
	defer cancel()
	for db := range uint8(replica.Databases) {
		k, err := n.replica.Count(ctx, db, 0, ring.Slots-1)
		if err != nil {
			return 0
		}
		keys += k
	}
	return float64(bytes) / float64(keys)
}

// boundsOf returns the engine keys of a partition.
func boundsOf(r *ring.Ring, p ring.Partition) (lower, upper []byte) {
	lo, hi := r.TokenRange(p)
	return key.AppendToken(nil, uint64(lo)), key.AppendToken(nil, uint64(hi))
}
