package cluster

import (
	"cmp"
	"slices"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
)

// SetReplication changes the levels of requests that name none.
func (n *Node) SetReplication(l coordinator.Levels) { n.coord.SetDefaults(l.Or(n.coord.Defaults())) }

// SetTimeouts changes the time of requests that name none.
func (n *Node) SetTimeouts(read, write time.Duration) { n.coord.SetTimeouts(read, write) }

// Replication returns N, the ring's once there is one, and the levels of requests that name none.
func (n *Node) Replication() (int, coordinator.Levels) {
	if r := n.ring.Load(); r != nil {
		return r.N, n.coord.Defaults()
	}
	return n.o.Replication.N, n.coord.Defaults()
}

// noteReplication says so where the ring asks for other replicas than this node is
// configured for: once for each number that the ring has had.
func (n *Node) noteReplication(before, r *ring.Ring) {
	if before != nil && before.N == r.N && slices.Equal(before.PerDC, r.PerDC) {
		return
	}
	own := slices.SortedFunc(slices.Values(n.o.Replication.PerDC), func(a, b ring.DCReplicas) int { return cmp.Compare(a.DC, b.DC) })
	if n.o.Replication.N == r.N && slices.Equal(own, r.PerDC) {
		return
	}
	n.log.Warn().Str("configured", ring.ReplicationText(n.o.Replication.N, own)).Str("ring", ring.ReplicationText(r.N, r.PerDC)).
		Msg("the ring's number of replicas is another than replication.n or replication.per_dc here, and holds: set these to it, or change the ring's with kvstore cluster replication")
}
