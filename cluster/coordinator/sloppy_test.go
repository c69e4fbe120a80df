package coordinator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// hintMap keeps hints among a node's records, as the real store does.
type hintMap struct{ store *memory }

func hintName(target ring.NodeID, key string) string {
	return fmt.Sprintf("hint for %v: %s", target, key)
}

func (h hintMap) Add(beside []replica.Record, target ring.NodeID, k replica.Key, _ int) ([]replica.Record, bool) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if h.store.noHints {
		return beside, false
	}
	name := hintName(target, string(k.Name))
	if _, found := h.store.records[name]; found {
		return beside, true
	}
	return append(beside, replica.Record{Key: []byte(name), Value: []byte("hint")}), true
}

func (hintMap) Undo(ring.NodeID) {}

// hints returns whom a node keeps hints of a key for.
func (n *talker) hints(key string) (targets []ring.NodeID) {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	for id := range n.talk.nodes {
		if _, found := n.store.records[hintName(id, key)]; found {
			targets = append(targets, id)
		}
	}
	slices.Sort(targets)
	return targets
}

// holds reports whether a node has a copy of a key.
func (n *talker) holds(key string) bool {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	for name := range n.store.records {
		if !strings.HasPrefix(name, "hint") && strings.Contains(name, key) {
			return true
		}
	}
	return false
}

// five starts five nodes of which each key has three as replicas, and returns them
// in the order of the key's preference list, fallbacks behind.
func five(t *testing.T, mode Mode, key string, more ...func(*Options)) (*talk, []*talker) {
	k := newTalkOf(t, 5, 3, append(more, func(o *Options) { o.Defaults.Mode = mode })...)
	list := k.roles(key)
	for _, id := range k.ring.Fallbacks(k.ring.PartitionOf(ring.TokenOf(0, []byte(key))), nil) {
		list = append(list, k.nodes[id])
	}
	return k, list
}

// gone lets the others know that nodes are down; what is sent there is lost.
func (k *talk) gone(nodes ...*talker) {
	for _, n := range nodes {
		for _, other := range k.nodes {
			if other != n {
				other.Lost(n.id)
			}
		}
	}
}

func (k *talk) back(nodes ...*talker) {
	for _, n := range nodes {
		for _, other := range k.nodes {
			other.SetReach(n.id, Up)
		}
	}
}

// Any two of five nodes may be gone, the soft primary included; every node that is
// left takes every request, and sees what was written.
func TestAnyTwoOfFiveMayBeGone(t *testing.T) {
	for a := range 5 {
		for b := range a {
			for entry := range 5 {
				if entry == a || entry == b {
					continue
				}
				k, list := five(t, Sloppy, "k")
				list[entry].run("set", "k", "before")
				k.deliverAll()
				k.gone(list[a], list[b])
				name := fmt.Sprintf("%d and %d gone, at %d", b, a, entry)
				for i, c := range [][]string{{"get", "", "before"}, {"setnx", "no", "0"}, {"set", "v1"}, {"get", "", "v1"}, {"setnx", "no", "0"}, {"get", "", "v1"}, {"set", "v2"}, {"get", "", "v2"}} {
					r := list[entry].run(c[0], "k", c[1])
					k.deliverUntil(r)
					if r.Err != nil || len(c) > 2 && string(r.Out) != c[2] {
						t.Fatalf("%s: %s (%d): %q, %v", name, c[0], i, r.Out, r.Err)
					}
				}
				k.deliverAll()
				for _, away := range []int{a, b} {
					kept := 0
					for _, n := range list {
						if slices.Contains(n.hints("k"), list[away].id) {
							kept++
							if !n.holds("k") {
								t.Errorf("%s: a hint without its object", name)
							}
						}
					}
					if want := min(1, max(0, 3-away)); kept != want {
						t.Errorf("%s: %d hints for %d, want %d", name, kept, away, want)
					}
				}
			}
		}
	}
}

// With all three replicas gone the two others serve.
func TestAllReplicasMayBeGone(t *testing.T) {
	k, list := five(t, Sloppy, "k")
	k.gone(list[:3]...)
	for _, entry := range list[3:] {
		r := entry.run("set", "k", entry.id.String())
		k.deliverUntil(r)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		for _, reader := range list[3:] {
			g := reader.run("get", "k")
			k.deliverUntil(g)
			if g.Err != nil || string(g.Out) != entry.id.String() {
				t.Fatalf("%q, %v", g.Out, g.Err)
			}
		}
	}
	kept := append(list[3].hints("k"), list[4].hints("k")...)
	slices.Sort(kept)
	want := []ring.NodeID{list[0].id, list[1].id, list[2].id}
	slices.Sort(want)
	if !slices.Equal(slices.Compact(kept), want) {
		t.Errorf("hints for %v, want %v", kept, want)
	}
}

