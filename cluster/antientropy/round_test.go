package antientropy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/cluster/ring"
)

// Ten million keys are as many leaves as any other number: what moves is sums.
func TestEqualReplicasMoveLittleAndReadNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for i := range w.nodes[0].engine.sums {
			w.nodes[0].engine.sums[i] = rand.Uint64()
		}
		w.nodes[1].engine.sums = w.nodes[0].engine.sums
		w.nodes[0].engine.reblock()
		w.nodes[1].engine.reblock()
		r, _, err := ring.Build(nil, w.ring.Members, ring.Options{ClusterID: 1, Partitions: 256, N: 2})
		if err != nil {
			t.Fatal(err)
		}
		w.ring = r
		var ps []ring.Partition
		for p := range r.Q {
			ps = append(ps, ring.Partition(p))
		}
		for _, n := range w.nodes {
			n.close()
			n.engine.marks = map[ring.Partition][]byte{}
			n.open(false)
		}
		began := time.Now()
		for p, tally := range w.nodes[0].keeper.Round(t.Context(), ps) {
			if !tally.Complete {
				t.Fatalf("partition %d: %s", p, tally.Reason)
			}
		}
		if moved := w.moved.Load(); moved > 64<<10 {
			t.Errorf("%d bytes moved", moved)
		}
		if reads := w.nodes[0].engine.reads.Load() + w.nodes[1].engine.reads.Load(); reads != 0 {
			t.Errorf("%d reads of records", reads)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestDifferingKeysTravelBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		const keys = 5000
		for i := range keys {
			w.set(fmt.Sprint("key", i), "value", 0, 1, 2)
		}
		cost := func(differing int) int64 {
			for i := range differing {
				name := fmt.Sprint("key", i*7)
				switch i % 4 {
				case 0:
					w.set(name, "newer at the first", 0)
				case 1:
					w.set(name, "newer at the last", 2)
				case 2:
					w.set(name, "concurrent a", 0)
					w.set(name, "concurrent b", 1)
				case 3:
					w.set(fmt.Sprint("only", i), "at one", 1)
				}
			}
			before := w.moved.Load()
			if tally := w.round(0); !tally.Complete || tally.Differing == 0 {
				t.Fatalf("%+v", tally)
			}
			w.level()
			return w.moved.Load() - before
		}
		few, many := cost(8), cost(80)
		if many > 20*few || few > 40<<10 {
			t.Errorf("8 differing keys moved %d bytes, 80 moved %d", few, many)
		}
		if got := w.nodes[1].get("key7"); got != "newer at the last" {
			t.Error(got)
		}
		if got := w.nodes[2].get("only3"); got != "at one" {
			t.Error(got)
		}
		for _, n := range w.nodes {
			if n.settled[0] == 0 {
				t.Errorf("%v was not settled", n.id)
			}
		}
	})
}

// Writes of clients go on during rounds, and replicas get them in any order.
func TestWritesDuringRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		random := rand.New(rand.NewPCG(1, 2))
		last := map[string]string{}
		stop := time.Now().Add(20 * time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; time.Now().Before(stop); i++ {
				name, value := fmt.Sprint("key", random.IntN(300)), fmt.Sprint(i)
				at := random.Perm(3)
				w.set(name, value, at[:1+random.IntN(3)]...) // some replicas never get it
				last[name] = value
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			}
		}()
		rounds := 0
		for time.Now().Before(stop) {
			if w.round(rounds % 3); rounds < 1000 {
				rounds++
			}
			time.Sleep(100 * time.Millisecond)
		}
		<-done
		if tally := w.round(0); !tally.Complete {
			t.Fatal(tally.Reason)
		}
		w.level()
		// Clocks of three nodes agree on one machine, so the last write is the newest.
		for name, value := range last {
			if got := w.nodes[1].get(name); got != value {
				t.Errorf("%s is %s, last written was %s", name, got, value)
			}
		}
		if rounds < 5 {
			t.Errorf("%d rounds", rounds)
		}
	})
}

