package antientropy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
)

// Enter makes this node's copy of a partition hold what others hold, before the ring
// counts it as a replica: enough of those given, or, with 0, who are then all living
// replicas, as many as it takes to meet every write that was acknowledged. It may be repeated, and takes what
// is missing then. moved is told what came.
//
// Nothing that the node holds of the partition already is trusted as far as it is from
// before the horizon of those it takes from: it may be from a time when the node was a
// replica, or began to be one, and its tombstones may be collected. Those that it takes
// from collect nothing meanwhile (Requests.Moving). The copy then stands where they
// stood when it is made a replica.
func (k *Keeper) Enter(ctx context.Context, n ring.Partition, from []ring.NodeID, enough int, moved func(keys int, bytes int64)) error {
	r := k.o.Ring()
	if r == nil || int(n) >= r.Q {
		return errNoRing
	}
	if enough == 0 {
		enough = min(k.sources(len(r.Replicas(n))), len(from))
	}
	if err := k.ready(ctx, r, n); err != nil {
		return err
	}
	whole, failure := k.wholeCopies(ctx, n, from)
	if len(whole) < enough {
		return fmt.Errorf("too few copies to take from: %w", failure)
	}
	best, taken := whole[0], 0
	agreed := best.agreed
	for i, s := range whole {
		if s.agreed < best.collected {
			failure = errors.Join(failure, fmt.Errorf("node %s: %w", k.o.Peers.Name(s.id), errBehind))
			continue
		}
		c := pair{k: k, peer: s.id, below: best.collected, eager: true, moved: moved, pace: k.movePace}
		if i == 0 {
			c.yields = best.collected
		}
		if err := c.enter(ctx, leavesOf(r.Q, n)); err != nil {
			failure = errors.Join(failure, fmt.Errorf("take over from node %s: %w", k.o.Peers.Name(s.id), err))
			if i == 0 {
				return failure
			}
			continue
		}
		agreed = max(agreed, s.agreed)
		taken++
	}
	if taken < enough {
		return fmt.Errorf("taken over from %d of %d copies: %w", taken, enough, failure)
	}
	return k.entered(r, n, agreed, best.collected)
}

// sources is how many of n replicas are to be met to meet every write that was
// acknowledged.
func (k *Keeper) sources(n int) int {
	return min(max(n-k.o.Requests.WriteQuorum(n)+1, 1), n)
}

// ready makes the sums of what is here reliable. What damage has cost here is of no
// account: it comes from others.
func (k *Keeper) ready(ctx context.Context, r *ring.Ring, n ring.Partition) error {
	for _, s := range k.lost(r, n) {
		if err := k.o.Store.Refilled(s.bounds()); err != nil {
			return err
		}
	}
	l := leavesOf(r.Q, n)
	if k.o.Store.Exact(l.lo, l.hi) {
		return nil
	}
	return k.o.Store.Rebuild(ctx, l.lo, l.hi)
}

// copyState is how a partition stands at one node.
type copyState struct {
	id ring.NodeID
	state
}

// wholeCopies asks nodes how a partition stands there and returns those that can be
// taken from, the one that has collected most first.
func (k *Keeper) wholeCopies(ctx context.Context, n ring.Partition, from []ring.NodeID) (whole []copyState, failure error) {
	for _, id := range from {
		s, err := k.stateAt(ctx, id, n)
		if err == nil {
			err = unfit(s)
		}
		if err != nil {
			failure = errors.Join(failure, fmt.Errorf("node %s: %w", k.o.Peers.Name(id), err))
			continue
		}
		whole = append(whole, copyState{id, s})
	}
	slices.SortStableFunc(whole, func(a, b copyState) int {
		switch {
		case a.collected > b.collected:
			return -1
		case a.collected < b.collected:
			return 1
		}
		return 0
	})
	return whole, failure
}

// stateAt asks how a partition stands at a node, without saying how it stands here:
// this copy is none that anybody should compare with.
func (k *Keeper) stateAt(ctx context.Context, id ring.NodeID, n ring.Partition) (state, error) {
	if !k.o.Peers.Connected(id) {
		return state{}, errUnreachable
	}
	body := binary.BigEndian.AppendUint16([]byte{opStates}, uint16(n))
	var t Tally
	answer, err := k.ask(ctx, id, append(body, make([]byte, 16)...), &t)
	if err != nil {
		return state{}, err
	}
	m := &reader{b: answer}
	s := m.state()
	return s, m.err()
}

