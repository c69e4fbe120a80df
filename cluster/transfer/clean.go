package transfer

import (
	"fmt"
	"time"

	"kvstore/cluster/ring"
)

// leftEvery is how often it is looked for what is left here when the ring stays.
const leftEvery = 30 * time.Second

// clean drops, again and again, what this node holds although no ring gives it to it:
// what has left, what was begun and taken back, and what came for others and stayed.
func (d *Driver) clean() {
	var looked *ring.Ring
	var at time.Time
	for fails := 0; ; {
		// It comes to lie here by a change of the ring, or by a message that was late.
		if r := d.o.Ring(); r != nil && (r != looked || fails > 0 || time.Since(at) > leftEvery || leaves(r, d.o.Self)) {
			looked, at = r, time.Now()
			if err := d.dropAll(r); err != nil {
				fails++
			} else {
				fails = 0
			}
		}
		wait := d.o.Jitter(lookEvery)
		if fails > 0 {
			wait = max(wait, d.pause(fails))
		}
		if !sleep(d.ctx, wait) {
			return
		}
	}
}

// leaves reports whether a node was told to leave: it cannot before nothing is left, and
// what a late message brought would keep it.
func leaves(r *ring.Ring, id ring.NodeID) bool {
	m := r.Member(id)
	return m != nil && m.State == ring.Leaving
}

// dropAll drops what it can. What is left is noted, with the last reason.
func (d *Driver) dropAll(r *ring.Ring) (failure error) {
	found := d.o.Copies.Left(r)
	d.noteLeft(found, nil)
	if len(found) == 0 {
		return nil
	}
	var left []ring.Partition
	for _, p := range found {
		err := d.drop(r, p)
		if d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		if err != nil {
			left = append(left, p)
			failure = fmt.Errorf("partition %d cannot be dropped yet: %w", p, err)
			continue
		}
		d.Metrics.Dropped.Add(1)
	}
	d.noteLeft(left, failure)
	d.Wake() // it may be time to retire
	return failure
}

// drop gives a partition's replicas what they may lack of it, all of them, then
// forgets it, unless something came meanwhile: from somebody who goes by a newer ring,
// which may have made this node a replica again.
func (d *Driver) drop(r *ring.Ring, p ring.Partition) error {
	if _, err := d.o.Peers.Barrier(d.ctx, d.o.Self, r, p); err != nil {
		return err
	}
	mark, err := d.o.Copies.Mark(d.ctx, p)
	if err != nil {
		return err
	}
	moved := func(_ int, bytes int64) { d.Metrics.Bytes.Add(uint64(bytes)) }
	if err := d.give(d.ctx, r, p, moved); err != nil {
		return err
	}
	return d.o.Copies.Drop(d.ctx, r, p, mark)
}

func (d *Driver) noteLeft(left []ring.Partition, failure error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.leftWhy = left, ""
	if failure != nil {
		d.leftWhy = failure.Error()
	}
}
