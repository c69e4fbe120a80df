package cluster

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
	"kvstore/storage/vfs"
)

// The number of replicas changes while clients write: fewer, more, by data centre, and
// back. Replicas that come have no source of their own, those that go have nobody in
// their place; every write that was acknowledged is read afterwards at every node.
func TestReplicationChangesUnderWrites(t *testing.T) {
	t.Parallel()
	f := newFlock(t)
	f.dcs = []string{"west", "east"} // n1 and n3 are in the east
	for range 4 {
		f.add()
	}
	f.rest(4)
	f.begin()
	soon(t, "some writes", func() bool { return f.writes.Load() > 1000 })
	for i, change := range []ring.Replication{
		{N: 2},
		{N: 4},
		{PerDC: []ring.DCReplicas{{DC: "east", N: 2}, {DC: "west", N: 1}}},
		{N: 3},
	} {
		f.replan(f.nodes[i%4], change)
		r := f.rest(4)
		for p := range ring.Partition(r.Q) {
			east := 0
			for _, id := range r.Replicas(p) {
				if r.Member(id).DC == "east" {
					east++
				}
			}
			if len(change.PerDC) > 0 && east != 2 {
				t.Errorf("after %v: partition %d has %d replicas in the east", change, p, east)
			}
		}
		if n, _ := f.nodes[0].Replication(); n != r.N {
			t.Errorf("after %v: a request's N is %d", change, n)
		}
	}
	f.end()
	t.Logf("%d writes, %d without success", f.writes.Load(), f.failed.Load())
	if f.failed.Load()*20 > f.writes.Load() {
		t.Errorf("%d of %d writes failed", f.failed.Load(), f.writes.Load())
	}
}

// The ring's number of replicas holds, and a node that is configured for another says so;
// a cluster whose first node could hold nothing is not founded.
func TestReplicationOfTheConfiguration(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	var log bytes.Buffer
	open := func(n int) *Node {
		o := aloneOptions(disk)
		log.Reset()
		o.Logger, o.Replication.N = zerolog.New(zerolog.SyncWriter(&log)), n
		node, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return node
	}
	for _, step := range []struct {
		configured int
		says       bool
	}{{2, false}, {3, true}, {2, false}} {
		n := open(step.configured)
		if held, _ := n.Replication(); held != 2 {
			t.Errorf("configured for %d: N is %d", step.configured, held)
		}
		if err := n.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if said := strings.Contains(log.String(), `"configured":"3","ring":"2"`); said != step.says {
			t.Errorf("configured for %d it says\n%s", step.configured, log.String())
		}
	}
	o := aloneOptions(vfs.NewMem())
	o.Replication.PerDC = []ring.DCReplicas{{DC: "east", N: 1}}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "data centre dc1, which the node is in, gets no replicas by east=1") {
		t.Errorf("founded all the same: %v", err)
	}
}
