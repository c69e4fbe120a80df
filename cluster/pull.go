package cluster

import (
	"context"
	"fmt"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"time"
)

func (n *Node) wakeKeeper() {
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// keepRing fetches newer rings that gossip tells of, and tells gossip of this node's.
func (n *Node) keepRing() {
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.news:
		case <-again.C:
		}
		if err := n.syncRing(); err != nil {
			n.log.Warn().Err(err).Msg("a newer ring cannot be fetched")
			again.Reset(time.Second)
		}
		if n.ctx.Err() != nil {
			return // it is leaving, and gossip forgets who has left
		}
		if self := n.meta(); n.gossip.Self().Epoch != self.Epoch || n.gossip.Self().Generation != self.Generation {
			if err := n.gossip.UpdateMeta(self); err != nil {
				n.log.Error().Err(err).Msg("gossip does not take the node's description")
			}
		}
	}
}

// syncRing fetches the ring of a node that has a newer one, as gossip or its
// messages tell.
func (n *Node) syncRing() error {
	if m := n.newest.Load(); m != nil && isNewer(*m, n.ring.Load()) {
		if err := n.fetchRing(*m); err != nil {
			return err
		}
	}
	a, r := n.ahead.Load(), n.ring.Load()
	if a == nil || r != nil && a.epoch <= coordinator.EpochOf(r) {
		return nil
	}
	for _, m := range n.gossip.Members() {
		if m.NodeID == a.id {
			err := n.fetchRing(m.Meta)
			if err == nil {
				n.ahead.CompareAndSwap(a, nil) // what it has was no newer if this node's still is what it was
			}
			return err
		}
	}
	return fmt.Errorf("node %s has a newer ring, and gossip does not know where it is", n.nameOf(a.id))
}

// isNewer reports whether a node says that it has a newer ring than r, which may be nil.
func isNewer(m membership.Meta, r *ring.Ring) bool {
	return r == nil || m.Generation > r.Generation || m.Generation == r.Generation && m.Epoch > r.Epoch
}

// aheadNode is a node whose messages are of a newer ring than this node's.
type aheadNode struct {
	id    ring.NodeID
	epoch ring.Epoch // see coordinator.EpochOf
}

// newerRing has keepRing fetch the ring of a node that is ahead. It is called for
// each message of that ring; the first one matters, and keepRing tries again.
func (n *Node) newerRing(id ring.NodeID, epoch ring.Epoch) {
	if a := n.ahead.Load(); a != nil && a.epoch >= epoch {
		return
	}
	n.ahead.Store(&aheadNode{id, epoch})
	n.wakeKeeper()
}

// fetchRing takes over the ring of another node.
func (n *Node) fetchRing(m membership.Meta) error {
	ctx, cancel := context.WithTimeout(n.ctx, joinWithin)
	defer cancel()
	b, err := n.callAt(ctx, m.Name, m.RPC, methodRing, nil)
	if err != nil {
		return err
	}
	r, err := ring.Decode(b)
	if err != nil {
		return fmt.Errorf("ring from node %s: %w", m.Name, err)
	}
	return n.adopt(r)
}
