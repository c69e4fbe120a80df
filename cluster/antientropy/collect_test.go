package antientropy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// start starts the keepers' goroutines.
func (w *world) start() {
	for _, n := range w.nodes {
		n.keeper.Start()
	}
}

// mixed is a world whose nodes hold some keys, of which some are deleted or about
// to expire.
func mixed(t *testing.T, n int) *world {
	w := newWorld(t, n)
	everyone := []int{0, 1, 2}[:n]
	for i := range 40 {
		w.set(fmt.Sprint("key", i), "v", everyone...)
	}
	for i := range 10 {
		w.del(fmt.Sprint("key", i), everyone...)
	}
	soon := time.Now().Add(time.Minute).UnixMilli()
	for i := 10; i < 20; i++ {
		w.put(fmt.Sprint("key", i), version.Sibling{Kind: version.String, Value: []byte("v"), Deadline: soon}, everyone...)
	}
	return w
}

func TestTheDeadGoOnceAllHaveThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mixed(t, 3)
		w.start()
		time.Sleep(50 * time.Minute)
		if n := w.nodes[0].engine.len(); n != 40 {
			t.Errorf("%d records before the delay", n)
		}
		time.Sleep(3 * time.Hour)
		w.level()
		if n := w.nodes[0].engine.len(); n != 20 {
			t.Errorf("%d records are left", n)
		}
		if n := w.nodes[1].keeper.Metrics.Collected.Load(); n != 20 {
			t.Errorf("%d were collected", n)
		}
		if got := w.nodes[2].get("key39"); got != "v" {
			t.Error(got)
		}
	})
}

func TestNothingGoesWhileAReplicaIsAbsentOrHintsAreOut(t *testing.T) {
	for name, hinder := range map[string]func(w *world, on bool){
		"absent": func(w *world, on bool) { w.nodes[2].down.Store(on) },
		"hints": func(w *world, on bool) {
			w.nodes[1].mu.Lock()
			defer w.nodes[1].mu.Unlock()
			for p := range partitions {
				w.nodes[1].hints[ring.Partition(p)] = on
			}
		},
		"inexact": func(w *world, on bool) {
			for p := range partitions {
				if l := leavesOf(partitions, ring.Partition(p)).lo; on {
					w.nodes[1].engine.inexact[l] = true
				} else {
					delete(w.nodes[1].engine.inexact, l)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3)
				w.set("a", "v", 0, 1, 2)
				w.del("a", 0, 1) // the third has the value
				hinder(w, true)
				if name == "inexact" {
					for range 4 {
						time.Sleep(time.Hour)
						w.round(0)
					}
				} else {
					w.start()
					time.Sleep(4 * time.Hour)
				}
				if w.nodes[0].engine.at("a") == nil {
					t.Fatal("the tombstone is gone")
				}
				hinder(w, false)
				if name == "inexact" {
					w.start()
				}
				time.Sleep(3 * time.Hour)
				w.level()
				if n := w.nodes[2].engine.len(); n != 0 {
					t.Errorf("%d records are left", n)
				}
			})
		})
	}
}

// What was collected does not come back by a late message, and what a late one
// says of a key that is there is merged.
func TestLateObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.set("a", "v", 0, 1)
		w.del("a", 0, 1)
		w.set("b", "v", 0, 1)
		tombstone := w.nodes[0].engine.at("a")
		w.del("b", 0) // an acknowledgement of one: its replicate is late
		late := w.nodes[0].engine.at("b")
		w.start()
		time.Sleep(3 * time.Hour)
		if n := w.nodes[0].engine.len() + w.nodes[1].engine.len(); n != 0 {
			t.Fatalf("%d records are left", n)
		}
		w.bring("a", tombstone, 0)
		w.bring("b", late, 1)
		if n := w.nodes[0].engine.len() + w.nodes[1].engine.len(); n != 0 {
			t.Errorf("%d records came back", n)
		}
	})
}

