package ring

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Options shape the ring that Build makes. Fields that are zero keep what the
// previous ring has.
type Options struct {
	ClusterID   uint64
	ClusterName string
	Partitions  int // Q, fixed once the cluster is created; default DefaultPartitions
	N           int // replicas asked for; default 3, or the sum of PerDC
	PerDC       []DCReplicas
}

// DefaultN is the number of replicas of a cluster that asks for none.
const DefaultN = 3

// Build returns the ring of the given members that follows prev, which is nil
// for a new cluster, and the plan of what moves. Its table is the new one already,
// with no transfers, so it is for rings that hold nothing. It is a pure function:
// every node that builds from the same ring and members gets the same table.
func Build(prev *Ring, members []Member, o Options) (*Ring, *Plan, error) {
	r, err := successor(prev, o)
	if err != nil {
		return nil, nil, err
	}
	if r.Members, err = sortMembers(members); err != nil {
		return nil, nil, err
	}
	c := newClaim(r, prev, nil)
	if len(c.nodes) == 0 {
		return nil, nil, errors.New("no member can hold partitions: all are leaving or weigh nothing")
	}
	c.run()
	c.layTable(r)
	if err := r.assemble(); err != nil {
		return nil, nil, err
	}
	plan := c.plan(r, prev)
	plan.Transfers = movesOf(r, prev)
	return r, plan, nil
}

// successor returns a ring with everything but members and table.
func successor(prev *Ring, o Options) (*Ring, error) {
	r := &Ring{ClusterID: o.ClusterID, ClusterName: o.ClusterName, Epoch: 1, Q: o.Partitions, N: o.N, PerDC: sortPerDC(o.PerDC)}
	if prev != nil {
		if o.Partitions != 0 && o.Partitions != prev.Q {
			return nil, fmt.Errorf("%d partitions: the cluster has %d, and keeps them", o.Partitions, prev.Q)
		}
		if o.ClusterID != 0 && o.ClusterID != prev.ClusterID {
			return nil, fmt.Errorf("cluster id %x: the ring is of %x", o.ClusterID, prev.ClusterID)
		}
		r.ClusterID, r.Epoch, r.Q = prev.ClusterID, prev.Epoch+1, prev.Q
		r.Generation, r.Paused = prev.Generation, prev.Paused
		r.Prev, r.Gone = prev.Voters(), slices.Clone(prev.Gone)
		if r.ClusterName == "" {
			r.ClusterName = prev.ClusterName
		}
		if r.N == 0 && len(r.PerDC) == 0 {
			r.N, r.PerDC = prev.N, slices.Clone(prev.PerDC)
		}
	}
	if r.N == 0 {
		for _, dc := range r.PerDC {
			r.N += dc.N
		}
	}
	if r.Q == 0 {
		r.Q = DefaultPartitions
	}
	if r.N == 0 {
		r.N = DefaultN
	}
	r.Planned = r.Epoch
	return r, cmp.Or(checkShape(r.Q, r.N), checkPerDC(r.N, r.PerDC))
}
