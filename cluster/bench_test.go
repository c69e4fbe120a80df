package cluster_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"kvstore/cluster"
	"kvstore/cluster/coordinator"
	"kvstore/server/command"
)

// alone opens a node that is a ring by itself, on the real file system.
func alone(t testing.TB) *cluster.Node {
	t.Helper()
	return aloneAt(t, "127.0.0.1:0")
}

// aloneAt is alone at an address of gossip.
func aloneAt(t testing.TB, gossip string) *cluster.Node {
	t.Helper()
	o := cluster.Options{
		Dir: t.TempDir(), Name: "alone", RPC: "127.0.0.1:0", Gossip: gossip, Client: "127.0.0.1:0",
		Ops: map[string]*coordinator.Op{}, Logger: zerolog.Nop(),
	}
	n, err := cluster.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	<-n.Joined()
	return n
}

// finished is a request that ends inside Submit.
type finished struct {
	coordinator.Request
	ended bool
}

func (f *finished) Complete(*coordinator.Request) { f.ended = true }

// run does a command again and again on a few keys that are in memory.
func run(t testing.TB, n *cluster.Node, name string, words ...string) (again func()) {
	op := command.NewTable().Lookup([]byte(name)).Op
	const keys = 1000
	commands := make([][][]byte, keys)
	for i := range commands {
		commands[i] = append(commands[i], []byte(name), fmt.Appendf(nil, "key:%012d", i))
		for _, w := range words {
			commands[i] = append(commands[i], []byte(w))
		}
	}
	f := &finished{Request: coordinator.Request{Op: op, Proto: 2}}
	f.Owner = f
	i := 0
	return func() {
		args := commands[i%keys]
		i++
		f.Key, f.Args, f.ended = args[1], args, false
		n.Submit(&f.Request)
		n.EndTurn()
		if !f.ended || f.Err != nil {
			t.Fatalf("%s: ended %v, %v", name, f.ended, f.Err)
		}
	}
}

const value64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func BenchmarkSet(b *testing.B) {
	again := run(b, alone(b), "set", value64)
	b.ReportAllocs()
	for b.Loop() {
		again()
	}
}

func BenchmarkGet(b *testing.B) {
	n := alone(b)
	set, again := run(b, n, "set", value64), run(b, n, "get")
	for range 1000 {
		set()
	}
	b.ReportAllocs()
	for b.Loop() {
		again()
	}
}

func TestSetAndGetAllocateNothing(t *testing.T) {
	n := alone(t)
	for _, again := range []func(){run(t, n, "set", value64), run(t, n, "get")} {
		for range 2000 {
			again()
		}
		// A flush in the background allocates now and then.
		if allocs := testing.AllocsPerRun(5000, again); allocs > 0.2 && !raceEnabled {
			t.Errorf("%v allocations per operation", allocs)
		}
	}
}
