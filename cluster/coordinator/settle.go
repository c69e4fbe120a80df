package coordinator

import (
	"kvstore/cluster/ring"
)

// unsettle notes that another node may have written what this one has not seen.
func (v *view) unsettle(p ring.Partition) {
	v.states[p].doubts.Add(1)
	v.states[p].unsettled.Store(true)
}

// Doubt returns how often a partition became unsettled: a comparison of all its
// replicas that began after a call of Doubt ends in SettlePartition with what it
// returned.
func (c *Coordinator) Doubt(p ring.Partition) uint32 {
	v := c.view.Load()
	if v == nil || int(p) >= len(v.states) {
		return 0
	}
	return v.states[p].doubts.Load()
}

// SettlePartition declares that this node's copy of a partition holds what all the
// other replicas held, unless it became unsettled since Doubt said doubt, or a
// replica cannot be reached now.
func (c *Coordinator) SettlePartition(p ring.Partition, doubt uint32) {
	v := c.view.Load()
	if v == nil || int(p) >= len(v.states) || v.own[p] < 0 || v.states[p].lacks.Load() != 0 {
		return
	}
	s := &v.states[p]
	if usable, _ := v.reachable(p); usable != v.places[p].writers() || s.doubts.Load() != doubt {
		return
	}
	s.unsettled.Store(false)
	if s.doubts.Load() != doubt {
		s.unsettled.Store(true)
	}
}

// Unsettled returns how many partitions that this node holds are unsettled.
func (c *Coordinator) Unsettled() (n int) {
	v := c.view.Load()
	if v == nil {
		return 0
	}
	for p := range v.states {
		if v.own[p] >= 0 && v.states[p].unsettled.Load() {
			n++
		}
	}
	return n
}

// SetFilled says whether this node's copy of a partition may answer reads. One that
// may not takes writes, and counts among their acknowledgements: what it lacks is
// from before.
func (c *Coordinator) SetFilled(p ring.Partition, filled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if filled {
		delete(c.unfilled, p)
	} else {
		c.unfilled[p] = true
	}
	if v := c.view.Load(); v != nil && int(p) < len(v.states) {
		if filled {
			v.states[p].lacks.And(^uint32(lacksPast))
		} else {
			v.unsettle(p)
			v.states[p].lacks.Or(lacksPast)
		}
	}
}

// Filled reports whether this node's copy of a token's partition may answer reads.
func (c *Coordinator) Filled(t ring.Token) bool {
	v := c.view.Load()
	return v == nil || v.states[v.ring.PartitionOf(t)].lacks.Load() == 0
}
