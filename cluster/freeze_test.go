package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// openAlone starts a node that founds a cluster by itself.
func openAlone(t *testing.T) *Node {
	t.Helper()
	n, err := Open(Options{
		Dir: "data", Storage: storage.Options{FS: vfs.NewMem(), Logger: zerolog.Nop()}, Name: "alone",
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: "127.0.0.1:1", Partitions: 16,
		BootID: "boot", Ops: map[string]*coordinator.Op{}, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// withAnother is the ring after n's that has one member more.
func withAnother(t *testing.T, n *Node) *ring.Ring {
	t.Helper()
	r := n.Ring()
	m := n.member()
	m.ID, m.Name = m.ID+1, "another"
	next, _, err := ring.Build(r, append(slices.Clone(r.Members), m), ring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func (n *Node) isFrozen() bool {
	n.freeze.mu.Lock()
	defer n.freeze.mu.Unlock()
	return n.freeze.frozen
}

// A promise that is neither used nor taken back ends by itself, and with it whatever may
// have been proposed by it: the ring has another successor then.
func TestAForgottenFreezeEnds(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	epoch := n.epoch()
	if err := n.serveFreeze(1, binary.BigEndian.AppendUint64(nil, uint64(epoch))); err != nil {
		t.Fatal(err)
	}
	if !n.isFrozen() {
		t.Fatal("its time was not over")
	}
	soon(t, "the node to take writes again", func() bool { return !n.isFrozen() })
	if n.epoch() == epoch {
		t.Error("what was proposed may be chosen still, over what is written now")
	}
	body := binary.BigEndian.AppendUint64(nil, uint64(n.epoch()))
	if err := n.serveFreeze(1, body); err != nil || !n.isFrozen() {
		t.Fatal(err)
	}
	if err := n.serveThaw(1, body); err != nil || n.isFrozen() {
		t.Error("it was not taken back")
	}
}

// Two who take in a node each have the promise, and one who gives up does not end it for
// the other.
func TestAFreezeEndsWhenAllGiveItBack(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	body := binary.BigEndian.AppendUint64(nil, uint64(n.epoch()))
	for _, from := range []ring.NodeID{1, 2} {
		if err := n.serveFreeze(from, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.serveThaw(1, body); err != nil || !n.isFrozen() {
		t.Error("one who gave up ended the promise that another goes by", err)
	}
	if err := n.serveThaw(2, body); err != nil || n.isFrozen() {
		t.Error("it was not taken back", err)
	}
}

// A promise that is asked for after the ring has changed is not given.
func TestALateFreezeIsRefused(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	body := binary.BigEndian.AppendUint64(nil, uint64(n.epoch()))
	if err := n.adopt(withAnother(t, n)); err != nil {
		t.Fatal(err)
	}
	if err := n.serveFreeze(1, body); !errors.Is(err, errThawed) {
		t.Fatal(err)
	}
}

// Flushes that arrive in another order than they were given leave the latest.
func TestAnEarlierFlushDoesNotReplaceALaterOne(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	flush := func(at uint64) []byte {
		body := binary.BigEndian.AppendUint64([]byte{0, 0}, at)
		if err := n.serveFlush(body); err != nil {
			t.Fatal(err)
		}
		return body[2:]
	}
	later := flush(200 << 16)
	flush(100 << 16)
	b, found, err := n.db.Get(nil, key.AppendSystem(nil, spaceFlushed, []byte{0}))
	if err != nil || !found || !slices.Equal(b, later) {
		t.Fatalf("on disk is %x, want %x: %v %v", b, later, found, err)
	}
}
