package antientropy

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/cluster/ring"
)

// outsider is a world of three nodes with two replicas each, a partition, its replicas
// and the node that is none, as indexes of nodes.
func outsider(t *testing.T) (w *world, p ring.Partition, a, b, out int) {
	w = newWorldOf(t, 3, 2)
	list := w.ring.Replicas(p)
	a, b = int(list[0]-1), int(list[1]-1)
	return w, p, a, b, 3 - a - b
}

// names returns so many names of keys of a partition.
func (w *world) names(p ring.Partition, n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprint("key", i); w.ring.PartitionOf(ring.TokenOf(0, []byte(name))) == p {
			names = append(names, name)
		}
	}
	return names
}

// same checks that two nodes hold the same records of some keys.
func (w *world) same(names []string, a, b int) {
	w.t.Helper()
	for _, name := range names {
		if x, y := w.nodes[a].engine.at(name), w.nodes[b].engine.at(name); !bytes.Equal(x, y) {
			w.t.Errorf("%s differs: %x and %x", name, x, y)
		}
	}
}

// enter has a node take a partition from others, and returns how many keys came.
func (w *world) enter(p ring.Partition, at, enough int, from ...int) (keys int, err error) {
	ids := make([]ring.NodeID, len(from))
	for i, f := range from {
		ids[i] = w.nodes[f].id
	}
	err = w.nodes[at].keeper.Enter(w.t.Context(), p, ids, enough, func(n int, _ int64) { keys += n })
	return keys, err
}

func TestACopyEntersAndStandsWhereItsSourceStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, a, b, out := outsider(t)
		names := w.names(p, 2000)
		for _, name := range names {
			w.set(name, "v", a, b)
		}
		for _, name := range names[:100] {
			w.del(name, a, b)
		}
		keys, err := w.enter(p, out, 1, a)
		if err != nil || keys != len(names) {
			t.Fatal(keys, err)
		}
		w.same(names, a, out)
		// Again, after a few writes, it takes only those.
		w.set(names[500], "newer", a, b)
		w.set(names[700], "at the one that enters", out)
		if keys, err = w.enter(p, out, 1, a); err != nil || keys > 20 {
			t.Fatal(keys, err)
		}
		w.same(names, a, out)
		if got := w.nodes[a].get(names[700]); got != "at the one that enters" {
			t.Error(got)
		}
	})
}

// A copy from a time when the node held the partition brings nothing back whose
// tombstone is gone, neither when it enters again nor when it gives.
func TestAStaleCopyBringsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, a, b, out := outsider(t)
		names := w.names(p, 60)
		for _, name := range names {
			w.set(name, "v", a, b, out)
		}
		for _, name := range names[:20] {
			w.del(name, a, b)
		}
		w.nodes[a].keeper.Start()
		w.nodes[b].keeper.Start()
		time.Sleep(5 * time.Hour)
		if n := w.nodes[a].engine.len(); n != 40 {
			t.Fatalf("%d records are left", n)
		}
		w.set(names[0], "written again", out)
		late := names[0]
		if err := w.nodes[out].keeper.Give(t.Context(), p, w.nodes[a].id, nil); err != nil {
			t.Fatal(err)
		}
		if got := w.nodes[a].get(late); got != "written again" {
			t.Errorf("what is new was not given: %s", got)
		}
		if _, err := w.enter(p, out, 1, a); err != nil {
			t.Fatal(err)
		}
		for _, name := range names[1:20] {
			for i, n := range w.nodes {
				if got := n.get(name); got != "-" {
					t.Fatalf("%s is back at node %d: %s", name, i, got)
				}
			}
		}
		w.same(names, a, out)
		if mine, theirs := w.nodes[out].keeper.at(p), w.nodes[a].keeper.at(p); mine.collected != theirs.collected || mine.agreed != theirs.agreed || mine.collected == 0 {
			t.Errorf("it stands at %+v, its source at %+v", mine, theirs)
		}
	})
}

