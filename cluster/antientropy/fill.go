package antientropy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
)

const (
	// fillAgain is the time between attempts to fill what could not be filled: it
	// doubles up to fillSeldom, and a peer that comes back ends it.
	fillAgain  = 500 * time.Millisecond
	fillSeldom = 8 * time.Second
)

// runFill fills copies that lack what they once held.
func (k *Keeper) runFill() {
	for wait := fillAgain; k.rest(wakeFill, wait); {
		damaged := k.findLost()
		filling := k.fillingNow()
		switch {
		case len(filling) > 0:
			wait = min(2*wait, fillSeldom)
		case damaged:
			wait = fillAgain
		default:
			wait = fillSeldom // whoever finds something to do wakes it
		}
		var wg sync.WaitGroup
		slots := make(chan struct{}, atOnce)
		for _, p := range filling {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if err := k.fill(k.ctx, p); err != nil && k.ctx.Err() == nil {
					k.note(p, err)
				}
			})
		}
		wg.Wait()
	}
}

func (k *Keeper) note(n ring.Partition, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parts[n].because = err.Error()
}

// fillingNow returns the partitions that are being filled.
func (k *Keeper) fillingNow() (ps []ring.Partition) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.parts {
		if k.parts[i].filling {
			ps = append(ps, ring.Partition(i))
		}
	}
	return ps
}

// fill takes what the other replicas hold of a partition, as far as they can be
// reached, and ends the filling when that is enough.
//
// First comes the replica that has collected most: what this copy holds from at or
// before that horizon is replaced by what that one holds, because the tombstones
// that would have removed it are gone everywhere. Later writes are merged: others
// may have acknowledged them with this copy's help. Only then come the others, and
// of them none whose copy is in the same state and has not come so far.
func (k *Keeper) fill(ctx context.Context, n ring.Partition) error { return k.fillWith(ctx, n, nil) }

func (k *Keeper) fillWith(ctx context.Context, n ring.Partition, moved func(keys int, bytes int64)) error {
	end, err := k.beginFill(ctx, n)
	if err != nil {
		return err
	}
	defer end()
	r := k.o.Ring()
	switch {
	case r == nil || !r.Holds(n, k.o.Self):
		return errStranger
	case !k.at(n).filling:
		return nil // another has done it
	}
	states, failure := k.fillStates(ctx, r, n)
	need := k.needed(r, n)
	if len(states) < need {
		return fmt.Errorf("too few replicas to fill from: %w", failure)
	}
	if err := k.restoreLost(ctx, r, n, states, need); err != nil {
		return err
	}
	source, horizon := k.bestSource(n, states)
	if !k.at(n).clean {
		if source != k.o.Self {
			if err := k.pullFrom(ctx, n, source, horizon, horizon, moved); err != nil {
				return err
			}
		}
		k.setPulled(n, source)
	}
	for id, s := range states {
		// One that is behind and has not been told so yet is not clean either.
		unaware := s.flags&flagFilling == 0 && s.agreed < horizon
		if unaware {
			failure = errors.Join(failure, k.tell(ctx, id, n, horizon))
		}
		if slices.Contains(k.at(n).pulled, id) || s.flags&flagUnclean != 0 || unaware {
			continue
		}
		if err := k.pullFrom(ctx, n, id, horizon, 0, moved); err != nil {
			failure = errors.Join(failure, err)
			continue
		}
		k.setPulled(n, id)
	}
	if got := k.at(n).pulled; len(got) < need {
		return fmt.Errorf("taken over from %d of %d replicas: %w", len(got), need, failure)
	}
	return k.filled(r, n, horizon)
}

