package rpc_test

import (
	"net"
	"testing"

	"kvstore/cluster/rpc"
	"kvstore/cluster/rpc/rpctest"
	"kvstore/resp"
)

// loops are the front end's event loops as a transport sees them.
type loops struct{ *resp.Loops }

func (l loops) Watch(conn net.Conn, s rpc.Stream) error { return l.Loops.Watch(conn, stream{s}) }

type stream struct{ rpc.Stream }

func (s stream) Open(c resp.Watched) (began bool, err error) { return s.Stream.Open(c) }

// onLoops returns options that have peers read by event loops of their own, n for each transport.
func onLoops(t testing.TB, n int) func(*rpc.Options) {
	return func(o *rpc.Options) {
		l, err := resp.NewLoops(n)
		if err != nil {
			t.Fatal(err)
		}
		if l != nil { // else the system has none
			t.Cleanup(l.Close)
			o.Loops = loops{l}
		}
	}
}

// forms runs a test with peers read by goroutines, and with peers read by event loops. with is for every transport's options.
func forms(t *testing.T, test func(t *testing.T, with func(*rpc.Options))) {
	t.Run("goroutines", func(t *testing.T) { test(t, func(*rpc.Options) {}) })
	t.Run("loops", func(t *testing.T) { test(t, onLoops(t, 1)) })
}

func TestContractOnLoops(t *testing.T) {
	for name, n := range map[string]int{"one loop": 1, "three loops": 3} {
		t.Run(name, func(t *testing.T) {
			rpctest.Run(t, func(t *testing.T, hooks []rpctest.Hooks) rpctest.Nodes { return maker(onLoops(t, n))(t, hooks) })
		})
	}
}
