package antientropy

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"kvstore/cluster/ring"
)

// repairWithin bounds one partition of a repair.
const repairWithin = 10 * time.Minute

// Job is a repair that was asked for: rounds of some partitions, at once.
type Job struct {
	Partitions int // to be compared
	Done       int // of them, with or without success
	Began      time.Time
	Ended      time.Time // zero while it runs
	Tally                // the sum over partitions
	Incomplete int       // partitions that did not end equal
	Errors     []string  // why, each reason once
}

// maxErrors bounds the reasons that a job keeps.
const maxErrors = 16

// Repair begins a repair of the partitions from first to last, on whichever nodes
// hold them. One runs at a time: the one under way is returned otherwise, and
// false.
func (k *Keeper) Repair(first, last ring.Partition) (began bool, err error) {
	r := k.o.Ring()
	if r == nil {
		return false, errNoRing
	}
	if int(last) >= r.Q || first > last {
		return false, fmt.Errorf("there is no partition %d: the ring has those from 0 to %d", last, r.Q-1)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.job != nil && k.job.Ended.IsZero() {
		return false, nil
	}
	k.job = &Job{Partitions: int(last-first) + 1, Began: time.Now(), Tally: Tally{Complete: true}}
	k.wg.Go(func() { k.repair(r, first, last) })
	return true, nil
}

// LastRepair returns the repair under way or the last one, nil if there was none.
func (k *Keeper) LastRepair() *Job {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.job == nil {
		return nil
	}
	j := *k.job
	j.Errors = slices.Clone(j.Errors)
	return &j
}

// repair has each partition's initiator run its round, a few at a time.
func (k *Keeper) repair(r *ring.Ring, first, last ring.Partition) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2*atOnce)
	for p := int(first); p <= int(last) && k.ctx.Err() == nil; p++ {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			k.repaired(k.repairOne(r, ring.Partition(p)))
		})
	}
	wg.Wait()
	k.mu.Lock()
	k.job.Ended = time.Now()
	k.mu.Unlock()
}

func (k *Keeper) repairOne(r *ring.Ring, p ring.Partition) Tally {
	ctx, cancel := context.WithTimeout(k.ctx, repairWithin)
	defer cancel()
	switch who := k.initiator(r, p); who {
	case 0:
		return Tally{Reason: "none of the replicas can be reached"}
	case k.o.Self:
		return k.Round(ctx, []ring.Partition{p})[0]
	default:
		defer k.whileConnected(who, cancel)()
		answer, err := k.o.Peers.Ask(ctx, who, binary.BigEndian.AppendUint16([]byte{opRepair}, uint16(p)))
		m := &reader{b: answer}
		t := Tally{Keys: int64(m.u64()), Differing: int64(m.u64()), Moved: int64(m.u64()), Complete: m.byte() == 1, Reason: string(m.b)}
		if err == nil {
			err = m.err()
		}
		if err != nil {
			return Tally{Reason: fmt.Sprintf("node %s: %v", k.o.Peers.Name(who), err)}
		}
		return t
	}
}

// whileConnected calls cancel when a node is lost, which no answer would tell, until
// the function it returns is called.
func (k *Keeper) whileConnected(id ring.NodeID, cancel func()) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		every := time.NewTicker(time.Second)
		defer every.Stop()
		for k.o.Peers.Connected(id) {
			select {
			case <-quit:
				return
			case <-every.C:
			}
		}
		cancel()
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}

// repaired adds a partition to the job.
func (k *Keeper) repaired(t Tally) {
	k.mu.Lock()
	defer k.mu.Unlock()
	j := k.job
	j.Done++
	j.add(&t)
	if t.Complete {
		return
	}
	j.Complete = false
	j.Incomplete++
	if len(j.Errors) < maxErrors && !slices.Contains(j.Errors, t.Reason) {
		j.Errors = append(j.Errors, t.Reason)
	}
}

func (k *Keeper) serveRepair(ctx context.Context, r *ring.Ring, m *reader) ([]byte, error) {
	p := ring.Partition(m.u16())
	if m.bad || int(p) >= r.Q {
		return nil, errMalformed
	}
	t := k.Round(ctx, []ring.Partition{p})[0]
	out := binary.BigEndian.AppendUint64(nil, uint64(t.Keys))
	out = binary.BigEndian.AppendUint64(out, uint64(t.Differing))
	out = binary.BigEndian.AppendUint64(out, uint64(t.Moved))
	return append(append(out, flag(t.Complete, 1)), t.Reason...), nil
}
