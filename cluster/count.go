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
		next := key.AppendToken(nil, 0)
		err := error(nil)
		for range mendSystemRounds {
			if next, err = n.countFrom(snapshot, next, record); !storage.IsCorrupt(err) || n.db.AwaitMended(n.ctx) != nil {
				break
			}
		}
		if err != nil {
			n.log.Error().Err(err).Msg("the keys on disk cannot be counted")
			return
		}
		record(nil, nil)
	})
}

// countFrom counts the records from a key on. What damage has cost is not counted: what is left is what is there. When
// it meets a damaged table, the caller goes on from the key it returns once that is mended.
func (n *Node) countFrom(snapshot *storage.Snapshot, from []byte, record func(key, value []byte)) (next []byte, err error) {
	it, err := snapshot.NewIter(storage.IterOptions{Lower: from, Upper: key.AppendToken(nil, uint64(ring.TokenEnd)), Left: true})
	if err != nil {
		return from, err
	}
	next = append(next, from...)
	for ok := it.First(); ok && n.ctx.Err() == nil; ok = it.Next() {
		record(it.Key(), it.Value())
		next = append(append(next[:0], it.Key()...), 0)
	}
	return next, errors.Join(it.Err(), it.Close())
}

// CountKeys returns how many keys a database has: for each partition, the most
// that any of its replicas counts, because one that was away has missed some.
// Keys past their deadline count until they are purged, as in Redis.
func (n *Node) CountKeys(ctx context.Context, db uint8) (int64, error) {
	return n.count(ctx, db, 0, ring.Slots-1)
}

// CountKeysInSlot returns how many keys of database 0 are in a slot.
func (n *Node) CountKeysInSlot(ctx context.Context, slot int) (int64, error) {
	return n.count(ctx, 0, ring.Slot(slot), ring.Slot(slot))
}

// tallySheet is what one node is asked to count and what it answered.
type tallySheet struct {
	body       []byte
	partitions []ring.Partition
	counts     []int64
	err        error
}

func (n *Node) count(ctx context.Context, db uint8, first, last ring.Slot) (int64, error) {
	r := n.ring.Load()
	if r == nil {
		return 0, coordinator.ErrNotReady
	}
	sheets := make(map[ring.NodeID]*tallySheet)
	for p := int(r.OfSlot(first)); p <= int(r.OfSlot(last)); p++ {
		if !n.addToSheets(sheets, r, ring.Partition(p), db, first, last) {
			return 0, coordinator.ErrNoQuorum
		}
	}
	var wg sync.WaitGroup
	for id, s := range sheets {
		wg.Go(func() { s.counts, s.err = n.countAt(ctx, id, s) })
	}
	wg.Wait()
	most := make([]int64, r.Q)
	for _, s := range sheets {
		if s.err != nil {
			return 0, s.err
		}
		for i, p := range s.partitions {
			most[p] = max(most[p], s.counts[i])
		}
	}
	total := int64(0)
	for _, k := range most {
		total += k
	}
	return total, nil
}

// addToSheets asks every replica of a partition that can be reached, and where there
// is none, in sloppy mode, who stands in for them; false when there is nobody.
func (n *Node) addToSheets(sheets map[ring.NodeID]*tallySheet, r *ring.Ring, p ring.Partition, db uint8, first, last ring.Slot) bool {
	asked := false
	lo, hi := r.SlotRange(p)
	usable := n.holders(r, p, coordinator.Strict)
	if len(usable) == 0 {
		usable = n.holders(r, p, n.coord.Defaults().Mode)
	}
	for _, id := range usable {
		asked = true
		s := sheets[id]
		if s == nil {
			s = &tallySheet{body: []byte{db}}
			sheets[id] = s
		}
		s.partitions = append(s.partitions, p)
		s.body = binary.BigEndian.AppendUint16(s.body, uint16(max(lo, first)))
		s.body = binary.BigEndian.AppendUint16(s.body, uint16(min(hi, last)))
	}
	return asked
}

// countAt asks one node.
func (n *Node) countAt(ctx context.Context, id ring.NodeID, s *tallySheet) ([]int64, error) {
	var answer []byte
	var err error
	if id == n.id.Node {
		answer, err = n.serveCount(ctx, s.body)
	} else {
		answer, err = n.call(ctx, id, methodCount, s.body)
	}
	if err == nil && len(answer) != 8*len(s.partitions) {
		err = errShort
	}
	if err != nil {
		return nil, err
	}
	counts := make([]int64, len(s.partitions))
	for i := range counts {
		counts[i] = int64(binary.BigEndian.Uint64(answer[8*i:]))
	}
	return counts, nil
}

// serveCount counts what this node holds. The body is a database and pairs of
// first and last slot, 2 bytes each; the answer is 8 bytes for each pair.
func (n *Node) serveCount(ctx context.Context, body []byte) ([]byte, error) {
	if len(body)%4 != 1 {
		return nil, errShort
	}
	var out []byte
	for b := body[1:]; len(b) > 0; b = b[4:] {
		first, last := ring.Slot(binary.BigEndian.Uint16(b)), ring.Slot(binary.BigEndian.Uint16(b[2:]))
		if first > last || last >= ring.Slots {
			return nil, errShort
		}
		k, err := n.replica.Count(ctx, body[0], first, last)
		if err != nil {
			return nil, err
		}
		out = binary.BigEndian.AppendUint64(out, uint64(k))
	}
	return out, nil
}
