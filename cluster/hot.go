package cluster

import (
	"context"
	"sync"
	"time"

	"kvstore/cluster/hot"
	"kvstore/cluster/ring"
)

// Hot returns the top n keys and partitions of all members that this node reaches, added up, and how many
// members did not answer in time. Each counts what its own clients ask for.
func (n *Node) Hot(ctx context.Context, top int) (sum *hot.Report, silent int) {
	r := n.ring.Load()
	if r == nil {
		return hot.Merge(top, n.coord.Hot(time.Now())), 0
	}
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	var wg sync.WaitGroup
	answers := make([]*hot.Report, len(r.Members))
	for i := range r.Members {
		switch id := r.Members[i].ID; {
		case id == n.id.Node:
			answers[i] = n.coord.Hot(time.Now())
		case n.rpc.Connected(id):
			wg.Go(func() {
				if b, err := n.call(ctx, id, methodHot, nil); err == nil {
					answers[i], _ = hot.Decode(b) // one that is not understood counts as none
				}
			})
		}
	}
	wg.Wait()
	reports := make([]*hot.Report, 0, len(answers))
	for _, a := range answers {
		if a != nil {
			reports = append(reports, a)
		}
	}
	return hot.Merge(top, reports...), len(answers) - len(reports)
}

// HotHere returns what is hot among the requests of this node's own clients.
func (n *Node) HotHere() *hot.Report { return n.coord.Hot(time.Now()) }

// HotKeys returns of how many keys this node spreads the reads over their replicas.
func (n *Node) HotKeys() int { return n.coord.HotKeys() }

// Holders returns the names of the nodes that hold a partition, the first of its preference list first.
func (n *Node) Holders(p ring.Partition) (names []string) {
	r := n.ring.Load()
	if r == nil || int(p) >= r.Q {
		return nil
	}
	for _, id := range r.Replicas(p) {
		names = append(names, n.nameOf(id))
	}
	return names
}
