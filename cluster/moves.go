package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/transfer"
)

// Transfer configures how partitions move; see transfer.Options and
// antientropy.Options.
type Transfer struct {
	Rate  int64 // bytes a second; 0 for the default
	Moves int   // partitions at a time; 0 for the default
}

// Progress is how far a node is with the transfers that it drives.
type Progress = transfer.Progress

// newMoves makes what carries out transfers.
func (n *Node) newMoves() *transfer.Driver {
	return transfer.New(transfer.Options{
		Self: n.id.Node, Ring: n.ring.Load, Change: n.Change,
		Peers: movePeers{n}, Copies: copies{n}, Moves: n.o.Transfer.Moves, Clients: entropyRequests{n}.Clients, Logger: n.log,
	})
}

// Transfers returns how far this node is with the transfers that it drives.
func (n *Node) Transfers() Progress { return n.moves.Progress() }

// TransferMetrics returns what moving partitions met with.
func (n *Node) TransferMetrics() *transfer.Metrics { return &n.moves.Metrics }

// SetTransferRate changes how fast partitions move.
func (n *Node) SetTransferRate(rate int64) { n.entropy.SetMoveRate(rate) }

// appoint has the copies filled that a ring which is about to be adopted gives this node
// in the place of one that is dead: nobody reads them before that.
func (n *Node) appoint(before, r *ring.Ring) error {
	if before == nil {
		return nil
	}
	var ps []ring.Partition
	for _, t := range r.Transfers {
		place, unfilled := r.Unfilled(t.Partition)
		if t.To == n.id.Node && unfilled && r.Replicas(t.Partition)[place] == t.To && !before.Holds(t.Partition, t.To) {
			ps = append(ps, t.Partition)
		}
	}
	return n.entropy.Appoint(append(ps, n.widowed(before, r)...))
}

// widowed returns the partitions that a ring leaves to this node because the other one of
// a transfer is dead, although a reader may have been told there of what only other
// replicas have now: of a write that was not acknowledged, or by a repair.
func (n *Node) widowed(before, r *ring.Ring) (ps []ring.Partition) {
	isDead := func(id ring.NodeID) bool {
		m := r.Member(id)
		return m == nil || m.State == ring.Removed
	}
	for _, t := range before.Transfers {
		if t.Step == ring.Waiting || t.From == 0 || t.To == 0 || !r.Holds(t.Partition, n.id.Node) {
			continue
		}
		p := t.Partition
		entered := t.To == n.id.Node && isDead(t.From) && (t.Step == ring.Copying && !before.Holds(p, t.To) || n.coord.Lags(p))
		back := t.From == n.id.Node && isDead(t.To) && t.Step == ring.Switched
		if _, unfilled := r.Unfilled(p); (entered || back) && !unfilled {
			ps = append(ps, p)
		}
	}
	return ps
}

// moving reports whether a transfer of a partition is under way.
func moving(r *ring.Ring, p ring.Partition) bool {
	if r == nil || int(p) >= r.Q {
		return false
	}
	t, found := r.TransferOf(p)
	return found && t.Step != ring.Waiting
}

// leftOver reports whether this node holds records of a partition that the ring does
// not give it.
func (n *Node) leftOver(r *ring.Ring, p ring.Partition) bool {
	if transfer.Concerns(r, p, n.id.Node) {
		return false
	}
	lo, hi := leavesOf(r, p)
	return n.db.Sum(lo, hi) != 0 || !n.db.SumsExact(lo, hi) && !n.isEmpty(r, p)
}

func leavesOf(r *ring.Ring, p ring.Partition) (lo, hi uint32) {
	first, end := r.TokenRange(p)
	return uint32(first >> sumShift), uint32(end >> sumShift)
}

// isEmpty reports whether no record of a partition is here. What cannot be read is.
func (n *Node) isEmpty(r *ring.Ring, p ring.Partition) bool {
	empty := true
	lower, upper := boundsOf(r, p)
	err := store{n.db}.Scan(lower, upper, func([]byte, []byte) bool {
		empty = false
		return false
	})
	return empty && err == nil
}

// copies is this node's data as transfers see it.
type copies struct{ n *Node }

// Enter implements transfer.Copies. What was flushed at the sources while this node was
// in no ring is flushed here first.
func (c copies) Enter(ctx context.Context, p ring.Partition, from []ring.NodeID, enough int, moved func(keys int, bytes int64)) error {
	for _, id := range from {
		if err := c.n.takeFlushed(id); err != nil {
			return err
		}
	}
	return c.n.entropy.Enter(ctx, p, from, enough, moved)
}

