package cluster

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"kvstore/cluster/hint"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/transfer"
)

// Hints returns what this node keeps for others.
func (n *Node) Hints() []hint.Stat { return n.hints.Stats() }

// SetHintLimits changes the bounds of what is kept for each node that is away.
func (n *Node) SetHintLimits(maxBytes int64, maxAge time.Duration) {
	n.hints.SetLimits(maxBytes, maxAge)
}

// HintsOutstanding reports whether this node keeps a hint of any key of a
// partition.
func (n *Node) HintsOutstanding(p ring.Partition) (bool, error) {
	select {
	case <-n.handoff.counted:
	default:
		return true, nil // not known yet
	}
	r := n.ring.Load()
	if r == nil {
		return true, nil
	}
	lo, hi := r.TokenRange(p)
	return n.hints.Outstanding(lo, hi)
}

// handing reports whether this node has hints for a replica of a partition that can be
// reached, and that took some of them the last time.
func (n *Node) handing(p ring.Partition) bool {
	r := n.ring.Load()
	if r == nil || int(p) >= r.Q {
		return false
	}
	for _, id := range n.hints.Targets() {
		if !transfer.Concerns(r, p, id) || !n.promptly(id) {
			continue
		}
		n.handoff.mu.Lock()
		stuck := n.handoff.stuck[id]
		n.handoff.mu.Unlock()
		if !stuck {
			return true
		}
	}
	return false
}

// hintsAskedWithin bounds how long other nodes are asked for the hints of a key.
const hintsAskedWithin = 500 * time.Millisecond

// hintsOf returns how many replicas each node keeps a hint of a key for.
func (n *Node) hintsOf(ctx context.Context, r *ring.Ring, db uint8, key []byte) map[ring.NodeID]int {
	ctx, cancel := context.WithTimeout(ctx, hintsAskedWithin)
	defer cancel()
	counts := make([]int, len(r.Members))
	var wg sync.WaitGroup
	for i := range r.Members {
		if id := r.Members[i].ID; id == n.id.Node || n.rpc.Connected(id) {
			wg.Go(func() {
				// Who does not answer in time is shown without hints.
				targets, err := n.hintsAt(ctx, id, db, key)
				if err == nil {
					counts[i] = len(targets)
				}
			})
		}
	}
	wg.Wait()
	of := make(map[ring.NodeID]int)
	for i, k := range counts {
		of[r.Members[i].ID] = k
	}
	return of
}

// hintsAt returns whom a node keeps hints of a key for.
func (n *Node) hintsAt(ctx context.Context, id ring.NodeID, db uint8, key []byte) (targets []ring.NodeID, err error) {
	body := append([]byte{db}, key...)
	var answer []byte
	if id == n.id.Node {
		answer, err = n.serveHints(body)
	} else {
		answer, err = n.call(ctx, id, methodHints, body)
	}
	if err == nil && len(answer)%8 != 0 {
		err = errShort
	}
	for ; err == nil && len(answer) > 0; answer = answer[8:] {
		targets = append(targets, ring.NodeID(binary.BigEndian.Uint64(answer)))
	}
	return targets, err
}

// serveHints tells whom this node keeps hints of a key for. The body is the
// database (1 byte) and the key; the answer is a node's id for each, 8 bytes, big
// endian.
func (n *Node) serveHints(body []byte) (out []byte, err error) {
	if len(body) == 0 || body[0] >= replica.Databases {
		return nil, errShort
	}
	k := replica.Key{Token: ring.TokenOf(body[0], body[1:]), DB: body[0], Name: slices.Clone(body[1:])}
	for _, id := range n.hints.Targets() {
		_, found, err := n.db.Get(nil, hint.AppendKey(nil, id, k))
		if err != nil {
			return nil, err
		}
		if found {
			out = binary.BigEndian.AppendUint64(out, uint64(id))
		}
	}
	return out, nil
}
