package sim

import (
	"strings"
	"testing"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

func dotAt(n uint64) version.Dot { return version.Dot{Node: 7, Time: hlc.Timestamp(n)} }

// broken names the invariants that a result breaks.
func broken(r *Result) string {
	var all []string
	for _, v := range r.Verify() {
		all = append(all, v.Invariant)
	}
	return strings.Join(all, " ")
}

// TestWhatPastsShow sabotages a history in which b replaced a: each invariant of the
// past finds what it is for.
func TestWhatPastsShow(t *testing.T) {
	for _, c := range []struct {
		name, broken string
		change       func(r *Result)
	}{
		{"an acknowledged write nobody replaced is gone", "acknowledged", func(r *Result) {
			w := r.Dots[dotAt(2)]
			w.Over = nil
			r.Dots[dotAt(2)] = w
		}},
		{"what replaced it is gone too", "acknowledged", func(r *Result) {
			w := r.Dots[dotAt(2)]
			w.Over = nil
			r.Dots[dotAt(2)] = w
			r.Dots[dotAt(1)] = Written{Key: "k", Kind: version.String, Payload: "a", Op: 0}
			r.Dots[dotAt(9)] = Written{Key: "k", Kind: version.String, Payload: "lost", Op: -1, Over: []version.Dot{dotAt(1)}}
		}},
		{"an acknowledged deletion was undone", "returned", func(r *Result) {
			r.History = append(r.History, numbered(op("del", "", 5, 6, Reply{Text: "1"}), 2))
			r.Dots[dotAt(3)] = Written{Key: "k", Kind: version.Tombstone, Op: 2, Over: []version.Dot{dotAt(2)}}
			r.Stored = map[version.Dot]bool{dotAt(3): true}
		}},
		{"a read of what nobody wrote", "written", func(r *Result) { r.History = append(r.History, numbered(get("z", 5, 6), 2)) }},
		{"a read before the write", "written", func(r *Result) { r.History = append(r.History, numbered(get("b", 0, 1), 2)) }},
		{"a read after the deadline", "expired", func(r *Result) {
			w := r.Dots[dotAt(2)]
			w.Deadline = 1
			r.Dots[dotAt(2)] = w
			r.Began = time.UnixMilli(10)
			r.History = append(r.History, numbered(get("b", 5, 6), 2))
		}},
		{"a context replaced what it had not seen", "context", func(r *Result) { r.History[1].Command = "vset" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _, _ := held(t)
			r.Config.Keys[0].Check = Kept
			if got := broken(r); got != "" {
				t.Fatalf("before: %s", got)
			}
			c.change(r)
			if got := broken(r); !strings.Contains(got, c.broken) {
				t.Errorf("broken is %q, want %s", got, c.broken)
			}
		})
	}
}

// TestSiblingsInOrder: an object that holds two versions of which one had replaced
// the other.
func TestSiblingsInOrder(t *testing.T) {
	r, _, _ := held(t)
	o := &version.Object{Siblings: []version.Sibling{
		{Dot: dotAt(1), Kind: version.String, Value: []byte("a")}, {Dot: dotAt(2), Kind: version.String, Value: []byte("b")},
	}}
	if v := r.Dots.check("k", o); v == nil || v.Invariant != "siblings" {
		t.Errorf("found %v", v)
	}
}

// TestWhatLooksShow sabotages what two looks at the disks of three machines saw.
func TestWhatLooksShow(t *testing.T) {
	var o version.Object
	write := func(n uint64, s version.Sibling) *version.Object {
		if _, err := o.Update(dotAt(n), nil, s); err != nil {
			t.Fatal(err)
		}
		return o.Clone()
	}
	value := write(1, version.Sibling{Kind: version.String, Value: []byte("a")})
	deleted := write(2, version.Sibling{Kind: version.Tombstone})
	anew := write(3, version.Sibling{Kind: version.String, Value: []byte("c")})
	dots := past{
		dotAt(1): {Key: "k", Kind: version.String, Payload: "a", Op: 0},
		dotAt(2): {Key: "k", Kind: version.Tombstone, Op: 1, Over: []version.Dot{dotAt(1)}},
		dotAt(3): {Key: "k", Kind: version.String, Payload: "c", Op: 2, Over: []version.Dot{dotAt(2)}},
	}
	two, _, err := ring.Build(nil, []ring.Member{{ID: 1, Name: "n0", Weight: 1}, {ID: 2, Name: "n1", Weight: 1}}, ring.Options{ClusterID: 1, Partitions: 16, N: 2})
	if err != nil {
		t.Fatal(err)
	}
	one, _, err := ring.Recover(two, []ring.NodeID{1})
	if err != nil {
		t.Fatal(err)
	}
	type held = [2]*version.Object
	for _, c := range []struct {
		name, broken string
		before, now  held
		owed, dead   bool // n0 keeps a hint for n1; n1 was declared dead
	}{
		{"nothing happens", "", held{value, value}, held{value, value}, false, false},
		{"a tombstone is collected everywhere", "", held{deleted, deleted}, held{nil, nil}, false, false},
		{"it is collected too early", "collected", held{deleted, value}, held{nil, value}, false, false},
		{"a dead machine has not seen it", "", held{deleted, value}, held{nil, value}, false, true},
		{"a hint is delivered", "", held{anew, nil}, held{anew, anew}, true, false},
		{"a hint is lost", "hints", held{anew, nil}, held{anew, nil}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &World{c: Config{Members: 2}, newest: two, dots: dots, began: time.Now()}
			if c.dead {
				w.newest = one
			}
			look := func(at int64, held held) *sighting {
				s := &sighting{at: time.Unix(at, 0), dropped: make([]uint64, 2), lives: make([]int, 2), hints: make([][]owed, 2)}
				for _, o := range held {
					objects, encoded := map[string]*version.Object{}, map[string][]byte{}
					if o != nil {
						objects["k"], encoded["k"] = o, o.Append(nil)
					}
					s.objects, s.encoded = append(s.objects, objects), append(s.encoded, encoded)
				}
				return s
			}
			for i := range 2 {
				w.machines = append(w.machines, &machine{w: w, index: i, known: ring.NodeID(i + 1)})
			}
			w.holders = map[string][]int{"k": {0, 1}}
			before, now := look(60, c.before), look(120, c.now)
			if c.owed {
				before.hints[0] = []owed{{2, "k"}}
			}
			w.sighted = before
			w.collected(before, now)
			w.delivered(before, now)
			got := ""
			for _, v := range w.failures {
				got += v.Invariant
			}
			if got != c.broken {
				t.Errorf("broken is %q, want %q", got, c.broken)
			}
		})
	}
}
