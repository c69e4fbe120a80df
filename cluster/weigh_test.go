package cluster

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

func TestWeigher(t *testing.T) {
	full := room{free: 10, stored: 90}
	roomy := room{free: 80, stored: 20}
	many := func(r room) []room { return []room{r, r} }
	weight := 1.4
	nearly := partOf(&ring.Member{Weight: weight * 0.75, Full: weight})
	if nearly == 0.75 {
		t.Fatal("this weight can be divided")
	}
	for _, tc := range []struct {
		name   string
		own    room
		others []room
		part   float64
		busy   int // of the looks, one in so many while something moves
		looks  int
		want   float64
	}{
		{"low for a moment", full, many(roomy), 1, 0, lowLooks - 1, 1},
		{"low", full, many(roomy), 1, 0, lowLooks, 0.75},
		{"low still", full, many(roomy), 1, 0, 2 * lowLooks, 0.5},
		{"never below the floor", full, many(roomy), 1, 0, 100 * lowLooks, 0.25},
		{"a part that is none of the steps", full, many(roomy), 0.6, 0, lowLooks, 0.25},
		{"low, and so are the others", full, many(room{free: 15, stored: 85}), 1, 0, 100, 1},
		{"low, and nobody else is there", full, nil, 1, 0, 100, 1},
		{"low, and one other has room", full, []room{full, roomy}, 1, 0, lowLooks, 0.75},
		{"low while something moves", full, many(roomy), 1, 1, 100, 1},
		{"low between moves", full, many(roomy), 1, lowLooks, 100, 1},
		{"nothing free, nothing stored", room{}, many(roomy), 1, 0, 100, 1},
		{"neither low nor roomy", room{free: 30, stored: 70}, many(roomy), 0.5, 0, 1000, 0.5},
		{"room for a moment", roomy, many(roomy), 0.5, 0, roomyLooks - 1, 0.5},
		{"room again", roomy, many(full), 0.5, 0, roomyLooks, 0.75},
		{"room for all", roomy, many(full), 0.25, 0, 3 * roomyLooks, 1},
		{"room, and not for more", room{free: 40, stored: 60}, many(roomy), 0.75, 0, 1000, 0.75},
		{"low still, at a weight that 0.75 does not divide", full, many(roomy), nearly, 0, lowLooks, 0.5},
		{"room again, at such a weight", roomy, many(full), nearly, 0, roomyLooks, 1},
		{"all is well", roomy, many(roomy), 1, 0, 1000, 1},
	} {
		var w weigher
		part := tc.part
		for i := range tc.looks {
			part = w.look(tc.own, tc.others, part, tc.busy == 0 || i%tc.busy != tc.busy-1)
		}
		if part != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, part, tc.want)
		}
	}
}

// Whatever a node stores, once nothing changes but by its own doing its part does not go up
// and down: it comes to rest, and stays.
func TestWeigherComesToRest(t *testing.T) {
	for stored := int64(0); stored <= 2000; stored += 7 { // what it has of its whole share, on a disk of 1000
		for _, elsewhere := range []float64{0.05, 0.25, 0.5, 0.9} {
			var w weigher
			part, turns, up := 1.0, 0, true
			others := []room{{free: int64(1000 * elsewhere), stored: int64(1000 * (1 - elsewhere))}}
			for range 4 * 4 * roomyLooks {
				has := min(int64(float64(stored)*part), 1000)
				next := w.look(room{1000 - has, has}, others, part, true)
				if next != part && (next > part) != up {
					turns, up = turns+1, next > part
				}
				part = next
				if part < weighSteps()[3] || part > 1 || math.IsNaN(part) {
					t.Fatalf("%d stored: it takes %v", stored, part)
				}
			}
			if turns > 1 {
				t.Errorf("%d stored, %v free elsewhere: it turned %d times", stored, elsewhere, turns)
			}
		}
	}
}

// smallDisk says how much is free as it is told.
type smallDisk struct {
	vfs.FS
	free atomic.Int64
}

func (d *smallDisk) Free(string) (int64, error) { return d.free.Load(), nil }

// A node whose disk is low holds less of the cluster's data, and its whole share when
// there is room again; the ring says so to everybody.
func TestALowDiskWeighsLess(t *testing.T) {
	t.Parallel()
	low := &smallDisk{FS: vfs.NewMem()}
	low.free.Store(1 << 30)
	f := &fleet{t: t}
	put := &coordinator.Op{Name: "put", Write: true, Depends: coordinator.Never, Run: func(c *coordinator.Call) { c.Put(c.Args[0], 0) }}
	for i := range 4 {
		o := Options{
			Dir: "data", Storage: storage.Options{FS: vfs.NewMem(), Logger: zerolog.Nop()}, Name: fmt.Sprint("n", i),
			Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: fmt.Sprintf("127.0.0.1:%d", i+1), Partitions: 16, BootID: "boot",
			Ops: map[string]*coordinator.Op{"put": put}, Logger: zerolog.Nop(), AutoWeight: true, weighEvery: 20 * time.Millisecond,
		}
		if i == 3 {
			o.Storage.FS = low
		}
		if i > 0 {
			o.Join = []string{f.nodes[0].gossip.Self().Gossip}
		}
		f.o, f.nodes = append(f.o, o), append(f.nodes, nil)
		f.open(i)
		t.Cleanup(func() { f.shut(i) })
	}
	within(t, "one ring", func() bool { return f.whole() && len(f.nodes[0].Ring().Transfers) == 0 })
	for i := range 200 {
		if err := f.nodes[i%4].Do(context.Background(), &coordinator.Request{Op: put, Key: fmt.Append(nil, i), Args: [][]byte{make([]byte, 1000)},
			Levels: coordinator.Levels{Timeout: 30 * time.Second}}); err != nil {
			t.Fatal(err)
		}
	}
	id, others := f.nodes[3].id.Node, f.nodes[:3]
	seen := func(weight, full float64) func() bool {
		return func() bool {
			for _, n := range f.nodes {
				if m := n.Ring().Member(id); m.Weight != weight || m.Full != full || len(n.Ring().Transfers) > 0 {
					return false
				}
			}
			return true
		}
	}
	share := holdings(f.nodes[0].Ring(), id)
	low.free.Store(1)
	within(t, "the floor", seen(0.25, 1))
	if held := holdings(others[0].Ring(), id); held >= share {
		t.Errorf("it holds %d replicas, and held %d", held, share)
	}
	low.free.Store(1 << 30)
	within(t, "the whole share", seen(1, 0))
	if held := holdings(others[0].Ring(), id); held != share {
		t.Errorf("it holds %d replicas again, and held %d", held, share)
	}
	if n := f.nodes[3].Relieved(); n != 6 {
		t.Errorf("it changed its weight %d times, and not three down and three up", n)
	}
	for _, n := range others {
		if n.Relieved() != 0 || n.Ring().Member(n.id.Node).Weight != 1 {
			t.Errorf("%s weighs %v", n.o.Name, n.Ring().Member(n.id.Node).Weight)
		}
	}
	free, stored := f.nodes[3].DiskRoom()
	if free != 1<<30 || stored == 0 {
		t.Errorf("%d bytes free, %d stored", free, stored)
	}
}

// within waits for what takes a busy machine its time.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come to %s", what)
		}
	}
}