// In flight means: it arrives within moments. That is no difference.
func TestWritesUnderWayAreNotDifferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.set("a", "1", 0)
		object := w.nodes[0].engine.at("a")
		go func() {
			time.Sleep(100 * time.Millisecond)
			w.bring("a", object, 1)
		}()
		if tally := w.round(0); !tally.Complete || tally.Differing != 0 {
			t.Errorf("%+v", tally)
		}
		w.level()
	})
}

// All keys of a hash tag share a slot, hence 16 leaves.
func TestHashTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		const keys = 20000
		for i := range keys {
			w.set(fmt.Sprint("{tag}", i), "v", 0, 1)
		}
		w.set("{tag}7", "changed", 0)
		w.set("{tag}9", "changed", 1)
		before := w.moved.Load()
		if tally := w.round(0); !tally.Complete || tally.Differing != 2 {
			t.Errorf("%+v", tally)
		}
		if moved := w.moved.Load() - before; moved > 32<<10 {
			t.Errorf("two keys of %d moved %d bytes", keys, moved)
		}
		w.level()
	})
}

func TestFlushedKeysAreAbsentOnAllSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for i := range 50 {
			w.set(fmt.Sprint("old", i), "v", i%2)
		}
		at, err := w.nodes[0].clock.Now()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.set("new", "v", 1)
		for _, n := range w.nodes {
			n.replica.Flush(0, at)
		}
		if tally := w.round(0); !tally.Complete || tally.Differing != 1 {
			t.Errorf("%+v", tally)
		}
		w.level()
		if n := w.nodes[0].engine.len(); n != 1 {
			t.Errorf("%d records are left", n)
		}
	})
}

func TestADeadReplicaIsNamedAndTheRestIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.nodes[1].down.Store(true)
		w.set("a", "1", 0)
		w.set("b", "2", 2)
		tally := w.round(0)
		if tally.Complete || !strings.Contains(tally.Reason, "n2") {
			t.Errorf("%+v", tally)
		}
		if w.nodes[0].get("b") != "2" || w.nodes[2].get("a") != "1" {
			t.Error("the others are not level")
		}
		if w.nodes[0].settled[0] != 0 {
			t.Error("settled without a replica")
		}
	})
}

// A sum that is wrong, because a damaged record was replaced, is made anew.
func TestDriftedSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.set("a", "1", 0, 1)
		leaf := leafOf(ring.TokenOf(0, []byte("a")))
		w.nodes[1].engine.sums[leaf] ^= 77
		w.nodes[1].engine.reblock()
		for _, n := range w.nodes {
			n.keeper.Start()
		}
		w.round(0)
		time.Sleep(time.Minute)
		if w.nodes[1].engine.rebuilt == 0 {
			t.Error("nothing was made anew")
		}
		w.level()
	})
}

// Damage that cost records is filled in from the others before it is answered from.
func TestLostRecordsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		for i := range 300 {
			w.set(fmt.Sprint("key", i), "v", i%3, (i+1)%3)
		}
		e := w.nodes[0].engine
		for p := range partitions {
			l := leavesOf(partitions, ring.Partition(p))
			lower, upper := l.tokens().bounds()
			e.lost = append(e.lost, [2][]byte{lower, upper})
			e.inexact[l.lo] = true
		}
		for k := range e.records {
			if rand.IntN(2) == 0 {
				delete(e.records, k)
			}
		}
		e.dirty = true
		for _, n := range w.nodes {
			n.keeper.Start()
		}
		time.Sleep(10 * time.Second)
		if !w.nodes[0].answers() || len(e.lost) > 0 {
			t.Fatal("not restored")
		}
		if tally := w.round(1); !tally.Complete {
			t.Fatal(tally.Reason)
		}
		w.level()
	})
}

func TestMessagesAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for op := range byte(20) {
			for _, body := range [][]byte{{op}, {op, 1}, bytes.Repeat([]byte{0xff}, 40), append([]byte{op}, bytes.Repeat([]byte{0xff}, 37)...), append([]byte{op}, make([]byte, 33)...)} {
				_, _ = w.nodes[0].keeper.Serve(t.Context(), 2, body) // must not panic
			}
		}
	})
}

