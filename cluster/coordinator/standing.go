package coordinator

import (
	"sync"

	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// standing are the incarnations in which this node makes events of partitions that
// it holds no replica of. They are not its own, because it drops such copies once
// their replicas have them. What it knows of a key begins anew after that, and an
// event of the same incarnation would claim to have seen, and replaced, those that
// went with the copy: see package version, What must stay true. So the first event
// after a copy of the partition was dropped, and after a start, is of an
// incarnation that never was before.
type standing struct {
	mu sync.Mutex
	in map[ring.Partition]version.Incarnation // guarded by mu
}

// incarnation returns in which incarnation this node makes an event. The caller holds
// the key's lock.
func (c *Coordinator) incarnation(v *view, p ring.Partition) version.Incarnation {
	if v.own[p] >= 0 {
		return c.o.Incarnation
	}
	s := &c.standing
	s.mu.Lock()
	defer s.mu.Unlock()
	if in, found := s.in[p]; found {
		return in
	}
	if s.in == nil {
		s.in = make(map[ring.Partition]version.Incarnation)
	}
	in := c.o.NewIncarnation()
	s.in[p] = in
	return in
}

// Dropped says that copies of keys of a partition, which this node had kept for others
// or is no replica of any more, are dropped. The caller holds the lock of each of the
// keys, or knows that none is written.
func (c *Coordinator) Dropped(p ring.Partition) {
	c.standing.mu.Lock()
	defer c.standing.mu.Unlock()
	delete(c.standing.in, p)
}
