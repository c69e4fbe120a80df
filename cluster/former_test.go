package cluster

import (
	"context"
	"encoding/binary"
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

// A proposal that is neither adopted nor aborted ends by itself, whatever else
// the keeper of the ring was woken for meanwhile.
func TestAForgottenProposalEnds(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	if err := n.servePrepare(withAnother(t, n).Encode()); err != nil {
		t.Fatal(err)
	}
	n.resolveProposal() // something else is news
	n.former.mu.Lock()
	open := n.former.proposal != nil
	n.former.mu.Unlock()
	if !open {
		t.Fatal("its time was not over")
	}
	for end := time.Now().Add(prepareFor + 5*time.Second); ; time.Sleep(50 * time.Millisecond) {
		n.former.mu.Lock()
		open := n.former.proposal != nil
		n.former.mu.Unlock()
		if !open {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the node refuses writes for ever")
		}
	}
}

// A proposal that arrives after its ring was adopted freezes nothing.
func TestALateProposalIsRefused(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	next := withAnother(t, n)
	if err := n.adopt(next); err != nil {
		t.Fatal(err)
	}
	if err := n.servePrepare(next.Encode()); err == nil {
		t.Fatal("taken")
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