// Fill implements transfer.Copies.
func (c copies) Fill(ctx context.Context, p ring.Partition, moved func(keys int, bytes int64)) error {
	return c.n.entropy.Fill(ctx, p, moved)
}

// Serve implements transfer.Copies.
func (c copies) Serve(p ring.Partition) { c.n.coord.CaughtUp(p) }

// Give implements transfer.Copies.
func (c copies) Give(ctx context.Context, p ring.Partition, to ring.NodeID, moved func(keys int, bytes int64)) error {
	return c.n.entropy.Give(ctx, p, to, moved)
}

// Left implements transfer.Copies. What is kept for others ends with its hints.
func (c copies) Left(r *ring.Ring) (ps []ring.Partition) {
	for p := range ring.Partition(r.Q) {
		if !c.n.leftOver(r, p) {
			continue
		}
		if kept, err := c.n.HintsOutstanding(p); err == nil && !kept {
			ps = append(ps, p)
		}
	}
	return ps
}

// Clean implements transfer.Copies.
func (c copies) Clean(r *ring.Ring) bool {
	for _, s := range c.n.hints.Stats() {
		if s.Count != 0 {
			return false
		}
	}
	for p := range ring.Partition(r.Q) {
		if c.n.leftOver(r, p) {
			return false
		}
	}
	return true
}

// Mark implements transfer.Copies: the sum of a partition's records.
func (c copies) Mark(ctx context.Context, p ring.Partition) (uint64, error) {
	r := c.n.ring.Load()
	lo, hi := leavesOf(r, p)
	if !c.n.db.SumsExact(lo, hi) {
		if err := c.n.db.RebuildSums(ctx, lo, hi, replica.Sum); err != nil {
			return 0, fmt.Errorf("sum records anew: %w", storeError(err))
		}
	}
	return c.n.db.Sum(lo, hi), nil
}

// Reasons not to drop a partition yet. All pass.
var (
	errRingMoved = errors.New("the ring has changed")
	errWritten   = errors.New("something was written to it meanwhile")
	errKept      = errors.New("some of it is kept for nodes that are away")
)

// Drop implements transfer.Copies. No ring is adopted meanwhile: it could make this
// node a replica again.
func (c copies) Drop(ctx context.Context, r *ring.Ring, p ring.Partition, mark uint64) error {
	n := c.n
	first, last := r.SlotRange(p)
	if _, err := n.replica.Count(ctx, 0, first, last); err != nil { // once the node knows what it started with
		return err
	}
	n.adoptMu.Lock()
	defer n.adoptMu.Unlock()
	now := n.ring.Load()
	if transfer.Concerns(now, p, n.id.Node) || !slices.Equal(now.Replicas(p), r.Replicas(p)) {
		return errRingMoved
	}
	lo, hi := leavesOf(r, p)
	lower, upper := boundsOf(r, p)
	err := n.replica.Abandon(first, last, func() error {
		kept, err := n.HintsOutstanding(p)
		switch {
		case err != nil:
			return err
		case kept:
			return errKept
		case n.db.Sum(lo, hi) != mark:
			return errWritten
		}
		n.coord.Dropped(p)
		return n.db.DropRange(lower, upper)
	})
	if err != nil {
		return err
	}
	if err := n.entropy.Forget(p); err != nil {
		return err
	}
	n.log.Debug().Uint16("partition", uint16(p)).Msg("a partition that has left is dropped")
	return n.turns.commit()
}

// movePeers are the members as transfers see them.
type movePeers struct{ n *Node }

// Reachable implements transfer.Peers.
func (p movePeers) Reachable(id ring.NodeID) bool { return id == p.n.id.Node || p.n.rpc.Connected(id) }

// Name implements transfer.Peers.
func (p movePeers) Name(id ring.NodeID) string { return p.n.nameOf(id) }

// Barrier implements transfer.Peers.
func (p movePeers) Barrier(ctx context.Context, id ring.NodeID, r *ring.Ring, part ring.Partition) (transfer.Size, error) {
	ctx, cancel := context.WithTimeout(ctx, barrierWithin)
	defer cancel()
	b := barrier{epoch: coordinator.EpochOf(r), partition: part}
	if id == p.n.id.Node {
		return p.n.passBarrier(ctx, id, b)
	}
	answer, err := p.n.call(ctx, id, methodBarrier, b.append(nil))
	if err != nil {
		return transfer.Size{}, err
	}
	return decodeSize(answer)
}
