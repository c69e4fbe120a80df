package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/storage"
	"kvstore/storage/key"
)

// startCount counts, in the background, the keys the node starts with.
func (n *Node) startCount() {
	empty, err := n.holdsNoUserKeys()
	if err == nil && empty {
		return
	}
	n.replica.MarkHoldsData()
	snapshot := n.db.NewSnapshot()
	record := n.replica.StartCount()
	n.wg.Go(func() {
		defer snapshot.Close()
		it, err := snapshot.NewIter(storage.IterOptions{
			Lower: key.AppendToken(nil, 0), Upper: key.AppendToken(nil, uint64(ring.TokenEnd)),
		})
		if err != nil {
			n.log.Error().Err(err).Msg("the keys on disk cannot be counted")
			return
		}
		for ok := it.First(); ok && n.ctx.Err() == nil; ok = it.Next() {
			record(it.Key(), it.Value())
		}
		if err := errors.Join(it.Err(), it.Close()); err != nil {
			n.log.Error().Err(err).Msg("the keys on disk cannot be counted")
			return
		}
		record(nil, nil)
	})
}

// CountKeys returns how many keys a database has: for each partition, what the
// first replica that can be reached counts. Keys past their deadline count until
// they are purged, as in Redis.
func (n *Node) CountKeys(ctx context.Context, db uint8) (int64, error) {
	return n.count(ctx, db, 0, ring.Slots-1)
}

// CountKeysInSlot returns how many keys of database 0 are in a slot.
func (n *Node) CountKeysInSlot(ctx context.Context, slot int) (int64, error) {
	return n.count(ctx, 0, ring.Slot(slot), ring.Slot(slot))
}

func (n *Node) count(ctx context.Context, db uint8, first, last ring.Slot) (int64, error) {
	r := n.ring.Load()
	if r == nil {
		return 0, coordinator.ErrNotReady
	}
	asks := make(map[ring.NodeID][]byte)
	for p := r.OfSlot(first); p <= r.OfSlot(last); p++ {
		id, ok := n.firstReachable(r, p)
		if !ok {
			return 0, coordinator.ErrNoQuorum
		}
		lo, hi := r.SlotRange(p)
		body := asks[id]
		if body == nil {
			body = []byte{db}
		}
		body = binary.BigEndian.AppendUint16(body, uint16(max(lo, first)))
		asks[id] = binary.BigEndian.AppendUint16(body, uint16(min(hi, last)))
		if int(p) == r.Q-1 {
			break
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	total, failures := int64(0), []error(nil)
	for id, body := range asks {
		wg.Go(func() {
			k, err := n.countAt(ctx, id, body)
			mu.Lock()
			defer mu.Unlock()
			total += k
			failures = append(failures, err)
		})
	}
	wg.Wait()
	return total, errors.Join(failures...)
}

// firstReachable returns the first replica of a partition that can be asked.
func (n *Node) firstReachable(r *ring.Ring, p ring.Partition) (ring.NodeID, bool) {
	for _, id := range r.Replicas(p) {
		if id == n.id.Node || n.rpc.Connected(id) {
			return id, true
		}
	}
	return 0, false
}

// countAt asks one node.
func (n *Node) countAt(ctx context.Context, id ring.NodeID, body []byte) (int64, error) {
	var answer []byte
	var err error
	if id == n.id.Node {
		answer, err = n.serveCount(ctx, body)
	} else {
		answer, err = n.call(ctx, id, methodCount, body)
	}
	if err == nil && len(answer) != 8 {
		err = errShort
	}
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(answer)), nil
}

// serveCount counts what this node holds. The body is a database and pairs of
// first and last slot, 2 bytes each; the answer is 8 bytes.
func (n *Node) serveCount(ctx context.Context, body []byte) ([]byte, error) {
	if len(body)%4 != 1 {
		return nil, errShort
	}
	total := int64(0)
	for b := body[1:]; len(b) > 0; b = b[4:] {
		first, last := ring.Slot(binary.BigEndian.Uint16(b)), ring.Slot(binary.BigEndian.Uint16(b[2:]))
		if first > last || last >= ring.Slots {
			return nil, errShort
		}
		k, err := n.replica.Count(ctx, body[0], first, last)
		if err != nil {
			return nil, err
		}
		total += k
	}
	return binary.BigEndian.AppendUint64(nil, uint64(total)), nil
}