// Where nobody leaves, a copy takes from as many as it needs to meet every write.
func TestOneReplicaMoreMeetsEveryWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, a, b, out := outsider(t)
		names := w.names(p, 300)
		for i, name := range names {
			w.set(name, "v", []int{a, b}[i%2])
		}
		if _, err := w.enter(p, out, 0, a, b); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if got := w.nodes[out].get(name); got != "v" {
				t.Fatalf("%s is %s", name, got)
			}
		}
		w.nodes[b].down.Store(true)
		w.nodes[a].down.Store(true)
		if _, err := w.enter(p, out, 0, a, b); err == nil {
			t.Error("it entered without a source")
		}
	})
}

func TestNoHorizonMovesDuringATransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, a, b, _ := outsider(t)
		names := w.names(p, 20)
		for _, name := range names {
			w.del(name, a, b)
		}
		w.nodes[b].mu.Lock()
		w.nodes[b].moving = map[ring.Partition]bool{p: true}
		w.nodes[b].mu.Unlock()
		w.nodes[a].keeper.Start()
		w.nodes[b].keeper.Start()
		time.Sleep(5 * time.Hour)
		if n := w.nodes[a].engine.len(); n != len(names) {
			t.Errorf("%d records are left of %d", n, len(names))
		}
		w.nodes[b].mu.Lock()
		w.nodes[b].moving = nil
		w.nodes[b].mu.Unlock()
		time.Sleep(5 * time.Hour)
		if n := w.nodes[a].engine.len(); n != 0 {
			t.Errorf("%d records are left", n)
		}
	})
}

// A node appointed in the place of a dead one answers no reads until it is filled.
func TestAnAppointedCopyIsFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		names := w.names(1, 100)
		for _, name := range names {
			w.set(name, "v", 0, 1)
		}
		k := w.nodes[2].keeper
		if err := k.Appoint([]ring.Partition{1}); err != nil {
			t.Fatal(err)
		}
		if w.nodes[2].answers() {
			t.Error("it answers reads")
		}
		if err := k.Fill(t.Context(), 1, func(int, int64) {}); err != nil {
			t.Fatal(err)
		}
		w.same(names, 0, 2)
		if !w.nodes[2].answers() {
			t.Error("it answers no reads")
		}
		if err := k.Forget(1); err != nil || k.at(1).filling {
			t.Error(err)
		}
	})
}

// Where others are dead for good too, what is left of them is all there will be: the
// copies are filled, one after the other, from those that live.
func TestAnAppointedCopyIsFilledFromThoseThatLive(t *testing.T) {
	for _, dead := range [][]ring.NodeID{{2}, {1, 2}} {
		t.Run(fmt.Sprint(len(dead)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3)
				names := w.names(1, 50)
				for _, name := range names {
					w.set(name, "v", 0, 1)
				}
				for _, id := range dead {
					m, _ := w.ring.Index(id)
					w.ring.Members[m].State = ring.Removed
					w.nodes[id-1].down.Store(true)
				}
				k := w.nodes[2].keeper
				if err := k.Appoint([]ring.Partition{1}); err != nil {
					t.Fatal(err)
				}
				if err := k.Fill(t.Context(), 1, func(int, int64) {}); err != nil {
					t.Fatal(err)
				}
				if len(dead) == 1 {
					w.same(names, 0, 2)
				}
				if !w.nodes[2].answers() {
					t.Error("it answers no reads")
				}
			})
		})
	}
}

