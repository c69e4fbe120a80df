package rpc

import (
	"errors"

	"kvstore/cluster/ring"
)

// Cut breaks the connections that t dialed to the peer.
func Cut(t *Transport, id ring.NodeID) {
	if p := (*t.peers.Load())[id]; p != nil {
		p.reconnect(errors.New("cut by a test"))
	}
}

// DialAs makes id a peer even when it is the transport's own.
func DialAs(t *Transport, id ring.NodeID, addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peers.Store(&map[ring.NodeID]*peer{id: t.startPeer(Peer{ID: id, Addr: addr})})
}
