package cluster

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
	"kvstore/storage/vfs"
)

func TestReportCodec(t *testing.T) {
	for _, r := range []Report{
		{},
		{Planned: 1, Waiting: 2, Moving: 3, Dropping: 4, Keys: 5, AllKeys: 6, Bytes: 7, AllBytes: 8, Rate: 9.5, Left: 10 * time.Second, KeyBytes: 11.25, Free: 14, Stored: 15, Most: 16, Moves: 17, Copied: 18, Reason: "n2 is away", Holds: []int64{12, 0, 13}},
	} {
		got, err := decodeReport(r.append(nil))
		if err != nil || !reflect.DeepEqual(*got, r) {
			t.Errorf("got %+v, %v, want %+v", got, err, r)
		}
	}
	long := Report{Reason: string(bytes.Repeat([]byte("x"), 2*maxReason))}
	if got, err := decodeReport(long.append(nil)); err != nil || len(got.Reason) != maxReason {
		t.Errorf("a long reason: %v", err)
	}
}

// What is decoded is encoded as it was, and nothing panics.
func FuzzDecodeReport(f *testing.F) {
	f.Add((&Report{Reason: "why", Holds: []int64{1, 2}}).append(nil))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReport(b)
		if err == nil && len(r.Reason) <= maxReason && !bytes.Equal(r.append(nil), b) {
			t.Errorf("%x became %x", b, r.append(nil))
		}
	})
}

// How much a plan gave a node to do is known after it was started again; of a plan that is not
// the ring's, or a damaged file, it is what is left.
func TestAPlanIsRemembered(t *testing.T) {
	members := []ring.Member{{ID: 1, Name: "n1", Weight: 1}, {ID: 2, Name: "n2", Weight: 1}}
	r, _, err := ring.Build(nil, members[:1], ring.Options{ClusterID: 1, ClusterName: "c", Partitions: 8, N: 1})
	if err != nil {
		t.Fatal(err)
	}
	disk := vfs.NewMem()
	if err := disk.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	start := func() *Node {
		return &Node{fs: disk, o: Options{Dir: "data"}, id: identity{Node: 2}, log: zerolog.Nop()}
	}
	n := start()
	planned, err := ring.Join(r, members[1], true)
	if err != nil {
		t.Fatal(err)
	}
	n.followPlan(planned)
	moved := planned
	for _, step := range []func(*ring.Ring, ring.NodeID, []ring.Partition) (*ring.Ring, error){ring.Begin, ring.Switch, ring.Finish} {
		if moved, err = step(moved, 2, []ring.Partition{planned.Transfers[0].Partition}); err != nil {
			t.Fatal(err)
		}
		n.followPlan(moved)
	}
	if got := n.planned.transfers.Load(); got != 4 || len(moved.Transfers) != 3 {
		t.Fatalf("%d were planned, %d are left", got, len(moved.Transfers))
	}
	n = start()
	if n.loadPlan(moved); n.planned.transfers.Load() != 4 {
		t.Errorf("started again, it knows of %d", n.planned.transfers.Load())
	}
	another, err := ring.Abort(moved)
	if err != nil {
		t.Fatal(err)
	}
	n = start()
	if n.loadPlan(another); n.planned.transfers.Load() != 0 {
		t.Errorf("of another plan it knows of %d", n.planned.transfers.Load())
	}
	if err := writeDurably(disk, "data", plannedName, []byte("nonsense of twenty-four.")); err != nil {
		t.Fatal(err)
	}
	n = start()
	if n.loadPlan(moved); n.planned.transfers.Load() != 3 {
		t.Errorf("from a damaged file it knows of %d", n.planned.transfers.Load())
	}
}