func FuzzServe(f *testing.F) {
	f.Add([]byte{opStates, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(appendSpan([]byte{opList, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0}, span{1, 2}))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &reader{b: body}
		for range 4 {
			_, _, _, _ = r.state(), r.span(), r.bytes(), r.leaves()
		}
		r = &reader{b: body}
		r.records()
		r = &reader{b: body}
		if r.entries(); r.err() == nil && len(body)%16 != 0 {
			t.Error("entries of an odd length")
		}
	})
}

func TestDiff(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var a, b []entry
		for range random.IntN(20) {
			e := entry{ring.Token(random.IntN(6)), uint64(random.IntN(3))}
			switch random.IntN(3) {
			case 0:
				a = append(a, e)
			case 1:
				b = append(b, e)
			case 2:
				a, b = append(a, e), append(b, e)
			}
		}
		onlyA, onlyB := diff(a, b)
		count := map[entry]int{}
		for _, e := range a {
			count[e]++
		}
		for _, e := range b {
			count[e]--
		}
		for _, e := range onlyA {
			count[e]--
		}
		for _, e := range onlyB {
			count[e]++
		}
		for e, n := range count {
			if n != 0 {
				t.Fatalf("%v: %d too many", e, n)
			}
		}
	}
}

// A repair through any node compares everything and names who is missing.
func TestRepairOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.set("a", "1", 1)
		run := func() *Job {
			began, err := w.nodes[2].keeper.Repair(0, partitions-1)
			if !began || err != nil {
				t.Fatal(began, err)
			}
			if !w.nodes[0].down.Load() { // then it takes a moment
				if again, err := w.nodes[2].keeper.Repair(0, 0); again || err != nil {
					t.Errorf("two at once: %v, %v", again, err)
				}
			}
			time.Sleep(time.Minute)
			return w.nodes[2].keeper.LastRepair()
		}
		j := run()
		if j.Ended.IsZero() || j.Done != partitions || !j.Complete || j.Differing != 2 || j.Moved == 0 || len(j.Errors) > 0 {
			t.Errorf("%+v", j)
		}
		w.level()
		w.nodes[0].down.Store(true)
		if j = run(); j.Complete || j.Incomplete != partitions || len(j.Errors) == 0 || !strings.Contains(j.Errors[0], "n1") {
			t.Errorf("%+v", j)
		}
		if _, err := w.nodes[2].keeper.Repair(9, 9); err == nil {
			t.Error("a partition that is none")
		}
	})
}

// While a node brings replicas hints, which hold what a round would find, no round begins; on
// demand one does.
func TestHintsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.nodes[2].hand(true)
		for _, n := range w.nodes {
			n.keeper.Start()
		}
		w.set("a", "1", 1)
		for _, p := range all() {
			w.nodes[1].keeper.Mark(p)
		}
		time.Sleep(10 * time.Minute)
		for i, n := range w.nodes {
			if m := &n.keeper.Metrics; m.Rounds.Load()+m.Incomplete.Load() > 0 {
				t.Errorf("node %d has ended rounds", i+1)
			}
		}
		w.nodes[2].hand(false)
		time.Sleep(time.Minute)
		w.level()
		w.nodes[2].hand(true)
		w.set("b", "1", 1)
		if j := w.round(0); !j.Complete || j.Differing == 0 {
			t.Errorf("on demand: %+v", j)
		}
		w.level()
	})
}

// Where hints are made and brought all the time, rounds begin all the same, after a quarter of
// the period.
func TestHintsAreNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.nodes[2].hand(true)
		for _, n := range w.nodes {
			n.keeper.SetTimes(time.Hour, 0)
			n.keeper.Start()
		}
		w.set("a", "1", 1)
		for _, p := range all() {
			w.nodes[1].keeper.Mark(p)
		}
		time.Sleep(14 * time.Minute)
		for i, n := range w.nodes {
			if m := &n.keeper.Metrics; m.Rounds.Load()+m.Incomplete.Load() > 0 {
				t.Errorf("node %d has ended rounds", i+1)
			}
		}
		time.Sleep(2 * time.Minute)
		w.level()
	})
}
