package antientropy

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
)

// partition is what a node knows of its copy of a partition.
type partition struct {
	// agreed is up to when this node has confirmed, durably, that it holds what all
	// replicas hold. collected is up to when all have confirmed it: the dead up to
	// there may be removed. A copy whose agreed is below another replica's
	// collected has lost its confirmation, hence maybe tombstones that the other
	// has removed: it is not to be trusted.
	agreed, collected hlc.Timestamp
	// ended is when a round among all replicas last ended equal, in Unix
	// milliseconds of this node.
	ended int64
	// filling: the copy lacks what it once held, and answers no reads.
	filling bool

	// The rest is not kept.

	clean   bool          // filling: nothing of what the others have collected is left
	pulled  []ring.NodeID // filling: the replicas whose content was taken
	urgent  time.Time     // a round is wanted at this time
	tried   time.Time     // the last round began
	because string        // why the last round did not end equal
	held    time.Time     // since when rounds have waited for hints; zero when none does
}

// marks is the durable part of a partition: agreed (8), collected (8), ended (8),
// filling (1), big endian.
func (p *partition) marks() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.agreed))
	b = binary.BigEndian.AppendUint64(b, uint64(p.collected))
	b = binary.BigEndian.AppendUint64(b, uint64(p.ended))
	if p.filling {
		return append(b, 1)
	}
	return append(b, 0)
}

func (p *partition) setMarks(b []byte) error {
	if len(b) != 25 || b[24] > 1 {
		return errMalformed
	}
	p.agreed, p.collected = hlc.Timestamp(binary.BigEndian.Uint64(b)), hlc.Timestamp(binary.BigEndian.Uint64(b[8:]))
	p.ended, p.filling = int64(binary.BigEndian.Uint64(b[16:])), b[24] == 1
	return nil
}

// Load takes over the ring: it reads the marks of the partitions, once. With
// emptied, the node's copies are to be filled. It comes before the node serves.
func (k *Keeper) Load(emptied bool) error {
	r := k.o.Ring()
	if r == nil {
		return nil
	}
	k.mu.Lock()
	known := len(k.parts) > 0
	k.mu.Unlock()
	if known {
		return nil
	}
	parts := make([]partition, r.Q)
	changed := make(map[ring.Partition][]byte)
	now := time.Now()
	for i := range parts {
		p := &parts[i]
		b, err := k.o.Store.Marks(ring.Partition(i))
		if err == nil && b != nil {
			err = p.setMarks(b)
		}
		if err != nil {
			return fmt.Errorf("marks of partition %d: %w", i, err)
		}
		// Where no round is known of, the first comes somewhere in the period.
		if p.ended == 0 {
			p.ended = now.Add(-rand.N(time.Duration(k.period.Load()))).UnixMilli()
		}
		if !r.Holds(ring.Partition(i), k.o.Self) {
			continue
		}
		if emptied && len(r.Replicas(ring.Partition(i))) > 1 && !p.filling {
			p.filling = true
			changed[ring.Partition(i)] = p.marks()
		}
		if p.filling {
			k.begun(1)
			k.o.Requests.SetFilled(ring.Partition(i), false)
		}
		if p.collected != 0 {
			first, last := r.SlotRange(ring.Partition(i))
			k.o.Store.SetDeathHorizon(first, last, p.collected)
		}
	}
	if len(changed) > 0 {
		if err := k.o.Store.SaveMarks(changed, true); err != nil {
			return err
		}
	}
	k.mu.Lock()
	k.parts = parts
	k.mu.Unlock()
	k.rouse(wakeFill)
	k.rouse(wakeRounds)
	return nil
}

// change changes partitions and saves their marks.
func (k *Keeper) change(ps []ring.Partition, sync bool, fn func(i int, p *partition)) error {
	saved := make(map[ring.Partition][]byte, len(ps))
	k.mu.Lock()
	for i, n := range ps {
		if int(n) >= len(k.parts) {
			k.mu.Unlock()
			return errMalformed
		}
		p := &k.parts[n]
		fn(i, p)
		saved[n] = p.marks()
	}
	k.mu.Unlock()
	return k.o.Store.SaveMarks(saved, sync)
}

// at returns a copy of what is known of a partition.
func (k *Keeper) at(n ring.Partition) partition {
	k.mu.Lock()
	defer k.mu.Unlock()
	if int(n) >= len(k.parts) {
		return partition{}
	}
	return k.parts[n]
}

// stateOf is how a partition stands here.
func (k *Keeper) stateOf(r *ring.Ring, n ring.Partition) state {
	if int(n) >= r.Q || !concerns(r, n, k.o.Self) {
		return state{flags: flagStranger}
	}
	p := k.at(n)
	l := leavesOf(r.Q, n)
	s := state{agreed: p.agreed, collected: p.collected, doubt: k.o.Requests.Doubt(n), sum: k.o.Store.Sum(l.lo, l.hi)}
	if !k.o.Store.Exact(l.lo, l.hi) || k.o.Requests.Purging() {
		s.flags |= flagInexact
	}
	if p.filling {
		s.flags |= flagFilling
		if !p.clean {
			s.flags |= flagUnclean
		}
	}
	return s
}

// concerns reports whether a node gets a partition's writes.
func concerns(r *ring.Ring, n ring.Partition, id ring.NodeID) bool {
	return r.Holds(n, id) || isPartner(r, n, id)
}

// isPartner reports whether a node gets a partition's writes beside a replica.
func isPartner(r *ring.Ring, n ring.Partition, id ring.NodeID) bool {
	_, partner, ok := r.Partner(n)
	return ok && partner == id
}

// distrust begins to fill a copy that has lost what it had confirmed.
func (k *Keeper) distrust(n ring.Partition, of ring.NodeID) error {
	if k.at(n).filling {
		return nil
	}
	k.o.Logger.Warn().Uint16("partition", uint16(n)).Str("than", k.o.Peers.Name(of)).
		Msg("this node's copy is older than what other replicas have collected: it is filled anew")
	return k.refill(n)
}

// refill begins to fill a copy.
func (k *Keeper) refill(n ring.Partition) error {
	// Reads end before anything else happens.
	k.o.Requests.SetFilled(n, false)
	began := false
	err := k.change([]ring.Partition{n}, true, func(_ int, p *partition) {
		if !p.filling {
			began = true
			p.filling, p.clean, p.pulled = true, false, nil
		}
	})
	if began {
		k.begun(1)
	}
	k.rouse(wakeFill)
	return err
}
