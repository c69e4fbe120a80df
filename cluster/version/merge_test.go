package version

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/cluster/hlc"
)

func encode(o *Object) string { return string(o.Append(nil)) }

func merged(a, b *Object) *Object {
	dst := new(Object)
	Merge(dst, a, b)
	return dst
}

// twin is the naive model of an object: all events ever seen, and which of them
// are still values. It knows each event by itself and has no version vector.
type twin struct {
	seen, alive map[Dot]bool
}

func newTwin() *twin { return &twin{map[Dot]bool{}, map[Dot]bool{}} }

func (w *twin) clone() *twin { return &twin{maps.Clone(w.seen), maps.Clone(w.alive)} }

func (w *twin) merge(v *twin) {
	for d := range w.alive {
		if v.seen[d] && !v.alive[d] {
			delete(w.alive, d)
		}
	}
	for d := range v.alive {
		if !w.seen[d] {
			w.alive[d] = true
		}
	}
	maps.Copy(w.seen, v.seen)
}

func (w *twin) write(d Dot, saw *twin) {
	for e := range saw.seen {
		delete(w.alive, e)
	}
	maps.Copy(w.seen, saw.seen)
	w.seen[d], w.alive[d] = true, true
}

// replica is a node's object of one key beside its model.
type replica struct {
	o *Object
	w *twin
}

func (r replica) clone() replica { return replica{r.o.Clone(), r.w.clone()} }

// holder is a client's context of the key beside its model: what it has seen.
type holder struct {
	ctx *Context
	w   *twin
}

// world is some replicas, messages under way between them, and contexts that
// clients hold. Clocks advance by chance, so nodes often share a timestamp.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	nodes    []replica
	messages []replica
	clients  []holder
	events   []Dot
}

func newWorld(t *testing.T, seed uint64, nodes int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 3))}
	for range nodes {
		w.nodes = append(w.nodes, replica{new(Object), newTwin()})
	}
	return w
}

// stamp returns the dot of the next event at a node that has seen something.
func (w *world) stamp(node int, saw *Context) Dot {
	newest := max(w.nodes[node].o.Context.Newest(), saw.Newest())
	return Dot{Incarnation(node + 1), newest + 1 + hlc.Timestamp(w.rng.IntN(2))}
}

// step lets one random thing happen.
func (w *world) step() {
	node := w.rng.IntN(len(w.nodes))
	r := w.nodes[node]
	switch w.rng.IntN(8) {
	case 0, 1: // a plain SET or DEL
		w.write(node, nil, r.w)
	case 2: // a client writes with the context it read or its last write returned
		if len(w.clients) > 0 {
			at := w.rng.IntN(len(w.clients))
			c := w.clients[at]
			w.write(node, c.ctx, c.w)
			if len(c.ctx.Dots) == MaxDots { // would forget next
				w.clients = slices.Delete(w.clients, at, at+1)
			}
		}
	case 3: // a client reads, or comes and knows of nothing
		c := holder{new(Context), newTwin()}
		if w.rng.IntN(3) > 0 {
			seen := r.clone()
			c.ctx, c.w = &seen.o.Context, seen.w
		}
		w.clients = append(w.clients, c)
	case 4, 5: // the node sends its object
		w.messages = append(w.messages, r.clone())
	case 6, 7: // a message arrives, in any order, and perhaps again later
		if len(w.messages) == 0 {
			return
		}
		at := w.rng.IntN(len(w.messages))
		w.deliver(node, w.messages[at])
		if w.rng.IntN(2) == 0 {
			w.messages = slices.Delete(w.messages, at, at+1)
		}
	}
}

// write makes an event by a client with a context, nil for a plain write, that
// has seen what saw has. The context then has seen the event too.
func (w *world) write(node int, ctx *Context, saw *twin) {
	r := w.nodes[node]
	seen := ctx
	if ctx == nil {
		seen = &r.o.Context
	}
	dot := w.stamp(node, seen)
	s := Sibling{Kind: String, Value: fmt.Appendf(nil, "%d", len(w.events))}
	if w.rng.IntN(4) == 0 {
		s.Kind = Tombstone
	}
	if _, err := r.o.Update(dot, ctx, s); err != nil {
		w.t.Fatal(err)
	}
	r.w.write(dot, saw.clone())
	w.events = append(w.events, dot)
	if ctx != nil {
		saw.seen[dot] = true
		w.checkHolder(holder{ctx, saw})
	}
}

// checkHolder checks that a client's context covers what the client has seen
// and nothing else.
func (w *world) checkHolder(c holder) {
	w.t.Helper()
	for _, d := range w.events {
		if c.ctx.Covers(d) != c.w.seen[d] {
			w.t.Fatalf("context %+v covers %v: %v", *c.ctx, d, !c.w.seen[d])
		}
	}
	var again Context
	if err := again.ParseToken([]byte(c.ctx.EncodeToken(1, 2)), 1, 2); err != nil || CompareContexts(&again, c.ctx) != Equal {
		w.t.Fatalf("context %+v does not survive its token: %v", *c.ctx, err)
	}
}

func (w *world) deliver(node int, m replica) {
	w.nodes[node].o = merged(w.nodes[node].o, m.o)
	w.nodes[node].w.merge(m.w)
}

// check compares a replica with its model.
func (w *world) check(r replica) {
	w.t.Helper()
	for i, s := range r.o.Siblings {
		if !r.w.alive[s.Dot] {
			w.t.Fatalf("sibling %v was replaced", s.Dot)
		}
		if i > 0 && r.o.Siblings[i-1].Compare(s.Dot) >= 0 {
			w.t.Fatal("siblings out of order")
		}
	}
	if len(r.o.Siblings) != len(r.w.alive) {
		w.t.Fatalf("%d siblings of %d", len(r.o.Siblings), len(r.w.alive))
	}
	for d := range r.w.seen {
		if !r.o.Context.Covers(d) {
			w.t.Fatalf("context does not cover %v", d)
		}
	}
	var again Object
	if err := again.Decode(r.o.Append(nil)); err != nil || encode(&again) != encode(r.o) {
		w.t.Fatalf("does not survive its encoding: %v", err)
	}
}

