package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// openAlone starts a node that founds a cluster by itself.
func openAlone(t *testing.T) *Node { return openAloneOn(t, vfs.NewMem()) }

// openAloneOn starts it in a directory that may be one of before.
func openAloneOn(t *testing.T, disk vfs.FS) *Node {
	t.Helper()
	n, err := Open(Options{
		Dir: "data", Storage: storage.Options{FS: disk, Logger: zerolog.Nop()}, Name: "alone",
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
	if err := new(Node).serveFreeze(1, body); !errors.Is(err, errThawed) {
		t.Errorf("a node without a ring: %v", err)
	}
}

// A member that starts again keeps its promise until the ring has a successor.
func TestAFreezeOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	n := openAloneOn(t, disk)
	epoch := n.epoch()
	body := binary.BigEndian.AppendUint64(nil, uint64(epoch))
	if err := n.serveFreeze(1, body); err != nil {
		t.Fatal(err)
	}
	if err := n.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	n = openAloneOn(t, disk)
	if n.epoch() == epoch && !n.isFrozen() {
		t.Fatal("it takes writes, and the change that was asked for may be chosen")
	}
	soon(t, "the node to take writes again", func() bool { return !n.isFrozen() })
	if n.epoch() == epoch {
		t.Error("what was proposed may be chosen still, over what is written now")
	}
	if err := n.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n = openAloneOn(t, disk); n.isFrozen() {
		t.Error("a promise that has ended is kept")
	}
}

// A ring of a later generation ends the promise, whatever its epoch.
func TestAFreezeEndsWithTheGeneration(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	old := n.Ring()
	for range 3 {
		next, err := ring.Renew(n.Ring())
		if err == nil {
			err = n.adopt(next)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := n.serveFreeze(1, binary.BigEndian.AppendUint64(nil, uint64(n.epoch()))); err != nil {
		t.Fatal(err)
	}
	forced, _, err := ring.Recover(old, []ring.NodeID{n.id.Node})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.adopt(forced); err != nil || n.epoch() >= old.Epoch+3 || n.isFrozen() {
		t.Fatalf("epoch %d, frozen %v: %v", n.epoch(), n.isFrozen(), err)
	}
	if err := n.serveFreeze(1, binary.BigEndian.AppendUint64(nil, uint64(n.epoch()))); !errors.Is(err, errThawed) {
		t.Fatalf("promised by the ring of another generation: %v", err)
	}
}

// A member that is away does not keep a node from joining: it may hold data, as any
// member may that holds some, and partitions move.
func TestANodeJoinsWhileAMemberIsAway(t *testing.T) {
	t.Parallel()
	f := openFleet(t, 3, inMemory)
	f.shut(2)
	o := f.o[2]
	o.Storage.FS, o.Name, o.Gossip, o.RPC = vfs.NewMem(), "n3", "127.0.0.1:0", "127.0.0.1:0"
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	select {
	case <-n.Joined():
	case <-time.After(time.Minute):
		t.Fatal("it was not taken in")
	}
	if r := n.Ring(); len(r.Members) != 4 || len(r.Transfers) == 0 {
		t.Errorf("%d members, %d transfers", len(r.Members), len(r.Transfers))
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
