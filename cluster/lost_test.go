package cluster

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"kvstore/cluster/consensus"
	"kvstore/cluster/coordinator"
	"kvstore/storage/vfs"
)

// loseRing removes what a directory knows of the ring and of the votes on it.
func loseRing(t *testing.T, disk vfs.FS) {
	t.Helper()
	for _, name := range []string{ringName, registerName} {
		if err := disk.Remove(filepath.Join("data", name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// A member that has lost the ring and its votes hears the ring from the others, whatever
// it is configured to join, and votes in no life in which it may have voted already.
func TestAMemberThatLostItsRingComesBack(t *testing.T) {
	t.Parallel()
	disks := []vfs.FS{vfs.NewMem(), vfs.NewMem(), vfs.NewMem()}
	f := openFleet(t, 3, func(i int) vfs.FS { return disks[i] })
	base, life := f.nodes[0].Ring(), f.nodes[0].id.Incarnation
	cluster, voter := base.ClusterID, base.Member(f.nodes[0].id.Node)
	if voter.Incarnation != life {
		t.Fatal("it had no vote")
	}
	f.shut(0)
	loseRing(t, disks[0])
	f.open(0) // its cluster.join is empty
	n := f.nodes[0]
	if r := n.Ring(); n.id.Incarnation == life || r != nil && r.ClusterID != cluster {
		t.Fatalf("life %x is %x, ring %v", life, n.id.Incarnation, r)
	}
	ask := consensus.Request{Kind: consensus.Prepare, Base: consensus.BaseOf(base), Ballot: consensus.Ballot{Counter: 1 << 20, Node: 1}}
	var answer consensus.Answer
	if b, err := n.register.acceptor.Handle(ask.Encode()); err != nil || answer.Decode(b) != nil || answer.Verdict == consensus.Yes {
		t.Fatalf("it votes on what follows a ring in which it may have voted already: %+v, %v", answer, err)
	}
	soon(t, "the ring to be heard", f.whole)
	if r := n.Ring(); r.ClusterID != cluster || len(r.Members) != 3 {
		t.Fatalf("cluster %x of %d members", r.ClusterID, len(r.Members))
	}
	soon(t, "the ring to know the new life", func() bool {
		m := n.Ring().Member(voter.ID)
		return m.Incarnation == n.id.Incarnation
	})
	if _, err := f.nodes[1].Change(t.Context(), heavier(voter.ID)); err != nil {
		t.Fatal(err)
	}
}

// The only member of a cluster that has lost the ring founds no other one.
func TestTheOnlyMemberThatLostItsRingFoundsNone(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	n := openAloneOn(t, disk)
	if err := n.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	loseRing(t, disk)
	n = openAloneOn(t, disk)
	if err := n.Ready(); n.Ring() != nil || !errors.Is(err, coordinator.ErrNotReady) {
		t.Fatalf("ring %v: %v", n.Ring(), err)
	}
	if _, err := n.Change(t.Context(), heavier(n.id.Node)); !errors.Is(err, consensus.ErrNoRing) {
		t.Fatal(err)
	}
}
