package coordinator

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/cluster/wire"
)

// heat makes a key hot at nodes, or shows them time pass without anything.
func (k *talk) heat(key string, nodes ...*talker) {
	k.t.Helper()
	now := time.Unix(1000, 0)
	for _, n := range nodes {
		n.TickHot(now)
		for range 150 {
			n.run("get", key)
			k.deliverAll()
		}
		n.TickHot(now.Add(time.Second))
		if n.HotKeys() != 1 {
			k.t.Fatalf("%d hot keys at %v", n.HotKeys(), n.id)
		}
	}
}

// share reads a key at each of some nodes so many times, and returns how often each place of its
// list was read.
func (k *talk) share(key string, times int, l Levels, entries ...*talker) (work []int) {
	k.t.Helper()
	roles := k.roles(key)
	work = make([]int, len(roles))
	for _, n := range k.nodes {
		n.onSend = func(m *wire.Message) error {
			if m.Kind == wire.ReadReply {
				work[slices.Index(roles, n)]++
			}
			return nil
		}
	}
	for _, n := range entries {
		for range times {
			a := n.runAt(l, "get", key)
			k.deliverAll()
			if !a.finished() || a.Err != nil || string(a.Out) != "v" {
				k.t.Fatalf("get at %v: finished %v, %q, %v", n.id, a.finished(), a.Out, a.Err)
			}
		}
		if place := slices.Index(roles, n); place >= 0 {
			work[place] += times // its own copy
		}
	}
	for _, n := range k.nodes {
		n.onSend = nil
	}
	return work
}

// even reports whether no place does a tenth more than its part, or less.
func even(work []int) bool {
	sum := 0
	for _, w := range work {
		sum += w
	}
	part := float64(sum) / float64(len(work))
	return float64(slices.Max(work)) <= 1.1*part && float64(slices.Min(work)) >= 0.9*part
}

// One hot key is read from all nodes: each replica does the same work. A key that is not hot is read from the
// first replicas of its list, wherever the clients are.
func TestReadsOfAHotKeyAreSpread(t *testing.T) {
	for _, nodes := range []int{3, 5, 8} {
		for _, l := range []Levels{{R: Quorum, W: Quorum}, {R: One, W: Quorum}, {R: One, W: One}, {R: Two, W: One}, {R: One, W: All}} {
			t.Run(fmt.Sprintf("%d nodes r=%v w=%v", nodes, l.R, l.W), func(t *testing.T) {
				// In a bubble no time passes while messages are delivered: nothing is hedged.
				synctest.Test(t, func(t *testing.T) { spreadReads(t, nodes, l) })
			})
		}
	}
}

func spreadReads(t *testing.T, nodes int, l Levels) {
	k := newTalkOf(t, nodes, 3)
	var all []*talker
	for id := range nodes {
		all = append(all, k.nodes[k.ring.Members[id].ID])
	}
	all[0].runAt(Levels{W: All}, "set", "key", "v")
	k.deliverAll()
	const times = 120
	before := k.share("key", times, l, all...)
	k.heat("key", all...)
	after := k.share("key", times, l, all...)
	t.Logf("read of each place: %v before, %v when hot", before, after)
	fixed := l.R == One || l.W == One // each node keeps to its replicas, so whole nodes are divided
	if l.R == Quorum && even(before) {
		t.Errorf("places do %v before the key is hot: there is nothing to spread", before)
	}
	if !even(after) && !(fixed && slices.Max(after)-slices.Min(after) <= times) {
		t.Errorf("places do %v", after)
	}
}

// Those who cannot be reached get nothing, those who are late are not preferred, and the rest share.
func TestAHotKeyIsReadWhereReplicasAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, reach := range []Reach{Down, Slow} {
			for away := range 3 {
				k, list := five(t, Strict, "key")
				list[0].runAt(Levels{W: All}, "set", "key", "v")
				k.deliverAll()
				k.heat("key", list...)
				for _, n := range list {
					if n != list[away] {
						n.SetReach(list[away].id, reach)
					}
				}
				others := slices.Delete(slices.Clone(list), away, away+1)
				work := k.share("key", 200, Levels{}, others...)
				if work[away] != 0 {
					t.Errorf("place %d is %v and is read: %v", away, reach, work)
				}
				if left := slices.Delete(slices.Clone(work), away, away+1); !even(left) {
					t.Errorf("place %d is %v; the others do %v", away, reach, left)
				}
			}
		}
	})
}

