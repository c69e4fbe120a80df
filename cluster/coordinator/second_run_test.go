package coordinator

import (
	"errors"
	"testing"

	"kvstore/cluster/wire"
)

func TestASecondRunNeverUndoesALaterWrite(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	primary, entry, third := list[0], list[1], list[2]
	k.alone(third, func() { k.strand(third, "k", "stranded") })

	first := entry.run("set", "k", "v1")
	k.deliver(entry, primary, wire.Write)
	k.deliver(primary, entry, wire.Replicate)
	if !first.finished() || first.Err != nil {
		t.Fatalf("the entry node's copy and the primary's are two: %v", first.Err)
	}
	second := entry.run("set", "k", "v2")
	k.deliver(entry, primary, wire.Write)
	k.deliver(primary, entry, wire.Replicate)
	if !second.finished() || second.Err != nil {
		t.Fatal(second.Err)
	}
	// Only now does the third replica say that v1 had not seen what it holds.
	k.deliver(primary, third, wire.Replicate)
	k.deliver(third, primary, wire.ReplicateAck)
	k.deliverAll()
	if got := k.get(primary, "k"); got != "v2" {
		t.Fatalf("v2 was acknowledged last, the key holds %q", got)
	}
}

func TestErrorsOfASecondRunAreTimeouts(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	primary, third := list[0], list[2]
	k.alone(third, func() { k.strand(third, "k", "stranded") })
	w := primary.run("set", "k", "v1")
	primary.store.fail(ErrFull)
	k.deliver(primary, third, wire.Replicate)
	k.deliver(third, primary, wire.ReplicateAck)
	primary.Lost(list[1].id) // so only a second run can bring the third node to agree
	if !w.finished() || !errors.Is(w.Err, ErrTimeout) {
		t.Fatalf("v1 is at two nodes already, the client hears: finished %v, %v", w.finished(), w.Err)
	}
}

func TestFailedConditionsOnABusyKeyEnd(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	primary, second, third := list[0], list[1], list[2]
	set := primary.run("set", "k", "v")
	k.deliverAll()
	if set.Err != nil || !set.finished() {
		t.Fatal(set.Err)
	}
	nx := primary.run("setnx", "k", "mine")
	for range 20 {
		// A write comes between every run of the condition and its reading of a quorum.
		primary.run("set", "k", "other")
		for _, other := range []*talker{second, third} {
			k.deliverSome(primary, other)
			k.deliverSome(other, primary)
		}
		if nx.finished() {
			break
		}
	}
	if !nx.finished() || nx.Err != nil || string(nx.Out) != "0" {
		t.Fatalf("finished %v, reply %q, error %v", nx.finished(), nx.Out, nx.Err)
	}
}