// Strict mode counts own replicas only, writes nothing when they are too few, and
// keeps hints that count for nothing.
func TestStrictCountsOwnReplicas(t *testing.T) {
	for entry := range 5 {
		k, list := five(t, Strict, "k")
		k.gone(list[2])
		if entry == 2 {
			continue
		}
		r := list[entry].run("set", "k", "v")
		k.deliverUntil(r)
		if r.Err != nil {
			t.Fatalf("one gone, at %d: %v", entry, r.Err)
		}
		if kept := list[0].hints("k"); !slices.Equal(kept, []ring.NodeID{list[2].id}) {
			t.Errorf("the soft primary keeps hints for %v", kept)
		}
		for _, n := range list[3:] {
			if n.holds("k") {
				t.Error("a fallback has a copy")
			}
		}
		if entry == 1 {
			continue
		}
		k.gone(list[1])
		for _, op := range []string{"set", "get", "setnx"} {
			r := list[entry].run(op, "k", "w")
			k.deliverUntil(r)
			if !errors.Is(r.Err, ErrNoQuorum) {
				t.Fatalf("two gone, at %d: %s: %v", entry, op, r.Err)
			}
		}
		if g := list[entry].runAt(Levels{R: One}, "get", "k"); true {
			k.deliverUntil(g)
			if string(g.Out) != "v" {
				t.Errorf("%q was refused and is %q", "w", g.Out)
			}
		}
	}
}

// Where every node is a replica the soft primary keeps the hint, which is no
// acknowledgement.
func TestThreeNodesHaveNoFallback(t *testing.T) {
	k := newTalk(t, 3, func(o *Options) { o.Defaults.Mode = Sloppy })
	list := k.roles("k")
	k.gone(list[2])
	r := list[1].run("set", "k", "v")
	k.deliverUntil(r)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if kept := list[0].hints("k"); !slices.Equal(kept, []ring.NodeID{list[2].id}) {
		t.Errorf("hints for %v", kept)
	}
	k.gone(list[1])
	r = list[0].run("set", "k", "w")
	k.deliverUntil(r)
	if !errors.Is(r.Err, ErrNoQuorum) {
		t.Errorf("one of three is enough: %v", r.Err)
	}
}

// A replica that refuses, is lost or stays silent under a write is stood in for.
func TestAReplicaThatFailsIsStoodInFor(t *testing.T) {
	for name, fail := range map[string]func(k *talk, list []*talker){
		"refuses": func(k *talk, list []*talker) {
			list[2].store.fail(ErrFull)
			k.deliver(list[0], list[2], wire.Replicate)
			k.deliver(list[2], list[0], wire.ReplicateAck)
		},
		"is lost":   func(k *talk, list []*talker) { list[0].Lost(list[2].id) },
		"is silent": func(*talk, []*talker) {},
	} {
		k, list := five(t, Sloppy, "k")
		k.gone(list[1])
		began := time.Now()
		w := list[0].runAt(Levels{W: All, Timeout: time.Minute}, "set", "k", "v")
		k.deliver(list[0], list[3], wire.Replicate)
		k.deliver(list[3], list[0], wire.ReplicateAck)
		fail(k, list)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if e, ok := k.take(list[0], list[4], wire.Replicate); ok {
				k.hand(e)
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: nobody stands in", name)
			}
		}
		k.deliver(list[4], list[0], wire.ReplicateAck)
		if !w.finished() || w.Err != nil {
			t.Errorf("%s: finished %v, %v", name, w.finished(), w.Err)
		}
		if kept := list[4].hints("k"); !slices.Equal(kept, []ring.NodeID{list[2].id}) {
			t.Errorf("%s: hints for %v", name, kept)
		}
		if name == "is silent" && time.Since(began) < standAfter {
			t.Errorf("%s: after %v", name, time.Since(began))
		}
	}
}

