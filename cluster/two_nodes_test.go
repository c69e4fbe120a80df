package cluster

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hlc"
	"kvstore/cluster/membership"
	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// openBeside starts a node that joins another one's cluster, and waits until both
// are in one ring and connected.
func openBeside(t *testing.T, n *Node) *Node {
	t.Helper()
	m, err := Open(Options{
		Dir: "data", Storage: storage.Options{FS: vfs.NewMem(), Logger: zerolog.Nop()}, Name: "beside",
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: "127.0.0.1:2", Join: []string{n.gossip.Self().Gossip},
		BootID: "boot", Ops: map[string]*coordinator.Op{}, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	soon(t, "both to be connected", func() bool {
		return m.epoch() != 0 && m.epoch() == n.epoch() && n.rpc.Connected(m.id.Node) && m.rpc.Connected(n.id.Node)
	})
	return m
}

// soon polls: for facts no event tells of.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A node whose messages are of a newer ring is asked for it, without gossip.
func TestANewerRingIsFetchedFromWhoHasIt(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	soon(t, "gossip to rest", func() bool { return n.gossip.Self().Epoch == n.epoch() })
	next := withAnother(t, n)
	n.ring.Store(next)
	m.newerRing(n.id.Node, next.Epoch)
	soon(t, "the newer ring", func() bool { return m.epoch() == next.Epoch })
}

// A node that missed a flush hears of it when it is connected again, and keeps it.
func TestAMissedFlushIsCaughtUp(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	at, err := n.clock.Now()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.serveFlush(binary.BigEndian.AppendUint64([]byte{3, 5}, uint64(at))); err != nil {
		t.Fatal(err)
	}
	earlier := at - 1
	if err := m.serveFlush(binary.BigEndian.AppendUint64([]byte{2, 3}, uint64(earlier))); err != nil {
		t.Fatal(err)
	}
	(*events)(m).PeerUp(n.id.Node)
	(*events)(n).PeerUp(m.id.Node)
	for _, c := range []struct {
		db   uint8
		want hlc.Timestamp
	}{{0, 0}, {2, earlier}, {3, at}, {4, at}, {5, at}, {6, 0}} {
		for _, node := range []*Node{n, m} {
			soon(t, "the later horizon", func() bool { return node.replica.Horizon(c.db) == c.want })
			if c.want == 0 {
				continue
			}
			b, _, err := node.db.Get(nil, key.AppendSystem(nil, spaceFlushed, []byte{c.db}))
			if err != nil || len(b) != 8 || hlc.Timestamp(binary.BigEndian.Uint64(b)) != c.want {
				t.Errorf("database %d on disk: %x, %v", c.db, b, err)
			}
		}
	}
	if m.clock.Last() < at {
		t.Error("a write could come before the flush")
	}
}

// A node that leaves in order is dead to the others from then on, though it still
// answers, until it is there again.
func TestWhoLeavesIsDeadAtOnce(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	id := m.id.Node
	soon(t, "it to be alive", func() bool { return n.tracker.State(id) == membership.Alive })
	m.part()
	if got := n.tracker.State(id); got != membership.Dead {
		t.Fatalf("it is %v", got)
	}
	n.answered(id, time.Millisecond)
	n.observe(id, membership.GossipAlive)
	if got := n.tracker.State(id); got != membership.Dead || !n.rpc.Connected(id) {
		t.Fatalf("after an answer it is %v", got)
	}
}
