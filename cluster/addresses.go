package cluster

import (
	"sync"

	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
)

// addresses are where members are now. The ring has the addresses that they
// joined with; a member that was started again with others says so by gossip.
type addresses struct {
	mu    sync.Mutex
	moved map[ring.NodeID]membership.Meta // guarded by mu: members whose addresses are not the ring's
}

// of returns a member with the addresses it has now.
func (a *addresses) of(m ring.Member) ring.Member {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now, ok := a.moved[m.ID]; ok {
		m.RPC, m.Gossip, m.Client = now.RPC, now.Gossip, now.Client
	}
	return m
}

// note keeps where a member of the ring says that it is, and reports whether
// that is news.
func (a *addresses) note(r *ring.Ring, m membership.Meta) bool {
	known := r.Member(m.NodeID)
	if known == nil || m.RPC == "" {
		return false
	}
	before := a.of(*known)
	a.mu.Lock()
	defer a.mu.Unlock()
	if before.RPC == m.RPC && before.Client == m.Client && before.Gossip == m.Gossip {
		return false
	}
	if a.moved == nil {
		a.moved = make(map[ring.NodeID]membership.Meta)
	}
	a.moved[m.NodeID] = m
	return true
}

// noteAddress follows a member that was started again at other addresses.
func (n *Node) noteAddress(m membership.Meta) {
	r := n.ring.Load()
	if r == nil || m.NodeID == n.id.Node || m.ClusterID != r.ClusterID || n.isStray(m) || !n.addresses.note(r, m) {
		return
	}
	n.log.Info().Str("node", m.Name).Str("rpc", m.RPC).Str("client", m.Client).Msg("a member has other addresses than it joined with")
	n.rpc.SetPeers(n.peersOf(r))
}

// peersOf returns the members of a ring, without those that are removed, and where to connect to
// them.
func (n *Node) peersOf(r *ring.Ring) []rpc.Peer {
	peers := make([]rpc.Peer, 0, len(r.Members))
	for i := range r.Members {
		if r.Members[i].State == ring.Removed {
			continue
		}
		m := n.addresses.of(r.Members[i])
		peers = append(peers, rpc.Peer{ID: m.ID, Addr: m.RPC})
	}
	return peers
}
