package coordinator

import (
	"errors"
	"testing"

	"kvstore/cluster/wire"
)

func TestAPairIsOnePlace(t *testing.T) {
	p := placement{n: 3, ndcs: 1, pair: pair{place: 0b010, partner: 0b1000}}
	for _, c := range []struct {
		level         Level
		ok, bad       uint64
		met, hopeless bool
	}{
		{Quorum, 0b0101, 0, true, false},
		{Quorum, 0b0011, 0, false, false},
		{Quorum, 0b1001, 0, false, false},
		{Quorum, 0b1011, 0, true, false},
		{Quorum, 0b1010, 0, false, false},
		{One, 0b1010, 0, true, false},
		{One, 0b1000, 0, false, false},
		{All, 0b0111, 0, false, false},
		{All, 0b1111, 0, true, false},
		{All, 0b0001, 0b1000, false, true},
		{Quorum, 0b0001, 0b1000, false, false},
		{Quorum, 0b0001, 0b1100, false, true},
	} {
		w, _ := newWriteTally(c.level, &p)
		w.ok, w.bad = c.ok, c.bad
		if w.met() != c.met || w.hopeless() != c.hopeless {
			t.Errorf("%v with %04b and without %04b: met %v, hopeless %v", c.level, c.ok, c.bad, w.met(), w.hopeless())
		}
		if r, _ := newTally(c.level, &p); r.pair != (pair{}) {
			t.Error("a read knows of pairs")
		}
	}
}

// The partner gets what is written, and its replica counts when both have it. A partner
// that is away costs strict mode a place; in sloppy mode it is stood in for, or owed a hint.
func TestWritesGoToThePartner(t *testing.T) {
	for _, mode := range []Mode{Strict, Sloppy} {
		for step := 1; step <= 2; step++ {
			j := newJourney(t, 1)
			j.adopt(j.rings[step], j.all()...)
			moves, partner := j.from, j.to
			if step == 2 {
				moves, partner = j.to, j.from
			}
			primary, third := j.stays[0], j.stays[1]
			a := primary.runAt(Levels{W: Two, Mode: mode}, "set", j.key, "v")
			j.deliverSome(primary, moves)
			if j.deliverSome(moves, primary); a.finished() {
				t.Fatalf("step %d: acknowledged by one of the pair", step)
			}
			j.deliverSome(primary, partner)
			if j.deliverSome(partner, primary); !a.finished() || a.Err != nil {
				t.Fatalf("step %d: both have it: %v", step, a.Err)
			}
			j.deliverAll()
			for _, n := range j.all() {
				n.SetReach(partner.id, Down)
			}
			a = primary.runAt(Levels{W: All, Mode: mode}, "set", j.key, "w")
			j.deliverAll()
			switch {
			case mode == Strict && !errors.Is(a.Err, ErrNoQuorum):
				t.Errorf("strict, all of three, one of a pair away: %v", a.Err)
			case mode == Sloppy && (a.Err != nil || len(j.outside.hints(j.key)) != 1):
				t.Errorf("sloppy: %v, hints for %v", a.Err, j.outside.hints(j.key))
			}
			a = primary.runAt(Levels{W: Two, Mode: mode}, "set", j.key, "x")
			j.deliverAll()
			if a.Err != nil || !third.holds(j.key) {
				t.Errorf("two of three: %v", a.Err)
			}
			if owed := primary.hints(j.key); mode == Strict && (len(owed) != 1 || owed[0] != partner.id) {
				t.Errorf("hints for %v", owed)
			}
		}
	}
}

// Reads leave a partner alone, and a node that has just begun to be read in another's
// stead answers once it has caught up.
func TestWhoAnswersReadsOfAMove(t *testing.T) {
	j := newJourney(t, 0)
	j.adopt(j.rings[1], j.all()...)
	a := j.from.run("set", j.key, "v")
	j.finish(a)
	r := j.outside.runAt(Levels{R: All}, "get", j.key)
	if _, ok := j.take(j.outside, j.to, 0); ok {
		t.Error("the partner is asked")
	}
	if j.finish(r); string(r.Out) != "v" {
		t.Error(string(r.Out), r.Err)
	}
	j.adopt(j.rings[2], j.all()...)
	r = j.outside.runAt(Levels{R: All}, "get", j.key)
	j.deliver(j.outside, j.to, wire.Read)
	if j.deliverAll(); r.finished() {
		t.Fatal("read before it has caught up")
	}
	own := j.to.runAt(Levels{R: One}, "get", j.key)
	if own.finished() {
		t.Error("the own copy is read before it has caught up")
	}
	j.caughtUp()
	j.finish(own)
	if j.finish(r); r.Err != nil || string(r.Out) != "v" || string(own.Out) != "v" {
		t.Errorf("%q, %v; %q, %v", r.Out, r.Err, own.Out, own.Err)
	}
}