// beginFill waits until nobody else fills a partition: what was taken from is counted, and
// nobody is to be counted twice.
func (k *Keeper) beginFill(ctx context.Context, n ring.Partition) (end func(), err error) {
	for {
		k.mu.Lock()
		other, mine := k.fills[n], make(chan struct{})
		if other == nil {
			k.fills[n] = mine
		}
		k.mu.Unlock()
		if other == nil {
			return func() {
				k.mu.Lock()
				defer k.mu.Unlock()
				delete(k.fills, n)
				close(mine)
			}, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fillStates asks the other replicas how they stand, and returns those that can be
// filled from.
func (k *Keeper) fillStates(ctx context.Context, r *ring.Ring, n ring.Partition) (states map[ring.NodeID]state, failure error) {
	var t Tally
	states = make(map[ring.NodeID]state)
	for _, id := range r.Replicas(n) {
		if id == k.o.Self {
			continue
		}
		s, err := k.states(ctx, id, []ring.Partition{n}, &t)
		if err == nil && s[0].flags&flagStranger != 0 {
			err = errStranger
		}
		if err != nil {
			failure = errors.Join(failure, fmt.Errorf("node %s: %w", k.o.Peers.Name(id), err))
			continue
		}
		states[id] = s[0]
	}
	return states, failure
}

// findLost begins to fill partitions of which damage has cost records, once enough
// other replicas can be reached: until then the copy answers what it still can. It
// reports whether there is damage at all.
func (k *Keeper) findLost() (damaged bool) {
	r := k.o.Ring()
	if r == nil || len(k.o.Store.Lost(leafRange{0, Leaves}.tokens().bounds())) == 0 {
		return false
	}
	for p := range r.Q {
		n := ring.Partition(p)
		need := k.needed(r, n)
		if !r.Holds(n, k.o.Self) || k.at(n).filling || need == 0 || len(k.lost(r, n)) == 0 {
			continue
		}
		reached := 0
		for _, id := range r.Replicas(n) {
			if id != k.o.Self && k.o.Peers.Connected(id) {
				reached++
			}
		}
		if reached < need {
			continue
		}
		if err := k.refill(n); err != nil {
			k.note(n, err)
		}
	}
	return true
}

// Damaged says that records were found to be lost; see Store.Lost. They are looked
// for soon.
func (k *Keeper) Damaged() { k.rouse(wakeFill) }

// lost returns the ranges of a partition of which records are lost, widened to
// whole tokens.
func (k *Keeper) lost(r *ring.Ring, n ring.Partition) (spans []span) {
	whole := leavesOf(r.Q, n).tokens()
	for _, l := range k.o.Store.Lost(whole.bounds()) {
		s := whole
		if len(l[0]) >= 8 {
			s.lo = max(s.lo, ring.Token(binary.BigEndian.Uint64(l[0])))
		}
		if len(l[1]) >= 8 {
			s.hi = min(s.hi, ring.Token(binary.BigEndian.Uint64(l[1]))+1)
		}
		if s.lo < s.hi {
			spans = append(spans, s)
		}
	}
	return spans
}

// restoreLost stores again what the others hold of records that damage has cost.
func (k *Keeper) restoreLost(ctx context.Context, r *ring.Ring, n ring.Partition, states map[ring.NodeID]state, need int) error {
	spans := k.lost(r, n)
	if len(spans) > 0 {
		from, failure := 0, error(nil)
		for id := range states {
			var t Tally
			c := pair{k: k, peer: id, below: k.at(n).collected, tally: &t, found: make(map[uint32]bool), moved: k.took}
			err := error(nil)
			for _, s := range spans {
				err = errors.Join(err, c.pull(ctx, s))
			}
			if err == nil {
				from++
			}
			failure = errors.Join(failure, err)
		}
		if from < need {
			return fmt.Errorf("restore damaged records: %w", failure)
		}
		for _, s := range spans {
			if err := k.o.Store.Refilled(s.bounds()); err != nil {
				return err
			}
		}
	}
	l := leavesOf(r.Q, n)
	if k.o.Store.Exact(l.lo, l.hi) {
		return nil
	}
	k.Metrics.Rebuilt.Add(uint64(l.hi - l.lo))
	return k.o.Store.Rebuild(ctx, l.lo, l.hi)
}

// needed is from how many others a copy must have taken what they hold: any write
// that was acknowledged with the help of the lost copy is at one of them. Of those that
// are dead for good nothing can be taken, and the rest is all there is.
func (k *Keeper) needed(r *ring.Ring, n ring.Partition) int {
	list, living := r.Replicas(n), 0
	for _, id := range list {
		if m := r.Member(id); id != k.o.Self && m != nil && m.State != ring.Removed {
			living++
		}
	}
	return min(max(len(list)-k.o.Requests.WriteQuorum(len(list))+1, 1), living)
}

// tell lets another replica know how much has been collected.
func (k *Keeper) tell(ctx context.Context, id ring.NodeID, n ring.Partition, horizon hlc.Timestamp) error {
	body := binary.BigEndian.AppendUint16([]byte{opStates}, uint16(n))
	body = binary.BigEndian.AppendUint64(body, uint64(k.at(n).agreed))
	var t Tally
	_, err := k.ask(ctx, id, binary.BigEndian.AppendUint64(body, uint64(horizon)), &t)
	return err
}

// bestSource returns who is trusted with what is from before the horizon: of those
// whose copies are whole the one that has collected most, and where none is, of
// all.
func (k *Keeper) bestSource(n ring.Partition, states map[ring.NodeID]state) (source ring.NodeID, horizon hlc.Timestamp) {
	own := k.at(n)
	source, horizon = k.o.Self, own.collected
	whole := false
	for id, s := range states {
		w := s.flags&flagFilling == 0
		if w && !whole || w == whole && (s.collected > horizon || s.collected == horizon && id < source) {
			source, horizon, whole = id, s.collected, w
		}
	}
	return source, horizon
}

// pullFrom brings a copy level with another one.
func (k *Keeper) pullFrom(ctx context.Context, n ring.Partition, id ring.NodeID, below, yields hlc.Timestamp, moved func(keys int, bytes int64)) error {
	var t Tally
	c := pair{k: k, peer: id, below: below, yields: yields, tally: &t, eager: true, moved: k.took}
	if moved != nil {
		c.pace = k.movePace
		c.moved = func(keys int, bytes int64) {
			k.took(keys, bytes)
			moved(keys, bytes)
		}
	}
	if err := c.enter(ctx, leavesOf(k.o.Ring().Q, n)); err != nil {
		return fmt.Errorf("fill from node %s: %w", k.o.Peers.Name(id), err)
	}
	k.Metrics.Keys.Add(uint64(t.Keys))
	return nil
}

// setPulled notes that a replica's content was taken. The first is the source.
func (k *Keeper) setPulled(n ring.Partition, id ring.NodeID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &k.parts[n]
	p.clean = true
	if id != k.o.Self {
		p.pulled = append(p.pulled, id)
	}
}

// filled ends the filling.
func (k *Keeper) filled(r *ring.Ring, n ring.Partition, horizon hlc.Timestamp) error {
	err := k.change([]ring.Partition{n}, true, func(_ int, p *partition) {
		p.filling, p.clean, p.pulled, p.because = false, false, nil, ""
		p.agreed, p.collected = max(p.agreed, horizon), max(p.collected, horizon)
	})
	if err != nil {
		return err
	}
	first, last := r.SlotRange(n)
	k.o.Store.SetDeathHorizon(first, last, horizon)
	k.o.Requests.SetFilled(n, true)
	k.ended()
	k.Metrics.Filled.Add(1)
	k.o.Logger.Info().Uint16("partition", uint16(n)).Int64("left", k.Metrics.Filling.Load()).Msg("this node's copy is filled")
	k.markHere(n, 0)
	return nil
}