// A write whose level is met without them does not fail for hints that find no
// room; one that needs the copy does.
func TestHintsWithoutRoom(t *testing.T) {
	k, list := five(t, Sloppy, "k")
	for _, n := range list {
		n.store.noHints = true
	}
	k.gone(list[2])
	r := list[0].run("set", "k", "v")
	k.deliverUntil(r)
	if r.Err != nil || list[3].holds("k") {
		t.Fatalf("two replicas hold it: %v; a fallback holds it without a hint: %v", r.Err, list[3].holds("k"))
	}
	k.gone(list[1])
	r = list[0].run("set", "k", "w")
	k.deliverUntil(r)
	if !errors.Is(r.Err, ErrTimeout) {
		t.Fatalf("the level needs a copy that nobody may take: %v", r.Err)
	}
	k.gone(list[0])
	r = list[3].run("set", "k", "w")
	k.deliverUntil(r)
	if r.Err == nil || list[3].holds("k") {
		t.Fatalf("a copy without a hint stays for ever: %v", r.Err)
	}
}

// A fallback holds what the write has not seen: it says so, like a replica.
func TestAStandInAnswersStale(t *testing.T) {
	k, list := five(t, Sloppy, "k")
	k.gone(list[0], list[1], list[2])
	r := list[3].run("set", "k", "unseen")
	k.deliverUntil(r)
	k.deliverAll()
	k.back(list[0])
	w := list[0].run("set", "k", "v")
	k.deliverUntil(w)
	if w.Err != nil || list[0].Metrics.StaleWrites.Load() != 1 {
		t.Fatalf("%v, %d mended", w.Err, list[0].Metrics.StaleWrites.Load())
	}
	g := list[0].runAt(Levels{R: All}, "get", "k")
	k.deliverUntil(g)
	if string(g.Out) != "v" {
		t.Errorf("%q", g.Out)
	}
}

// A read goes to who stands in for a replica that fails under it.
func TestAReadIsAskedOfAStandIn(t *testing.T) {
	k, list := five(t, Sloppy, "k")
	k.gone(list[1])
	w := list[0].run("set", "k", "v")
	k.deliverUntil(w)
	k.deliverAll()
	r := list[4].runAt(Levels{R: All, Timeout: time.Minute}, "get", "k")
	list[4].Lost(list[2].id)
	k.deliverUntil(r)
	if r.Err != nil || string(r.Out) != "v" {
		t.Errorf("%q, %v", r.Out, r.Err)
	}
	strict := list[4].runAt(Levels{R: All, Mode: Strict}, "get", "k")
	k.deliverUntil(strict)
	if !errors.Is(strict.Err, ErrNoQuorum) {
		t.Errorf("strict: %v", strict.Err)
	}
}

// A copy that is being filled answers no read through its own node either, in any
// mode and at any level: what it lacks may have been acknowledged.
func TestACopyThatIsFilledAnswersNothing(t *testing.T) {
	for _, mode := range []Mode{Sloppy, Strict} {
		for _, level := range []Level{One, Quorum} {
			k := newTalk(t, 3)
			list := k.roles("k")
			strand := func(n *talker) { k.alone(n, func() { k.strand(n, "k", "v") }) }
			strand(list[2])
			list[0].SetFilled(k.ring.PartitionOf(ring.TokenOf(0, []byte("k"))), false)
			if level == One {
				strand(list[1])
			}
			r := list[0].runAt(Levels{R: level, Mode: mode}, "get", "k")
			if k.deliverAll(); !r.finished() || r.Err != nil || string(r.Out) != "v" {
				t.Errorf("mode %v, R=%v: %q, %v", mode, level, r.Out, r.Err)
			}
		}
	}
}

// A node that leaves and holds nothing any more stands in for nobody, though others do not
// know of it yet: what it kept would end with it.
func TestWhoIsAboutToEndStandsInForNobody(t *testing.T) {
	k, list := five(t, Sloppy, "key")
	last := list[4]
	r, _, err := ring.Replan(k.ring, ring.Decommission{ID: last.id})
	for err == nil && len(r.Transfers) > 0 {
		next, step := r.Transfers[0], ring.Begin
		switch next.Step {
		case ring.Copying:
			step = ring.Switch
		case ring.Switched:
			step = ring.Finish
		}
		r, err = step(r, next.Driver(), []ring.Partition{next.Partition})
	}
	if err != nil {
		t.Fatal(err)
	}
	last.SetRing(r, true)
	k.gone(list[2], list[3])
	list[0].run("set", "key", "v")
	k.deliverAll()
	if last.holds("key") {
		t.Error("it has taken what it will lose")
	}
}
