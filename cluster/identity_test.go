package cluster

import (
	"math/rand/v2"
	"testing"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/storage/vfs"
)

// TestIdentityAfterCrashes loses the process, and the power, before every change of the disk while a node saves who it
// is and how far its clock went. What was saved once is there, in the old state or the new one, and never damaged.
func TestIdentityAfterCrashes(t *testing.T) {
	const boot = "boot"
	disk := vfs.NewMem()
	r := rand.New(rand.NewPCG(1, 1))
	// saved is what a loader must find at least.
	var saved struct {
		node  ring.NodeID
		bound hlc.Timestamp
	}
	crashes := 0
	look := func(what string, ruin *vfs.Mem) {
		crashes++
		id, fresh, _, err := loadIdentity(ruin, "/node", boot, "", 1)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if saved.node != 0 && (fresh || id.Node != saved.node) {
			t.Fatalf("%s: node %d is node %d now", what, saved.node, id.Node)
		}
		if bound, err := loadClock(ruin, "/node"); err != nil || bound < saved.bound {
			t.Fatalf("%s: the clock is at %d, %d was saved: %v", what, bound, saved.bound, err)
		}
	}
	faulty := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, name string) error {
		if op.Mutates() {
			what := op.String() + " " + name
			look(what+", process killed", disk.Clone())
			for range 4 {
				look(what+", power lost", disk.CrashClone(r))
			}
		}
		return nil
	}}
	if err := disk.MkdirAll("/node"); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		id, fresh, reborn, err := loadIdentity(faulty, "/node", boot, "", 1)
		if err != nil || fresh != (round == 0) || reborn {
			t.Fatalf("round %d: fresh %v, reborn %v, %v", round, fresh, reborn, err)
		}
		saved.node = id.Node
		for i := range 3 {
			bound := hlc.Timestamp(1000*round + i + 1)
			if err := saveClock(faulty, "/node", bound); err != nil {
				t.Fatal(err)
			}
			saved.bound = bound
		}
		id.Clean = true
		if err := id.save(faulty, "/node"); err != nil {
			t.Fatal(err)
		}
	}
	if crashes < 100 {
		t.Errorf("only %d crashes", crashes)
	}
}
