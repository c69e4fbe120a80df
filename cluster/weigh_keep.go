package cluster

import (
	"context"
	"math/rand/v2"
	"time"

	"kvstore/cluster/ring"
)

// weighEvery is how often a node looks at its disk.
const weighEvery = time.Minute

// weighWithin bounds one look, and the change of the ring that follows.
const weighWithin = 15 * time.Second

// room returns what this node's disk can hold; nothing known of it is room for all.
func (n *Node) room() room {
	free, err := n.fs.Free(n.o.Dir)
	if err != nil {
		return room{}
	}
	return room{free, n.storedBytes()}
}

// storedBytes is what the engine takes of the disk, or is about to.
func (n *Node) storedBytes() int64 {
	m := n.db.Metrics()
	bytes := m.MemtableBytes + m.ImmutableBytes
	for _, l := range m.Levels {
		bytes += l.Bytes
	}
	return bytes
}

// DiskRoom returns what is free on the disk for this node, and what it has stored there,
// in bytes.
func (n *Node) DiskRoom() (free, stored int64) {
	r := n.room()
	return r.free, r.stored
}

// Relieved returns how often this node has changed its own weight for its disk's sake.
func (n *Node) Relieved() uint64 { return n.relieved.Load() }

// keepWeight looks after this node's weight, if it is to: each node proposes its own, so
// no two decide about one.
func (n *Node) keepWeight() {
	every := n.o.weighEvery
	if every == 0 {
		every = weighEvery
	}
	var w weigher
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(every*3/4 + rand.N(every/2)):
		}
		n.weigh(&w)
	}
}

// weigh looks once.
func (n *Node) weigh(w *weigher) {
	ctx, cancel := context.WithTimeout(n.ctx, weighWithin)
	defer cancel()
	r := n.ring.Load()
	if r == nil {
		return
	}
	self := r.Member(n.id.Node)
	if self == nil || self.State != ring.Active || self.Weight == 0 {
		return
	}
	var others []room
	reports := n.Reports(ctx, false)
	for i := range r.Members {
		m := &r.Members[i]
		if report := reports[m.ID]; report != nil && m.ID != self.ID && m.State == ring.Active && m.Weight > 0 {
			others = append(others, room{report.Free, report.Stored})
		}
	}
	own, part := n.room(), partOf(self)
	next := w.look(own, others, part, atRest(r) && n.copiesLeft() == 0)
	if next == part {
		return
	}
	changed, err := n.relieve(ctx, part, next)
	event := n.log.Warn()
	if next > part {
		event = n.log.Info()
	}
	event = event.Err(err).Float64("from", part).Float64("to", next).Int64("free", own.free).Int64("stored", own.stored)
	switch {
	case err != nil:
		event.Msg("the node's weight cannot be fitted to its disk")
	case !changed:
		event.Msg("the disk is low, and no other node may take what is here: free some space, or add a node")
	case next < part:
		event.Msg("the disk is low: the node takes a smaller part of its share")
	default:
		event.Msg("there is room on the disk again: the node takes a larger part of its share")
	}
}

// partOf returns what part of its share a member takes.
func partOf(m *ring.Member) float64 {
	if m.Full == 0 {
		return 1
	}
	return m.Weight / m.Full
}

func atRest(r *ring.Ring) bool { return len(r.Transfers) == 0 && !r.Paused }

// copiesLeft counts the partitions that have left and are still here.
func (n *Node) copiesLeft() int { return n.moves.Progress().Dropping }

// relieve has the ring give this node another part of its share, and reports whether it
// did: less is only for what that moves away.
func (n *Node) relieve(ctx context.Context, part, next float64) (changed bool, err error) {
	_, err = n.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) {
		changed = false
		m := r.Member(n.id.Node)
		if m == nil || m.State != ring.Active || partOf(m) != part || !atRest(r) {
			return r, nil
		}
		relieved, plan, err := ring.Replan(r, ring.Relieve{ID: m.ID, Part: next})
		if err != nil || next < part && !takesFrom(plan, m.ID) {
			return r, err
		}
		changed = true
		return relieved, nil
	})
	if err == nil && changed {
		n.relieved.Add(1)
	}
	return changed, err
}

// takesFrom reports whether a plan leaves a node less than it has.
func takesFrom(plan *ring.Plan, id ring.NodeID) bool {
	for i := range plan.PerNode {
		if s := &plan.PerNode[i]; s.ID == id {
			return s.After < s.Before
		}
	}
	return false
}