// A replica that slept through a deletion and its collection, because an old copy
// of its disk came back, takes part again without what was deleted; what was
// written after is not lost.
func TestAReplicaThatSleptThroughACollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.set("gone", "v", 0, 1, 2)
		w.set("stays", "v", 0, 1, 2)
		w.set("changes", "old", 0, 1, 2)
		w.start()
		time.Sleep(3 * time.Hour)
		n := w.nodes[2]
		old := n.engine.image()
		w.del("gone", 0, 1, 2)
		w.set("changes", "new", 0, 1, 2)
		time.Sleep(4 * time.Hour)
		if w.nodes[0].engine.len() != 2 {
			t.Fatal("not collected")
		}
		n.down.Store(true)
		n.close()
		n.engine.restore(old)
		n.open(false)
		w.set("late", "v", 2) // before anybody could tell it
		if n.get("gone") != "v" {
			t.Fatal("the old copy is not one")
		}
		n.down.Store(false)
		if err := n.keeper.Introduce(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if n.answers() {
			t.Error("it answers reads")
		}
		n.keeper.Start()
		time.Sleep(time.Minute)
		if !n.answers() {
			t.Fatal("it answers no reads")
		}
		if tally := w.round(0); !tally.Complete {
			t.Fatal(tally.Reason)
		}
		w.level()
		for name, want := range map[string]string{"gone": "-", "stays": "v", "changes": "new", "late": "v"} {
			for _, n := range w.nodes {
				if got := n.get(name); got != want {
					t.Errorf("%s at %v is %s, want %s", name, n.id, got, want)
				}
			}
		}
	})
}

// Two of three old disks: what was written after the horizon is on them alone.
func TestMostReplicasAreBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.set("gone", "v", 0, 1, 2)
		w.start()
		time.Sleep(3 * time.Hour)
		var images []image
		for _, n := range w.nodes[1:] {
			images = append(images, n.engine.image())
		}
		w.del("gone", 0, 1, 2)
		time.Sleep(4 * time.Hour)
		for i, n := range w.nodes[1:] {
			n.down.Store(true)
			n.close()
			n.engine.restore(images[i])
			n.open(false)
		}
		w.set("acknowledged", "v", 1, 2)
		for _, n := range w.nodes[1:] {
			n.down.Store(false)
			n.keeper.Start()
		}
		time.Sleep(3 * time.Hour)
		w.level()
		for name, want := range map[string]string{"gone": "-", "acknowledged": "v"} {
			if got := w.nodes[2].get(name); got != want || !w.nodes[1].answers() || !w.nodes[2].answers() {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
	})
}

// An emptied node is filled by the others, soon, through a restart in the middle,
// and answers nothing before.
func TestAnEmptiedReplicaIsFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mixed(t, 3)
		for i := range 600 {
			w.set(fmt.Sprint("more", i), "v", i%3, (i+1)%3) // two replicas each
		}
		n := w.nodes[1]
		n.close()
		n.engine = newEngine()
		n.open(true)
		if n.answers() {
			t.Error("it answers reads")
		}
		w.nodes[2].down.Store(true)
		w.start()
		time.Sleep(time.Minute)
		if n.answers() {
			t.Error("it answers reads without what only the third one has")
		}
		n.down.Store(true)
		n.close()
		n.open(false)
		n.down.Store(false)
		if n.answers() {
			t.Error("a restart made it forget that it is being filled")
		}
		w.nodes[2].down.Store(false)
		n.keeper.Start()
		time.Sleep(10 * time.Second)
		if !n.answers() || n.keeper.Metrics.Filling.Load() != 0 {
			t.Fatal("not filled")
		}
		for i := range 600 {
			if name := fmt.Sprint("more", i); n.get(name) != "v" {
				t.Fatalf("%s is missing", name)
			}
		}
		time.Sleep(time.Hour)
		w.level()
	})
}

// The expired are purged by all and come back from none.
func TestExpiredKeysAreNotResurrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		soon := time.Now().Add(time.Second).UnixMilli()
		for i := range 20 {
			w.put(fmt.Sprint("key", i), version.Sibling{Kind: version.String, Value: []byte("v"), Deadline: soon}, i%3)
		}
		w.start()
		time.Sleep(3 * time.Hour)
		w.level()
		if n := w.nodes[0].engine.len(); n != 0 {
			t.Errorf("%d records are left", n)
		}
	})
}

// A peer's crash in the middle of a round costs the round, nothing else.
func TestCrashInTheMiddle(t *testing.T) {
	for _, op := range []byte{opSums, opList, opPull, opPush, opAgree, opCollect} {
		t.Run(fmt.Sprint(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := mixed(t, 3)
				w.set("first", "v", 0)
				w.set("last", "v", 2)
				w.meet = func(_, to *node, asked byte) {
					if asked == op && to.id == 3 {
						to.down.Store(true)
					}
				}
				time.Sleep(2 * time.Hour)
				tally := w.round(0)
				if tally.Complete && op != opCollect {
					t.Error("complete without a replica")
				}
				w.meet = nil
				w.nodes[2].down.Store(false)
				if tally := w.round(1); !tally.Complete {
					t.Error(tally.Reason)
				}
				w.start()
				time.Sleep(3 * time.Hour)
				w.level()
				if n := w.nodes[0].engine.len(); n != 22 {
					t.Errorf("%d records", n)
				}
			})
		})
	}
}