// enter takes everything of a range: what differs and is not here at all, or differs over
// many leaves, in one piece, then what still does.
func (c *pair) enter(ctx context.Context, l leafRange) error {
	var t Tally
	c.tally, c.found = &t, make(map[uint32]bool)
	leaves, err := c.apart(ctx, []leafRange{l})
	if err != nil {
		return err
	}
	own := c.k.o.Store.AppendSums(nil, l.lo, l.hi)
	nothing := func(leaf uint32) bool { return own[leaf-l.lo] == 0 }
	for _, run := range stretches(leaves, nothing) {
		if run.hi-run.lo < bulkLeaves && run != l && !run.all(nothing) {
			continue
		}
		if err := c.pull(ctx, run.tokens()); err != nil {
			return err
		}
	}
	return c.level(ctx, l)
}

// bulkLeaves is how many leaves that differ, side by side, are taken without a look at
// their lists: a few hundred keys of a node with millions.
const bulkLeaves = 8

// entered notes that a copy stands where others stand, durably with all that came.
func (k *Keeper) entered(r *ring.Ring, n ring.Partition, agreed, collected hlc.Timestamp) error {
	was := false
	err := k.change([]ring.Partition{n}, true, func(_ int, p *partition) {
		was = p.filling
		p.filling, p.clean, p.pulled, p.because = false, false, nil, ""
		p.agreed, p.collected = agreed, collected
	})
	if err != nil {
		return err
	}
	if was {
		k.ended()
		k.o.Requests.SetFilled(n, true)
	}
	first, last := r.SlotRange(n)
	k.o.Store.SetDeathHorizon(first, last, collected)
	return nil
}

// Give makes another node, a replica, hold all that this one holds of a partition. What
// this copy may have brought back from a time that all replicas have agreed on since
// stays here: then its confirmation is older than what that one has collected.
func (k *Keeper) Give(ctx context.Context, n ring.Partition, to ring.NodeID, moved func(keys int, bytes int64)) error {
	r := k.o.Ring()
	if r == nil || int(n) >= r.Q {
		return errNoRing
	}
	if err := k.ready(ctx, r, n); err != nil {
		return err
	}
	s, err := k.stateAt(ctx, to, n)
	switch {
	case err != nil:
		return err
	case s.flags&flagStranger != 0:
		return errStranger
	case s.flags&flagInexact != 0:
		return errInexact
	}
	var t Tally
	c := pair{k: k, peer: to, below: s.collected, eager: true, gives: true, tally: &t, moved: moved, pace: k.movePace}
	if k.at(n).agreed < s.collected {
		c.after = s.collected
	}
	return c.level(ctx, leavesOf(r.Q, n))
}

// Appoint begins to fill partitions that a ring gives to this node in the place of a
// node that is dead for good. It comes before that ring is served by.
func (k *Keeper) Appoint(ps []ring.Partition) error {
	if len(ps) == 0 {
		return nil
	}
	for _, n := range ps {
		k.o.Requests.SetFilled(n, false)
	}
	began := int64(0)
	err := k.change(ps, true, func(_ int, p *partition) {
		if !p.filling {
			began++
		}
		p.filling, p.clean, p.pulled = true, false, nil
		p.agreed, p.collected = 0, 0
	})
	k.begun(began)
	return err
}

// Appointed says that the ring for which copies were appointed is adopted, if any were.
func (k *Keeper) Appointed() {
	if k.Metrics.Filling.Load() > 0 {
		k.rouse(wakeFill)
	}
}

// Fill fills a copy that was appointed, now.
func (k *Keeper) Fill(ctx context.Context, n ring.Partition, moved func(keys int, bytes int64)) error {
	if !k.at(n).filling {
		return nil
	}
	return k.fillWith(ctx, n, moved)
}

// Forget forgets what is known of a copy that is no replica's, and dropped.
func (k *Keeper) Forget(n ring.Partition) error {
	filling := false
	err := k.change([]ring.Partition{n}, false, func(_ int, p *partition) {
		filling = p.filling
		*p = partition{ended: p.ended}
	})
	if filling {
		k.ended()
		k.o.Requests.SetFilled(n, true)
	}
	return err
}

// Steady returns when no horizon of this node's copies is being moved by a round that
// began before Requests.Moving told of a transfer.
func (k *Keeper) Steady() {
	k.collecting.Lock()
	defer k.collecting.Unlock()
}
