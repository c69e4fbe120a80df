package coordinator

import (
	"errors"
	"strings"
	"testing"

	"kvstore/cluster/wire"
)

// A write goes on where the soft primary's disk is full, to each replica once.
func TestAWriteGoesOnFromAFullDisk(t *testing.T) {
	for _, reason := range []error{ErrFull, ErrReadOnly} {
		for entry := range 3 {
			for full := range 4 {
				k := newTalk(t, 3)
				list := k.roles("k")
				for _, n := range list[:full] {
					n.store.fail(reason)
				}
				w := list[entry].run("set", "k", "v")
				k.deliverAll()
				switch {
				case !w.finished():
					t.Errorf("%v at %d, by node %d: it does not end", reason, full, entry)
				case full <= 1 && w.Err != nil:
					t.Errorf("%v at %d, by node %d: %v", reason, full, entry, w.Err)
				case full > 1 && !errors.Is(w.Err, reason) && !errors.Is(w.Err, ErrTimeout):
					t.Errorf("%v at %d, by node %d: %v", reason, full, entry, w.Err)
				}
				if full == 1 {
					r := list[1].run("get", "k")
					if k.deliverAll(); string(r.Out) != "v" {
						t.Errorf("%v, by node %d: it holds %q", reason, entry, r.Out)
					}
				}
			}
		}
	}
}

func TestAWriteStaysWithAFullDisk(t *testing.T) {
	for name, c := range map[string]struct {
		levels Levels
		value  string
	}{
		"the level needs every replica": {Levels{W: All}, "v"},
		"the command is large":          {Levels{}, strings.Repeat("v", maxKept)},
	} {
		k := newTalk(t, 3)
		list := k.roles("k")
		list[0].store.fail(ErrFull)
		w := list[2].runAt(c.levels, "set", "k", c.value)
		k.deliver(list[2], list[0], wire.Write)
		k.deliver(list[0], list[2], wire.WriteReply)
		if !w.finished() || !errors.Is(w.Err, ErrFull) {
			t.Errorf("%s: finished %v, %v", name, w.finished(), w.Err)
		}
		if e, ok := k.take(nil, nil, 0); ok {
			t.Errorf("%s: a %v goes to %v", name, e.kind, e.to)
		}
	}
}

// A replica whose disk is full has no part in the quorum, so the acknowledgement of
// the third one is waited for, and leaves its node at once: when the full one would
// have been the soft primary, and when it has merely brought the write.
func TestAFullDiskIsNotWaitedFor(t *testing.T) {
	for entry := range 2 {
		k := newTalk(t, 3)
		list := k.roles("k")
		entry, primary := list[entry], list[1-entry]
		entry.store.fail(ErrFull)
		if entry == list[1] {
			primary.run("set", "k", "before") // the entry node learns of its disk
			k.deliverAll()
		}
		entry.run("set", "k", "v")
		k.deliver(entry, primary, wire.Write)
		e, ok := k.take(primary, list[2], wire.Replicate)
		var m wire.Message
		if _, err := m.Decode(e.bytes); !ok || err != nil || m.Flags&wire.Later != 0 {
			t.Errorf("the third replica: %v, %v, flags %b", ok, err, m.Flags)
		}
	}
}

// The key and arguments are the maker's again after Submit, and what goes on is
// what was asked.
func TestAWriteThatGoesOnIsACopy(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	list[0].store.fail(ErrFull)
	w := list[2].run("set", "k", "value")
	for _, b := range append(w.Args, w.Key) {
		clear(b)
	}
	k.deliverAll()
	if !w.finished() || w.Err != nil {
		t.Fatal(w.Err)
	}
	r := list[1].run("get", "k")
	if k.deliverAll(); string(r.Out) != "value" {
		t.Errorf("it holds %q", r.Out)
	}
}
