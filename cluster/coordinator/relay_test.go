package coordinator

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// dc returns a node's data centre.
func (k *talk) dc(id ring.NodeID) string { return k.ring.Member(id).DC }

// inDC returns the replicas of a key in the data centre of a node, or in the other one,
// in the order of the preference list.
func (k *talk) inDC(key string, of *talker, other bool) (list []*talker) {
	for _, n := range k.roles(key) {
		if (k.dc(n.id) != k.dc(of.id)) == other {
			list = append(list, n)
		}
	}
	return list
}

// crossing returns how many bytes are under way between the data centres.
func (k *talk) crossing() (bytes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.queue {
		if k.dc(e.from) != k.dc(e.to) {
			bytes += len(e.bytes)
		}
	}
	return bytes
}

// A write crosses a link once, whatever the level and whoever brings it, and reaches
// all replicas.
func TestAWriteCrossesALinkOnce(t *testing.T) {
	value := strings.Repeat("v", 1000)
	for _, level := range []Level{One, LocalOne, LocalQuorum, Quorum, EachQuorum, All} {
		for entry := range 6 {
			k := newTalk(t, 6)
			primary := k.roles("k")[0]
			at := k.roles("k")[entry]
			a := at.runAt(Levels{W: level, Timeout: time.Minute}, "set", "k", value)
			objects, bytes := 0, 0
			for e, ok := k.take(nil, nil, 0); ok; e, ok = k.take(nil, nil, 0) {
				if k.dc(e.from) != k.dc(e.to) {
					bytes += len(e.bytes)
					if e.kind == wire.Replicate {
						objects++
					}
				}
				k.hand(e)
			}
			if !a.finished() || a.Err != nil {
				t.Fatalf("%v from %d: %v", level, entry, a.Err)
			}
			limit := 1500 // one object, and acknowledgements
			if k.dc(at.id) != k.dc(primary.id) {
				limit += 1100 // the command itself
			}
			if objects != 1 || bytes > limit {
				t.Errorf("%v from %d: %d objects and %d bytes between data centres", level, entry, objects, bytes)
			}
			for _, n := range k.roles("k") {
				if !n.holds("k") || n.Waiting() > 0 {
					t.Errorf("%v from %d: %v has it: %v, waiting: %d", level, entry, n.id, n.holds("k"), n.Waiting())
				}
			}
		}
	}
}

// Who was to pass an object on does not: it refuses, is lost, or says nothing. The
// others get it directly; whom it cannot reach itself it keeps a hint for.
func TestTheOthersAreServedWithoutTheirLeader(t *testing.T) {
	setUp := func() (k *talk, primary, leader *talker, rest []*talker, a *outcome) {
		k = newTalk(t, 6)
		primary = k.roles("k")[0]
		far := k.inDC("k", primary, true)
		a = primary.runAt(Levels{W: EachQuorum, Timeout: time.Minute}, "set", "k", "v")
		return k, primary, far[0], far[1:], a
	}
	k, _, leader, _, a := setUp()
	leader.store.fail(ErrFull) // it passes the object on all the same
	k.deliverAll()
	if !a.finished() || a.Err != nil {
		t.Errorf("with a full disk: %v", a.Err)
	}
	k, primary, leader, rest, a := setUp()
	k.drop(primary, leader, wire.Replicate)
	primary.Lost(leader.id)
	k.deliverAll()
	if !a.finished() || a.Err != nil || primary.Metrics.Unrelayed.Load() != 2 || !rest[0].holds("k") || !rest[1].holds("k") {
		t.Errorf("lost: %v, %d sent directly", a.Err, primary.Metrics.Unrelayed.Load())
	}
	k, primary, leader, rest, a = setUp()
	k.drop(primary, leader, wire.Replicate)
	k.deliverUntil(a)
	if a.Err != nil || !rest[0].holds("k") || !rest[1].holds("k") {
		t.Errorf("silent: %v", a.Err)
	}
	k, _, leader, rest, a = setUp()
	leader.SetReach(rest[0].id, Down)
	k.deliverAll()
	if !a.finished() || a.Err != nil {
		t.Errorf("one is out of its reach: %v", a.Err)
	}
	if owed := leader.hints("k"); len(owed) != 1 || owed[0] != rest[0].id {
		t.Errorf("hints for %v, want %v", owed, rest[0].id)
	}
}

