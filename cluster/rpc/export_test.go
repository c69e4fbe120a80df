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
