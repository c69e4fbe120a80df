package rpc_test

import (
	"testing"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/rpc/rpctest"
	"kvstore/cluster/wire"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cluster = 0xc1

// start makes a transport of cluster and closes it with the test. change may be nil.
func start(t testing.TB, id ring.NodeID, h rpc.Handler, change func(*rpc.Options)) *rpc.Transport {
	t.Helper()
	o := rpc.Options{Self: id, Listen: "127.0.0.1:0", Handler: h, ClusterID: func() uint64 { return cluster }, Silence: 20 * time.Second}
	if change != nil {
		change(&o)
	}
	tr, err := rpc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// acquaint makes all transports, with the ids 1, 2, ..., peers of each other.
func acquaint(all ...*rpc.Transport) {
	var peers []rpc.Peer
	for i, t := range all {
		peers = append(peers, rpc.Peer{ID: rpctest.ID(i), Addr: t.Addr().String()})
	}
	for _, t := range all {
		t.SetPeers(peers)
	}
}

// maker makes the contract's nodes over TCP. change may be nil.
func maker(change func(*rpc.Options)) rpctest.Maker {
	return func(t *testing.T, hooks []rpctest.Hooks) rpctest.Nodes {
		var n rpctest.Nodes
		var all []*rpc.Transport
		for i, h := range hooks {
			tr := start(t, rpctest.ID(i), h.Handler, func(o *rpc.Options) {
				o.BeforeFlush = h.BeforeFlush
				if change != nil {
					change(o)
				}
			})
			all, n.Transports = append(all, tr), append(n.Transports, tr)
		}
		acquaint(all...)
		// One of the two directions: both nodes see one loss.
		n.Cut = func(a, b int) { rpc.Cut(all[a], rpctest.ID(b)) }
		return n
	}
}

func TestContract(t *testing.T) { rpctest.Run(t, maker(nil)) }

// pairOf returns two connected transports.
func pairOf(t testing.TB, a, b *rpctest.Recorder, change func(*rpc.Options)) (*rpc.Transport, *rpc.Transport) {
	t.Helper()
	ta, tb := start(t, 1, a, change), start(t, 2, b, change)
	acquaint(ta, tb)
	await(t, "both to be up", func() bool { return ta.Connected(2) && tb.Connected(1) })
	return ta, tb
}

// await polls: for facts no event tells of.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func ping(id uint64) *wire.Message { return &wire.Message{Kind: wire.WriteReply, ID: id} }
