package cli

import (
	"net"

	"kvstore/cluster"
	"kvstore/resp"
)

// peerLoops are the event loops of the front end as the cluster sees them.
type peerLoops struct{ loops *resp.Loops }

// Watch implements cluster.Loops.
func (l peerLoops) Watch(conn net.Conn, s cluster.Stream) error {
	return l.loops.Watch(conn, peerStream{s})
}

// peerStream is a cluster's stream as the loops see it.
type peerStream struct{ cluster.Stream }

// Open implements resp.Stream.
func (s peerStream) Open(c resp.Watched) (began bool, err error) { return s.Stream.Open(c) }
