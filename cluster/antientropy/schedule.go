package antientropy

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"kvstore/cluster/ring"
)

const (
	// comeback is how long after a peer's return its partitions are compared, and how long a
	// round is put off at a time while hints are brought: they go first.
	comeback = 5 * time.Second
	// again is the time after which a round that did not end equal is tried anew,
	// at most; a short period shortens it.
	again = time.Minute
)

// Mark asks for a round of a partition soon: its copies are known to differ. It
// may be called on any node of the ring.
func (k *Keeper) Mark(p ring.Partition) { k.markHere(p, 0) }

// markHere asks for a round after a time.
func (k *Keeper) markHere(n ring.Partition, after time.Duration) {
	at := time.Now().Add(after)
	k.mu.Lock()
	if int(n) < len(k.parts) {
		if p := &k.parts[n]; p.urgent.IsZero() || at.Before(p.urgent) {
			p.urgent = at
		}
	}
	k.mu.Unlock()
	k.rouse(wakeRounds)
}

// PeerUp asks for rounds of what this node shares with one that has come back.
func (k *Keeper) PeerUp(id ring.NodeID) {
	r := k.o.Ring()
	if r == nil {
		return
	}
	for p := range r.Q {
		if n := ring.Partition(p); r.Holds(n, id) && r.Holds(n, k.o.Self) {
			k.markHere(n, comeback+rand.N(comeback/4))
		}
	}
	k.rouse(wakeFill)
}

// Introduce compares confirmations with a node that has just been connected. When
// it returns nil, neither node trusts a copy, of what both hold, that is older than
// what the other has collected.
func (k *Keeper) Introduce(ctx context.Context, id ring.NodeID) error {
	r := k.o.Ring()
	if r == nil {
		return nil
	}
	var shared []ring.Partition
	for p := range r.Q {
		if n := ring.Partition(p); r.Holds(n, id) && r.Holds(n, k.o.Self) {
			shared = append(shared, n)
		}
	}
	if len(shared) == 0 {
		return nil
	}
	var t Tally
	_, err := k.states(ctx, id, shared, &t)
	return err
}

// initiator returns who begins the rounds of a partition: the first of its
// replicas that this node can reach, so that work is not done twice.
func (k *Keeper) initiator(r *ring.Ring, p ring.Partition) ring.NodeID {
	for _, id := range r.Replicas(p) {
		if id == k.o.Self || k.o.Peers.Connected(id) {
			return id
		}
	}
	return 0
}

// runRounds is the goroutine of the regular and the urgent rounds.
func (k *Keeper) runRounds() {
	for k.rest(wakeRounds, k.untilNext()) {
		due, pass := k.due()
		for p, to := range pass {
			k.passOn(p, to)
		}
		if due = k.afterHints(due); len(due) > 0 {
			k.Round(k.ctx, due)
		}
	}
}

// afterHints puts off the rounds of partitions whose replicas are being brought hints, by any
// node, and returns the others. Hints bring what a replica lacks at a fraction of the cost of
// finding it out, and a round beside them would do the same work again. It waits for a part of
// the period at most: where hints are made all the time, what they do not stand for has to be
// found, and the dead have to be removed, all the same.
func (k *Keeper) afterHints(due []ring.Partition) []ring.Partition {
	r := k.o.Ring()
	if r == nil || len(due) == 0 {
		return due
	}
	handing := make([]bool, len(due))
	body := []byte{opHanding}
	for i, p := range due {
		handing[i] = k.o.Requests.Handing(p)
		body = binary.BigEndian.AppendUint16(body, uint16(p))
	}
	k.askMembers(k.ctx, r, body, func(answer []byte, err error) {
		if err != nil || len(answer) != len(due) {
			return // of an older version, or lost: the round finds out
		}
		for j := range due {
			handing[j] = handing[j] || answer[j] != 0
		}
	})
	now := make([]ring.Partition, 0, len(due))
	for i, p := range due {
		if !k.putOff(p, handing[i]) {
			now = append(now, p)
		}
	}
	return now
}

// putOff has the round of a partition wait while hints are brought, if it has not waited for
// too long.
func (k *Keeper) putOff(n ring.Partition, handing bool) bool {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &k.parts[n]
	switch {
	case !handing, !p.held.IsZero() && now.Sub(p.held) >= time.Duration(k.period.Load())/4:
		p.held = time.Time{}
		return false
	case p.held.IsZero():
		p.held = now
	}
	p.tried, p.urgent, p.because = now, now.Add(comeback+rand.N(comeback/4)), errHanding.Error()
	return true
}

// untilNext is the time until something is due: at most a part of the period, so
// that rounds spread over it.
func (k *Keeper) untilNext() time.Duration {
	wait := max(time.Duration(k.period.Load())/64, time.Millisecond)
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.parts {
		if u := k.parts[i].urgent; !u.IsZero() {
			wait = min(wait, max(u.Sub(now), 0)+time.Millisecond)
		}
	}
	return wait
}

// due returns the partitions this node is to begin rounds of, and those that
// another is asked to.
func (k *Keeper) due() (own []ring.Partition, pass map[ring.Partition]ring.NodeID) {
	r := k.o.Ring()
	if r == nil {
		return nil, nil
	}
	now := time.Now()
	// A little early, so that a round ends within the period.
	period := time.Duration(k.period.Load()) * 7 / 8
	retry := min(again, period/4)
	pass = make(map[ring.Partition]ring.NodeID)
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.parts {
		p, n := &k.parts[i], ring.Partition(i)
		urgent := !p.urgent.IsZero() && !now.Before(p.urgent)
		late := now.UnixMilli()-p.ended >= period.Milliseconds() && now.Sub(p.tried) >= retry
		if !urgent && !late || p.filling {
			continue
		}
		switch who := k.initiator(r, n); {
		case who == k.o.Self:
			own = append(own, n)
		case urgent && who != 0 && now.Sub(p.tried) >= time.Second:
			p.tried = now
			pass[n] = who
		}
	}
	return own, pass
}

// passOn asks the initiator of a partition for an urgent round.
func (k *Keeper) passOn(n ring.Partition, to ring.NodeID) {
	var t Tally
	_, err := k.ask(k.ctx, to, binary.BigEndian.AppendUint16([]byte{opMark}, uint16(n)), &t)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.parts[n].urgent = time.Time{}
	} else {
		k.parts[n].urgent = time.Now().Add(time.Second)
	}
}

// runCollect removes the dead, a slot at a time.
func (k *Keeper) runCollect() {
	for k.rest(wakeCollect, time.Minute) {
		r := k.o.Ring()
		if r == nil {
			continue
		}
		for p := range r.Q {
			if !r.Holds(ring.Partition(p), k.o.Self) {
				continue
			}
			first, last := r.SlotRange(ring.Partition(p))
			n, err := k.o.Store.Collect(first, last, func(bytes int) bool { return k.pace.take(k.ctx, bytes) })
			k.Metrics.Collected.Add(uint64(n))
			if err != nil {
				if k.ctx.Err() == nil {
					k.o.Logger.Error().Err(err).Msg("deleted keys cannot be removed")
				}
				break
			}
		}
	}
}
