package coordinator

import (
	"errors"
	"testing"

	"kvstore/cluster/version"
)

// damage makes every record of a node unreadable.
func (n *talker) damage() {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	for name := range n.store.records {
		n.store.records[name] = []byte{0xff, 0xff}
	}
}

// whole reports whether every record of a node can be read.
func (n *talker) whole() bool {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	var o version.Object
	for _, record := range n.store.records {
		if o.Decode(record) != nil {
			return false
		}
	}
	return true
}

// TestDamagedRecordsHeal damages one of three copies and uses the key: whoever holds the damage, the outcome is as if
// there were none, and the copy is whole after it.
func TestDamagedRecordsHeal(t *testing.T) {
	for _, c := range []struct {
		name  string
		role  int // of the damaged node
		entry int // of the node that is asked
		run   []string
		want  string // what the key holds then
	}{
		{"a plain write at the soft primary", 0, 0, []string{"set", "k", "w"}, "w"},
		{"a write brought by another node", 0, 1, []string{"set", "k", "w"}, "w"},
		{"a write that depends on the value", 0, 0, []string{"append", "k", "w"}, "vw"},
		{"the same, brought by another node", 0, 2, []string{"append", "k", "w"}, "vw"},
		{"a replica that takes a write", 1, 0, []string{"set", "k", "w"}, "w"},
		{"a replica that takes an addition", 2, 0, []string{"append", "k", "w"}, "vw"},
		{"a read", 0, 0, []string{"get", "k"}, "v"},
		{"a read by another node", 1, 0, []string{"get", "k"}, "v"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newTalk(t, 3)
			list := k.roles("k")
			list[0].run("set", "k", "v")
			k.deliverAll()
			list[c.role].damage()
			r := list[c.entry].run(c.run[0], c.run[1:]...)
			k.deliverAll()
			if !r.finished() || r.Err != nil {
				t.Fatalf("finished %v, %v", r.finished(), r.Err)
			}
			k.deliverAll()
			if c.run[0] != "get" || c.role == c.entry {
				if !list[c.role].whole() {
					t.Error("the record is damaged still")
				}
			}
			for _, n := range list {
				r := n.runAt(Levels{R: All}, "get", "k")
				k.deliverAll()
				if c.run[0] != "get" && (r.Err != nil || string(r.Out) != c.want) {
					t.Errorf("%q, %v; want %q", r.Out, r.Err, c.want)
				}
			}
			if n := list[c.role].heals.Load(); n != 0 {
				t.Errorf("%d records are being replaced still", n)
			}
		})
	}
}

// TestDamageIsNotMergedIntoNothing: a replica that has lost a record acknowledges another write only when it has what
// was acknowledged before, so a quorum never misses that.
func TestDamageIsNotMergedIntoNothing(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	primary, second, third := list[0], list[1], list[2]
	primary.run("set", "k", "v")
	k.deliverAll()
	second.damage()
	// The third cannot be reached, so the second cannot find out what was acknowledged by itself and the third alone.
	for _, n := range []*talker{primary, second} {
		n.SetReach(third.id, Down)
		n.Lost(third.id)
	}
	r := primary.run("set", "k", "w")
	k.deliverAll()
	if !r.finished() || r.Err == nil {
		t.Fatalf("finished %v, %v: the second replica acknowledged", r.finished(), r.Err)
	}
	if second.whole() {
		t.Error("the record was replaced by what one other replica holds")
	}
	for _, n := range []*talker{primary, second} {
		n.SetReach(third.id, Up)
	}
	again := primary.run("set", "k", "x")
	k.deliverAll()
	if !again.finished() || again.Err != nil || !second.whole() {
		t.Errorf("with the third again: finished %v, %v, whole %v", again.finished(), again.Err, second.whole())
	}
}

// TestDamageOfTheOnlyCopy: a write that replaces whatever is there does; what depends on the value, or reads it, is
// told.
func TestDamageOfTheOnlyCopy(t *testing.T) {
	k := newTalk(t, 1)
	n := k.roles("k")[0]
	n.run("set", "k", "v")
	n.damage()
	for _, c := range []string{"get", "append"} {
		r := n.run(c, "k", "w")
		if !r.finished() || !errors.Is(r.Err, ErrCorrupt) {
			t.Errorf("%s: finished %v, %v", c, r.finished(), r.Err)
		}
	}
	if r := n.run("set", "k", "w"); r.Err != nil || !n.whole() {
		t.Errorf("set: %v", r.Err)
	}
	if r := n.run("get", "k"); r.Err != nil || string(r.Out) != "w" {
		t.Errorf("get: %q, %v", r.Out, r.Err)
	}
}
