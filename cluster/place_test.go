package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// A node whose directory was emptied takes its old place in the ring, in a new
// incarnation, and the others fill it; it answers no reads of its own before.
func TestAnEmptiedDirectoryTakesItsOldPlace(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	put := &coordinator.Op{Name: "put", Write: true, Depends: coordinator.Never, Run: func(c *coordinator.Call) { c.Put(c.Args[0], 0) }}
	get := &coordinator.Op{Name: "get", Run: func(c *coordinator.Call) { c.Out = append(c.Out, c.Value...) }}
	o := Options{
		Dir: "data", Storage: storage.Options{FS: vfs.NewMem(), Logger: zerolog.Nop()}, Name: "beside",
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: "127.0.0.1:2", Join: []string{n.gossip.Self().Gossip},
		BootID: "boot", Ops: map[string]*coordinator.Op{"put": put}, Logger: zerolog.Nop(),
	}
	open := func() *Node {
		m, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	shut := func(m *Node) {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	m := open()
	soon(t, "both to be connected", func() bool { return m.epoch() != 0 && m.epoch() == n.epoch() && m.rpc.Connected(n.id.Node) })
	const keys = 200
	key := func(i int) []byte { return fmt.Appendf(nil, "key%d", i) }
	for i := range keys {
		soon(t, "a write", func() bool {
			return n.Do(t.Context(), &coordinator.Request{Op: put, Key: key(i), Args: [][]byte{key(i)}, Levels: coordinator.Levels{W: coordinator.All, Timeout: time.Second}}) == nil
		})
	}
	id, incarnation := m.id.Node, m.id.Incarnation
	o.RPC, o.Gossip = m.o.RPC, m.gossip.Self().Gossip
	shut(m)

	o.Storage.FS = vfs.NewMem()
	m = open()
	select {
	case err := <-m.Refused():
		if !errors.Is(err, ErrOldPlace) {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it was not given its old place")
	}
	shut(m)
	m = open()
	defer shut(m)
	if m.id.Node != id || m.id.Incarnation == incarnation {
		t.Fatalf("it is %v in incarnation %x, and was %v in %x", m.id.Node, m.id.Incarnation, id, incarnation)
	}
	if m.Entropy().Filling.Load() == 0 {
		t.Error("nothing is to be filled")
	}
	soon(t, "filling", func() bool { return m.Entropy().Filling.Load() == 0 })
	for i := range keys {
		r := &coordinator.Request{Op: get, Key: key(i), Levels: coordinator.Levels{R: coordinator.One, Timeout: time.Second}}
		if err := m.Do(t.Context(), r); err != nil || string(r.Out) != string(key(i)) {
			t.Fatalf("key %d is %q, %v", i, r.Out, err)
		}
	}
}
