package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kvstore/cluster/consensus"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
)

// found makes a ring of this node alone.
func (n *Node) found() error {
	if perDC := n.o.Replication.PerDC; len(perDC) > 0 && !slices.ContainsFunc(perDC, func(d ring.DCReplicas) bool { return d.DC == n.o.DC }) {
		return fmt.Errorf("found a cluster: data centre %s, which the node is in, gets no replicas by %s; set node.dc or replication.per_dc", n.o.DC, ring.ReplicationText(0, perDC))
	}
	r, _, err := ring.Build(nil, []ring.Member{n.member()}, ring.Options{
		ClusterID: random64(), ClusterName: n.o.ClusterName, Partitions: n.o.Partitions, N: n.o.Replication.N, PerDC: n.o.Replication.PerDC,
	})
	if err != nil {
		return fmt.Errorf("found a cluster: %w", err)
	}
	n.log.Info().Str("cluster", n.o.ClusterName).Int("partitions", r.Q).Msg("founded a cluster")
	return n.adopt(r)
}

// adopt makes r, which has been chosen, the node's ring if it is newer than what the node has. In a
// ring that it is not in, or no more, the node has no part: it gives up.
func (n *Node) adopt(r *ring.Ring) error {
	n.adoptMu.Lock()
	defer n.adoptMu.Unlock()
	before := n.ring.Load()
	if before != nil && (before.ClusterID != r.ClusterID || !r.NewerThan(before)) {
		n.thaw(before)
		return nil
	}
	switch m := r.Member(n.id.Node); {
	case before == nil && (m == nil || r.ClusterName != n.o.ClusterName):
		return fmt.Errorf("a ring of cluster %q, which this node has not joined", r.ClusterName)
	case m == nil || m.State == ring.Removed:
		n.excluded("", r.Refusal(n.id.Node, n.o.Name).Error())
		return nil
	}
	if err := n.register.acceptor.Adopting(r); err != nil {
		return err
	}
	if err := n.appoint(before, r); err != nil {
		return err
	}
	if err := writeDurably(n.fs, n.o.Dir, ringName, r.Encode()); err != nil {
		return err
	}
	if before == nil {
		if err := noteMember(n.fs, n.o.Dir); err != nil {
			return err
		}
	}
	lost := before == nil && n.emptied
	if lost {
		n.replica.MarkHoldsData()
	}
	// Where nothing is stored nobody has missed a write.
	n.coord.SetRing(r, !n.replica.HoldsData())
	n.ring.Store(r)
	if err := n.entropy.Load(lost); err != nil {
		return err
	}
	if lost {
		if err := n.ownEngine(); err != nil {
			return err
		}
	}
	n.followLives(before, r)
	n.noteReplication(before, r)
	n.rpc.SetPeers(n.peersOf(r))
	n.freeze.noteChange()
	n.thaw(r)
	for i := range r.Members {
		n.reach(r.Members[i].ID)
	}
	if before == nil {
		close(n.joined)
	}
	n.log.Info().Uint64("epoch", uint64(r.Epoch)).Int("members", len(r.Members)).Msg("the ring has changed")
	n.wakeKeeper() // it tells gossip
	n.followPlan(r)
	n.moves.Wake()
	n.entropy.Appointed()
	return nil
}

// excluded has the process end because the node is no member any more, as its ring or another
// member says. Who was to leave has left: the directory says so from then on.
func (n *Node) excluded(says, why string) {
	r := n.ring.Load()
	if r != nil && strings.Contains(why, ring.HasLeft) {
		if m := r.Member(n.id.Node); m != nil && m.State == ring.Leaving {
			n.left.Store(true)
			n.giveUp(fmt.Errorf("%w: %w", ErrNoPart, ErrLeft))
			return
		}
	}
	n.giveUp(fmt.Errorf("%w%s: %s", ErrNoPart, says, why))
}

// giveUp has the process end, with the first reason that is given.
func (n *Node) giveUp(why error) {
	select {
	case n.fatal <- why:
	default:
	}
}

// stranger says why a node has no part in this node's ring, nil if it may have one: also if its
// ring is newer, because this node may have missed how it came in.
func (n *Node) stranger(r *ring.Ring, id ring.NodeID, epoch ring.Epoch) error {
	why := r.Refusal(id, "")
	if why == nil {
		return nil
	}
	_, gone := r.GoneAs(id)
	if r.Member(id) == nil && !gone && epoch > r.Epoch {
		n.newerRing(id, epoch)
		return nil
	}
	return fmt.Errorf("%w: %w", rpc.ErrNoPart, why)
}

// refuseGossip implements membership.Options.Refuse.
func (n *Node) refuseGossip(m membership.Meta) error {
	r := n.ring.Load()
	if r == nil || m.ClusterID != 0 && m.ClusterID != r.ClusterID || m.ClusterID == 0 && r.Member(m.NodeID) == nil {
		return nil // it is about to join, or told otherwise that it is of another cluster
	}
	return n.stranger(r, m.NodeID, m.Epoch)
}

const (
	// placeWithin bounds one attempt to have the ring know where and in which life the node is.
	placeWithin = 5 * time.Second
	// placeAgain is the time after which it is tried again, and after which it is looked at whether
	// that is to be done.
	placeAgain = 3 * time.Second
)

// keepPlace has the ring know the life that the node is in, without which it has no vote once it has
// lost its disk, and its addresses; and gossip forget who is in the ring no more.
func (n *Node) keepPlace() {
	said := ""
	for {
		err := n.tellPlace()
		if err != nil && n.ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			n.log.Info().Err(err).Msg("the ring does not know yet where the node is now")
		}
		n.forgetGone()
		wait := placeAgain + time.Duration(random64()%uint64(placeAgain))
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// forgetGone has gossip ask no more for members that are gone.
func (n *Node) forgetGone() {
	r := n.ring.Load()
	if r == nil {
		return
	}
	for _, m := range n.gossip.Members() {
		known := r.Member(m.NodeID)
		_, gone := r.GoneAs(m.NodeID)
		if !m.Alive && (gone || known != nil && known.State == ring.Removed) {
			n.gossip.Forget(m.NodeID)
		}
	}
}

func (n *Node) tellPlace() error {
	self := n.member()
	r := n.ring.Load()
	if r == nil || isPlace(r, self) {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, placeWithin)
	defer cancel()
	_, err := n.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) { return ring.Incarnate(r, self.ID, self.Incarnation, self) })
	if e, ok := errors.AsType[*consensus.NoMajority](err); ok && e.Chosen {
		return nil
	}
	return err
}

// isPlace reports whether the ring has what a member says of itself.
func isPlace(r *ring.Ring, self ring.Member) bool {
	m := r.Member(self.ID)
	return m == nil || m.Incarnation == self.Incarnation && m.RPC == self.RPC && m.Gossip == self.Gossip && m.Client == self.Client &&
		m.DC == self.DC && m.Rack == self.Rack
}
