package coordinator

import (
	"errors"
	"testing"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// emptied loses what a node holds, and says so.
func (n *talker) emptied() {
	n.store.mu.Lock()
	clear(n.store.records)
	n.store.mu.Unlock()
	for p := range n.talk.ring.Q {
		n.SetFilled(ring.Partition(p), false)
	}
}

// A copy that lacks what it once held takes writes, and is no answer to reads: the
// others answer.
func TestACopyThatIsNotFilledAnswersNoReads(t *testing.T) {
	for role := range 3 {
		k := newTalk(t, 3)
		list := k.roles("k")
		r := list[0].run("set", "k", "v")
		k.deliverAll()
		if !r.finished() || r.Err != nil {
			t.Fatal(r.Err)
		}
		lost := list[role]
		lost.emptied()
		for _, n := range list {
			a := n.run("get", "k")
			if k.deliverAll(); !a.finished() || a.Err != nil || string(a.Out) != "v" {
				t.Errorf("%d emptied: node %v reads %q, %v", role, n.id, a.Out, a.Err)
			}
		}
		w := list[0].run("setnx", "k", "w")
		k.deliverAll()
		if !w.finished() || w.Err != nil || string(w.Out) != "0" {
			t.Errorf("%d emptied: SETNX of a key that exists: %q, %v", role, w.Out, w.Err)
		}
		// With another one gone a quorum knows too little.
		for _, n := range list {
			if n != lost && n != list[(role+1)%3] {
				n.SetReach(list[(role+1)%3].id, Down)
				a := n.run("get", "k")
				k.deliverAll()
				if !a.finished() || !errors.Is(a.Err, ErrNoQuorum) {
					t.Errorf("%d emptied: with one of the others gone: %v", role, a.Err)
				}
			}
		}
		for p := range k.ring.Q {
			lost.SetFilled(ring.Partition(p), true)
		}
		if lost.Unsettled() == 0 {
			t.Error("settled by being filled")
		}
	}
}

// A comparison settles what was not doubted since it began, and only while all
// replicas can be reached.
func TestSettlePartition(t *testing.T) {
	k := newTalk(t, 3)
	n, other := k.roles("k")[0], k.roles("k")[1]
	p := k.ring.PartitionOf(ring.TokenOf(0, []byte("k")))
	unsettled := func() bool { return n.view.Load().states[p].unsettled.Load() }
	n.SetReach(other.id, Down)
	n.SetReach(other.id, Up)
	if !unsettled() {
		t.Fatal("a replica came back and nothing is unsettled")
	}
	before := n.Doubt(p)
	n.SetReach(other.id, Down)
	n.SettlePartition(p, n.Doubt(p))
	if !unsettled() {
		t.Error("settled while a replica is away")
	}
	n.SetReach(other.id, Up)
	n.SettlePartition(p, before)
	if !unsettled() {
		t.Error("settled by a comparison that began before")
	}
	n.SettlePartition(p, n.Doubt(p))
	if unsettled() {
		t.Error("not settled")
	}
}

// What a copy that is being filled holds, and nobody else, is brought to the others before a reply tells of it: they are
// not asked again and again whether they have it by now.
func TestWhatOnlyAnUnfilledCopyHoldsIsConfirmed(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	k.strand(list[0], "k", "v")
	for p := range k.ring.Q {
		list[0].SetFilled(ring.Partition(p), false)
	}
	r := list[0].run("setnx", "k", "w")
	k.deliverAll()
	if !r.finished() || r.Err != nil || string(r.Out) != "0" {
		t.Errorf("SETNX of a key that exists: finished %v, %q, %v", r.finished(), r.Out, r.Err)
	}
	if !list[1].holds("k") && !list[2].holds("k") {
		t.Error("nobody else holds what the client was told of")
	}
}

// A run without effect answers when what it saw is where its level wants it, not when that is on its way.
func TestAReplyWaitsForWhatItTellsOf(t *testing.T) {
	for _, w := range []Level{One, Two, Quorum, All, LocalOne, LocalQuorum, EachQuorum} {
		k := newTalk(t, 3)
		list := k.roles("k")
		k.strand(list[0], "k", "v")
		r := list[0].runAt(Levels{W: w}, "setnx", "k", "w")
		var repairs []envelope
		for {
			e, ok := k.take(nil, nil, 0)
			switch {
			case !ok:
			case e.kind == wire.Replicate:
				repairs = append(repairs, e)
				continue
			default:
				k.hand(e)
				continue
			}
			break
		}
		if r.finished() || len(repairs) == 0 {
			t.Errorf("%v: finished %v with %d repairs under way", w, r.finished(), len(repairs))
		}
		for _, e := range repairs {
			k.hand(e)
		}
		k.deliverAll()
		if !r.finished() || r.Err != nil || string(r.Out) != "0" {
			t.Errorf("%v: finished %v, %q, %v", w, r.finished(), r.Out, r.Err)
		}
	}
}