// The sums of a copy that has left the table, and is still written to and taken from, are
// made anew as well: who takes its place waits for them.
func TestAPartnersSumsAreMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _, _, _ := outsider(t)
		r, _, err := ring.Replan(w.ring, ring.Weight{ID: 1, W: 0.25})
		if err != nil || len(r.Transfers) == 0 || r.Transfers[0].From != 1 {
			t.Fatalf("%v, %v", r.Transfers, err)
		}
		moved := r.Transfers[0]
		for _, step := range []func(*ring.Ring, ring.NodeID, []ring.Partition) (*ring.Ring, error){ring.Begin, ring.Switch} {
			if r, err = step(r, moved.To, []ring.Partition{moved.Partition}); err != nil {
				t.Fatal(err)
			}
		}
		if w.ring = r; !isPartner(r, moved.Partition, 1) || r.Holds(moved.Partition, 1) {
			t.Fatal("it is no partner")
		}
		n := w.nodes[0]
		l := leavesOf(partitions, moved.Partition)
		n.engine.inexact[l.lo] = true
		n.keeper.Start()
		time.Sleep(time.Minute)
		if n.keeper.stateOf(r, moved.Partition).flags&flagInexact != 0 {
			t.Error("its sums are not made anew")
		}
	})
}

// A copy that is filled from two sides at once has not taken from two replicas when both
// took from the same one.
func TestTwoWhoFillACopyCountEachReplicaOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		names := w.names(1, 2)
		w.set(names[0], "v", 0)
		w.set(names[1], "v", 1)
		k := w.nodes[2].keeper
		if err := k.Appoint([]ring.Partition{1}); err != nil {
			t.Fatal(err)
		}
		w.meet = func(_, to *node, op byte) {
			if time.Sleep(time.Millisecond); op != opStates && to == w.nodes[1] {
				to.down.Store(true)
			}
		}
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { _ = k.Fill(t.Context(), 1, func(int, int64) {}) })
		}
		both.Wait()
		if w.nodes[2].answers() {
			t.Errorf("it answers reads, with %q and %q", w.nodes[2].get(names[0]), w.nodes[2].get(names[1]))
		}
	})
}

// A partition of few keys lies in runs of a leaf or two, with nothing between: it is taken
// in pages all the same, and not in a request for each.
func TestAPartitionOfFewKeysIsTakenInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, a, b, out := outsider(t)
		names := w.names(p, 3000)
		for _, name := range names {
			w.set(name, "v", a, b)
		}
		for _, name := range names[:3] { // written to both while the copy is made
			w.set(name, "newer", a, b, out)
		}
		var mu sync.Mutex
		asked := map[byte]int{}
		w.meet = func(_, _ *node, op byte) {
			mu.Lock()
			asked[op]++
			mu.Unlock()
		}
		keys, err := w.enter(p, out, 1, a)
		if err != nil || keys != len(names)-3 {
			t.Fatal(keys, err)
		}
		w.same(names, a, out)
		if asked[opPull] > 4+3 || asked[opList]+asked[opFetch] > 3 {
			t.Errorf("requests by kind: %v", asked)
		}
	})
}

// A partition of several pages comes whole when clients are served, too, in smaller ones;
// and what fails between two pages is told.
func TestPagesAreSmallerWhileClientsAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, clients := range []bool{false, true} {
			w, p, a, b, out := outsider(t)
			w.clients.Store(clients)
			names := w.names(p, 500)
			for _, name := range names {
				w.set(name, strings.Repeat("v", 2000), a, b)
			}
			pages, fails := 0, 0
			var mu sync.Mutex
			w.meet = func(_, to *node, op byte) {
				mu.Lock()
				defer mu.Unlock()
				if op != opPull {
					return
				}
				if pages++; pages == 2 && fails == 0 {
					fails++
					to.down.Store(true)
				}
			}
			if keys, err := w.enter(p, out, 1, a); err == nil || keys == 0 || keys >= len(names) {
				t.Fatalf("%d keys with a source that went away: %v", keys, err)
			}
			w.nodes[a].down.Store(false)
			pages = 2
			if _, err := w.enter(p, out, 1, a); err != nil {
				t.Fatal(err)
			}
			w.same(names, a, out)
			if least := 2 + 1000*1000/pageBytes; !clients && pages > least+3 {
				t.Errorf("%d pages, want %d", pages, least)
			} else if least := 2 + 800*1000/sliceBytes; clients && pages < least {
				t.Errorf("%d pages with clients, want %d at least", pages, least)
			}
		}
	})
}