// A replica that goes away while reads of a hot key are under way costs none of them.
func TestAHotKeyIsReadWhileAReplicaGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, list := five(t, Sloppy, "key")
		list[0].runAt(Levels{W: All}, "set", "key", "v")
		k.deliverAll()
		k.heat("key", list...)
		entry := list[4]
		var reads []*outcome
		for range 100 {
			reads = append(reads, entry.run("get", "key"))
		}
		for ok := true; ok; {
			_, ok = k.take(entry, list[1], 0)
		}
		k.gone(list[1])
		k.deliverAll()
		for _, a := range reads {
			if !a.finished() || a.Err != nil || string(a.Out) != "v" {
				t.Fatalf("finished %v, %q, %v", a.finished(), a.Out, a.Err)
			}
		}
	})
}

// Where reads meet writes but not each other, or neither, a node that is no replica keeps asking the same one:
// what it has read it does not take back.
func TestReadsOfAHotKeyDoNotGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, l := range []Levels{{R: One, W: One}, {R: One, W: All}, {R: One, W: Quorum}} {
			k, list := five(t, Strict, "key")
			list[0].runAt(Levels{W: All}, "set", "key", "v")
			k.deliverAll()
			k.heat("key", list...)
			for _, entry := range list[3:] {
				if work := k.share("key", 50, l, entry); slices.Max(work) != 50 {
					t.Errorf("r=%v w=%v: places do %v", l.R, l.W, work)
				}
			}
		}
	})
}

// A version that one replica has and the others lack is seen by all reads of a quorum once one has returned it.
func TestAHotKeyIsRepairedBeforeItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, list := five(t, Strict, "key")
		list[0].runAt(Levels{W: All}, "set", "key", "v")
		k.deliverAll()
		k.heat("key", list...)
		for round := range 50 {
			value := fmt.Sprint(round)
			k.strand(list[0], "key", value)
			seen := false
			for i := range 20 {
				a := list[i%5].run("get", "key")
				k.deliverAll()
				if a.Err != nil || seen && string(a.Out) != value {
					t.Fatalf("round %d: %q after %q, %v", round, a.Out, value, a.Err)
				}
				seen = seen || string(a.Out) == value
			}
			if !seen {
				t.Fatalf("round %d: never read", round)
			}
		}
	})
}

// What crosses a link costs more than what is asked near by.
func TestAHotKeyIsReadNearBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTalkOf(t, 6, 6) // three of the data centre east, three of west
		list := k.roles("key")
		list[0].runAt(Levels{W: All}, "set", "key", "v")
		k.deliverAll()
		k.heat("key", list...)
		for i, entry := range list {
			for place, n := range k.share("key", 60, Levels{R: Three}, entry) {
				if near := k.dc(list[place].id) == k.dc(entry.id); near && n == 0 || !near && n > 0 {
					t.Errorf("reads at place %d are asked of place %d %d times", i, place, n)
				}
			}
		}
	})
}

// Reads that are part of a write, and those of keys that are not hot, ask in the order of preference.
func TestOnlyHotKeysAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, list := five(t, Strict, "key")
		for _, key := range []string{"key", "other"} {
			list[0].runAt(Levels{W: All}, "set", key, "v")
			k.deliverAll()
		}
		k.heat("key", list...)
		before := list[4].Metrics.SpreadReads.Load()
		k.share("other", 10, Levels{}, list[4])
		if n := list[4].Metrics.SpreadReads.Load() - before; n != 0 {
			t.Errorf("%d reads of a key that is not hot were spread", n)
		}
		list[4].TickHot(time.Unix(1100, 0))
		if work := k.share("key", 10, Levels{}, list[4]); !slices.Equal(work, []int{10, 10, 0}) || list[4].HotKeys() != 0 {
			t.Errorf("a key that is hot no more is read of %v", work)
		}
	})
}

// Each place is picked as often as the others, and each pair as often as other pairs.
func TestTurns(t *testing.T) {
	for n := 2; n <= 7; n++ {
		for picks := 1; picks < n; picks++ {
			var asked [maxPlaces]int
			pairs := make(map[uint64]int)
			const rounds = 20000
			for i := range rounds {
				left, taken := uint64(1)<<uint(n)-1, uint64(0)
				for range picks {
					place := turn(i+1).choose(left, left, 0)
					left &^= 1 << uint(place)
					taken |= 1 << uint(place)
					asked[place]++
				}
				pairs[taken]++
			}
			if work := asked[:n]; !even(work) {
				t.Errorf("%d of %d: %v", picks, n, work)
			}
			for set, times := range pairs {
				if part := float64(rounds) / float64(len(pairs)); float64(times) < 0.6*part || float64(times) > 1.4*part {
					t.Errorf("%d of %d: %b is asked %d times, not %.0f", picks, n, set, times, part)
				}
			}
		}
	}
	if got := turn(5).choose(0, 0, 0); got != -1 {
		t.Errorf("of nothing: %d", got)
	}
}
