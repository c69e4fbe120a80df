package sim

import (
	"context"
	"fmt"
	"testing"
	"time"

	"kvstore/cluster/rpc"
	"kvstore/cluster/rpc/rpctest"
)

// TestTransport runs the contract of transports, in real time: its events follow
// each other without waiting for what they cause.
func TestTransport(t *testing.T) {
	rpctest.Run(t, func(t *testing.T, hooks []rpctest.Hooks) rpctest.Nodes {
		l := newLoop(nil)
		n := newNetwork(l, 1)
		var nodes rpctest.Nodes
		var peers []rpc.Peer
		for i := range hooks {
			peers = append(peers, rpc.Peer{ID: rpctest.ID(i), Addr: fmt.Sprintf("10.0.0.%d:7000", i+1)})
		}
		var all []*Transport
		for i, h := range hooks {
			tr := n.listen(i, rpc.Options{Self: rpctest.ID(i), Listen: peers[i].Addr, Handler: h.Handler, BeforeFlush: h.BeforeFlush})
			nodes.Transports = append(nodes.Transports, tr)
			all = append(all, tr)
		}
		nodes.Cut = n.Cut
		for _, tr := range all {
			tr.SetPeers(peers)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.run(time.Minute, func() bool { return ctx.Err() != nil })
		}()
		t.Cleanup(func() {
			cancel()
			l.after(0, func() {})
			<-ended
			for _, tr := range all {
				if err := tr.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		return nodes
	})
}