// What each level of data centres takes, with one of two data centres gone, and with
// replicas of one's own gone.
func TestLevelsOfDataCentres(t *testing.T) {
	for _, c := range []struct {
		level               Level
		hereDown, farDown   int
		wantWrite, wantRead bool
	}{
		{LocalOne, 0, 3, true, true},
		{LocalQuorum, 0, 3, true, true},
		{EachQuorum, 0, 3, false, false},
		{Quorum, 0, 3, false, false},
		{One, 0, 3, true, true},
		{LocalOne, 2, 0, true, true},
		{LocalQuorum, 1, 3, true, true},
		{LocalQuorum, 2, 0, false, false},
		{EachQuorum, 1, 1, true, true},
		{EachQuorum, 0, 2, false, false},
		{EachQuorum, 2, 0, false, false},
		{All, 0, 1, false, false},
	} {
		k := newTalk(t, 6)
		entry := k.roles("k")[0]
		here, far := k.inDC("k", entry, false), k.inDC("k", entry, true)
		down := append(here[len(here)-c.hereDown:], far[:c.farDown]...)
		for _, n := range k.roles("k") {
			for _, d := range down {
				if !slices.Contains(down, n) {
					n.SetReach(d.id, Down)
				}
			}
		}
		entry.run("set", "k", "before")
		k.deliverAll()
		for _, op := range []string{"set", "get"} {
			want := c.wantWrite
			if op == "get" {
				want = c.wantRead
			}
			a := entry.runAt(Levels{R: c.level, W: c.level, Timeout: time.Minute}, op, "k", "v")
			k.deliverAll()
			if !a.finished() || want != (a.Err == nil) || !want && !errors.Is(a.Err, ErrNoQuorum) {
				t.Errorf("%s at %v with %d down here and %d there: finished %v, %v", op, c.level, c.hereDown, c.farDown, a.finished(), a.Err)
			}
		}
		if !strings.HasPrefix(c.level.String(), "local") {
			continue
		}
		// Nothing of a local read crosses the link.
		a := entry.runAt(Levels{R: c.level, Timeout: time.Minute}, "get", "k")
		if bytes := k.crossing(); bytes != 0 {
			t.Errorf("a read at %v sends %d bytes to the other data centre", c.level, bytes)
		}
		k.deliverAll()
		if c.wantRead && string(a.Out) != "v" {
			t.Errorf("read at %v: %q", c.level, a.Out)
		}
	}
}

// An operation that depends on the value meets what was acknowledged to clients of the same
// data centre by its replicas alone, though it runs at a soft primary in another one, whose
// replicas have not got it yet.
func TestALocalWriteIsMetFromTheOtherDataCentre(t *testing.T) {
	for _, level := range []Level{LocalOne, LocalQuorum} {
		for _, how := range []struct{ op, want string }{{"setxx", "1"}, {"setnx", "0"}} {
			k := newTalk(t, 6)
			primary := k.roles("k")[0]
			here, there := k.inDC("k", primary, true), k.inDC("k", primary, false)
			reach := func(r Reach) {
				for _, a := range here {
					for _, b := range there {
						a.SetReach(b.id, r)
						b.SetReach(a.id, r)
					}
				}
			}
			levels := Levels{R: level, W: level, Timeout: time.Minute}
			reach(Down)
			cut := here[0].runAt(levels, "set", "k", "v")
			k.deliverSome(here[0], here[1])
			k.deliverSome(here[1], here[0])
			if !cut.finished() || cut.Err != nil {
				t.Fatalf("%v while the link is cut: %v", level, cut.Err)
			}
			k.queue = nil // the third one has not got it
			reach(Up)
			primary.SetReach(here[0].id, Slow) // and they are asked last
			primary.SetReach(here[1].id, Slow)
			a := here[2].runAt(levels, how.op, "k", "w")
			k.deliverAll()
			if !a.finished() || a.Err != nil || string(a.Out) != how.want {
				t.Errorf("%s at %v: %q, %v; want %s", how.op, level, a.Out, a.Err, how.want)
			}
		}
	}
}

// An operation of the other data centre that changes nothing tells its client of a value that so far
// only the soft primary's has: it brings it to the client's first.
func TestWhatIsToldToTheOtherDataCentreIsThere(t *testing.T) {
	for _, level := range []Level{LocalOne, LocalQuorum} {
		k := newTalk(t, 6)
		primary := k.roles("k")[0]
		here, there := k.inDC("k", primary, true), k.inDC("k", primary, false)
		a := there[0].runAt(Levels{W: level, Timeout: time.Minute}, "set", "k", "v")
		for _, n := range there {
			k.deliverSome(primary, n)
			k.deliverSome(n, primary)
		}
		if !a.finished() || a.Err != nil {
			t.Fatalf("%v: %v", level, a.Err)
		}
		k.queue = nil // the other data centre has not got it
		a = here[0].runAt(Levels{R: level, W: level, Timeout: time.Minute}, "setnx", "k", "w")
		for range 1000 {
			if e, ok := k.take(nil, nil, 0); ok {
				k.hand(e)
			}
		}
		if !a.finished() || a.Err != nil || string(a.Out) != "0" {
			t.Fatalf("setnx at %v: finished %v, %q, %v", level, a.finished(), a.Out, a.Err)
		}
		if holding := slices.IndexFunc(here, func(n *talker) bool { return n.holds("k") }); holding < 0 {
			t.Errorf("%v: nobody in the client's data centre has what it was told of", level)
		}
	}
}