func TestReplicasEqualTheirModelAndConverge(t *testing.T) {
	dotted := 0
	for seed := range uint64(300) {
		w := newWorld(t, seed, 2+int(seed%4))
		for range 120 {
			w.step()
			w.check(w.nodes[w.rng.IntN(len(w.nodes))])
		}
		for _, r := range w.nodes {
			dotted += len(r.o.Context.Dots)
		}
		all := slices.Concat(w.nodes, w.messages)
		var want string
		for round := range 5 {
			w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			sum := replica{new(Object), newTwin()}
			for _, r := range all {
				sum.o = merged(sum.o, r.o)
				sum.w.merge(r.w)
			}
			w.check(sum)
			if round == 0 {
				want = encode(sum.o)
			} else if encode(sum.o) != want {
				t.Fatalf("seed %d: another order of delivery gives another object", seed)
			}
		}
	}
	if dotted == 0 {
		t.Fatal("no object had to remember an exact dot")
	}
}

// crowd returns objects with bounded contexts: many nodes write one key.
func crowd(rng *rand.Rand) []*Object {
	objects := make([]*Object, 5)
	for i := range objects {
		objects[i] = new(Object)
	}
	var held []*Context // by clients that go on writing with them
	for range 150 {
		i := rng.IntN(len(objects))
		// Each object is written by nodes of its own, which keep to it.
		dot := Dot{Incarnation(rng.IntN(60)*len(objects) + i), objects[i].Context.Newest() + 1 + hlc.Timestamp(rng.IntN(2))}
		var ctx *Context
		if rng.IntN(3) == 0 {
			ctx = &Context{}
			switch n := rng.IntN(4); {
			case n == 0:
			case n == 1 && len(held) > 0:
				ctx = held[rng.IntN(len(held))]
			default:
				ctx.Set(&objects[rng.IntN(len(objects))].Context)
			}
			held = append(held, ctx)
			dot.Time = max(dot.Time, ctx.Newest()+1)
		}
		var err error
		if rng.IntN(4) == 0 {
			_, err = objects[i].Increment(dot, int64(rng.IntN(9)), 0)
		} else {
			_, err = objects[i].Update(dot, ctx, Sibling{Kind: String, Value: []byte("v"), Deadline: int64(rng.IntN(2))})
		}
		if err != nil {
			panic(err)
		}
		if rng.IntN(6) == 0 {
			objects[i] = merged(objects[i], objects[rng.IntN(len(objects))])
		}
	}
	return objects
}

func TestMergeLaws(t *testing.T) {
	floors, dotted := 0, 0
	for seed := range uint64(300) {
		objects := crowd(rand.New(rand.NewPCG(seed, 4)))
		for _, a := range objects {
			if a.Context.Floor > 0 {
				floors++
			}
			dotted += len(a.Context.Dots)
			if encode(merged(a, a)) != encode(a) {
				t.Fatalf("seed %d: not idempotent", seed)
			}
			for _, b := range objects {
				ab := merged(a, b)
				if encode(ab) != encode(merged(b, a)) {
					t.Fatalf("seed %d: not commutative", seed)
				}
				if encode(merged(ab, b)) != encode(ab) || !ab.Covers(a) || !ab.Covers(b) {
					t.Fatalf("seed %d: a merge does not cover its parts", seed)
				}
				if a.Covers(b) != (encode(ab) == encode(a)) {
					t.Fatalf("seed %d: Covers is %v", seed, a.Covers(b))
				}
				if newest := max(a.Context.Newest(), b.Context.Newest()); ab.Newest().Time != newest {
					t.Fatalf("seed %d: the newest event %v is gone", seed, newest)
				}
				for _, c := range objects {
					if encode(merged(ab, c)) != encode(merged(a, merged(b, c))) {
						t.Fatalf("seed %d: not associative", seed)
					}
				}
			}
		}
	}
	if floors == 0 || dotted == 0 {
		t.Fatalf("%d contexts were bounded, %d exact dots", floors, dotted)
	}
}

// A merge with an old replica brings nothing back, though the entries that
// covered its values were dropped.
func TestDroppedEntriesBringNothingBack(t *testing.T) {
	o := new(Object)
	var old []*Object
	dropped := 0
	for i := range hlc.Timestamp(200) {
		n, err := o.Update(Dot{Incarnation(1000 - i), i + 1}, nil, Sibling{Kind: String, Value: []byte{byte(i)}})
		if err != nil {
			t.Fatal(err)
		}
		dropped += n
		old = append(old, o.Clone())
	}
	if dropped != 200-MaxEntries || len(o.Context.Entries) != MaxEntries || o.Context.Floor != 200-MaxEntries {
		t.Fatalf("dropped %d, %d entries, floor %v", dropped, len(o.Context.Entries), o.Context.Floor)
	}
	for _, past := range old {
		if encode(merged(past, o)) != encode(o) {
			t.Fatal("an old value came back")
		}
	}
}

// Broken replicas, which have different values for one dot, still agree.
func TestOneDotTwoValues(t *testing.T) {
	a, b := new(Object), new(Object)
	for o, v := range map[*Object]string{a: "1", b: "2"} {
		if _, err := o.Update(Dot{1, 1}, nil, Sibling{Kind: String, Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	if encode(merged(a, b)) != encode(merged(b, a)) {
		t.Fatal("not commutative")
	}
}
