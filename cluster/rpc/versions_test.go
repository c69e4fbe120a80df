package rpc_test

import (
	"testing"

	"github.com/rs/zerolog"

	"kvstore/cluster/rpc"
	"kvstore/cluster/rpc/rpctest"
)

// Two releases speak the newest version that both know, whoever dials, and refuse each other when there is none.
func TestVersionsAreAgreedOn(t *testing.T) {
	for _, c := range []struct {
		a, b   rpc.Versions
		spoken uint16
		refuse string
	}{
		{rpc.Versions{}, rpc.Versions{}, rpc.Newest, ""},
		{rpc.Versions{}, rpc.Versions{Oldest: rpc.Newest, Newest: rpc.Newest + 1}, rpc.Newest, ""},
		{rpc.Versions{Oldest: 6, Newest: 7}, rpc.Versions{Oldest: 7, Newest: 8}, 7, ""},
		{rpc.Versions{Oldest: 5, Newest: 9}, rpc.Versions{Oldest: 6, Newest: 8}, 8, ""},
		{rpc.Versions{Oldest: 5, Newest: 6}, rpc.Versions{Oldest: 7, Newest: 8}, 0, "protocol version 5 to 6, this node speaks 7 to 8; run releases that have one in common"},
		{rpc.Versions{Oldest: 9, Newest: 9}, rpc.Versions{Oldest: 7, Newest: 8}, 0, "protocol version 9, this node speaks 7 to 8"},
	} {
		var a, b rpctest.Recorder
		var said logBuffer
		one := start(t, 1, &a, func(o *rpc.Options) { o.Versions, o.Logger = c.a, zerolog.New(&said) })
		two := start(t, 2, &b, func(o *rpc.Options) { o.Versions = c.b })
		one.SetPeers([]rpc.Peer{{ID: 2, Addr: two.Addr().String()}})
		if c.refuse != "" {
			await(t, c.refuse, func() bool { return said.contains(c.refuse) })
			if one.Connected(2) || one.Speaks(2) != 0 {
				t.Errorf("%v and %v are connected", c.a, c.b)
			}
			continue
		}
		two.SetPeers([]rpc.Peer{{ID: 1, Addr: one.Addr().String()}})
		await(t, "connection", func() bool { return one.Connected(2) && two.Connected(1) })
		if one.Speaks(2) != c.spoken || two.Speaks(1) != c.spoken {
			t.Errorf("%v and %v speak %d and %d, want %d", c.a, c.b, one.Speaks(2), two.Speaks(1), c.spoken)
		}
	}
}
