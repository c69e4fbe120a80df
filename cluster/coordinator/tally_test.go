package coordinator

import "testing"

func TestOverlap(t *testing.T) {
	two := placement{n: 6, local: 0b000111, ndcs: 2} // three replicas in each of two data centres
	one := placement{n: 3, local: 0b111, ndcs: 1}
	for _, c := range []struct {
		p    *placement
		r, w Level
		want bool
	}{
		{&one, Quorum, Quorum, true},
		{&one, One, Quorum, false},
		{&one, One, All, true},
		{&one, LocalQuorum, LocalQuorum, true},
		{&two, Quorum, Quorum, true},
		{&two, LocalQuorum, LocalQuorum, true},
		{&two, LocalQuorum, LocalOne, false},
		{&two, LocalQuorum, EachQuorum, true},
		{&two, LocalQuorum, Quorum, false}, // one of four may be all that is here
		{&two, LocalOne, All, true},
		{&two, LocalOne, Quorum, false},
	} {
		if got := c.p.overlap(c.r, c.w); got != c.want {
			t.Errorf("%v + %v of %d: %v", c.r, c.w, c.p.n, got)
		}
	}
}

// A write at local_quorum needs the data centre of the client's node, wherever
// its soft primary is.
func TestALocalWriteIsLocalToItsEntryNode(t *testing.T) {
	k := newTalk(t, 6)
	list := k.roles("k")
	primary := list[0]
	var entry *talker
	home := k.ring.Member(primary.id).DC
	for _, n := range list {
		if k.ring.Member(n.id).DC != home {
			entry = n
			break
		}
	}
	w := entry.runAt(Levels{W: LocalQuorum}, "set", "k", "v")
	k.deliver(entry, primary, 0)
	for _, n := range list[1:] { // the whole data centre of the primary, and nobody else
		if k.ring.Member(n.id).DC == home {
			k.deliverSome(primary, n)
			k.deliverSome(n, primary)
		}
	}
	k.deliverSome(primary, entry)
	if w.finished() {
		t.Fatal("acknowledged before a quorum of the client's data centre holds it")
	}
	k.deliverAll()
	if !w.finished() || w.Err != nil {
		t.Fatal(w.Err)
	}
}
