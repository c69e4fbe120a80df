package version

import (
	"fmt"
	"testing"

	"kvstore/cluster/hlc"
)

// Two clients that began without having read, and go on with what their writes
// returned, never replace each other's values, whichever nodes they use.
func TestChainsOfWritesStaySiblings(t *testing.T) {
	for nodes := range Incarnation(3) {
		o := new(Object)
		clients := [2]*Context{new(Context), new(Context)}
		var last [2]string
		for i := range hlc.Timestamp(100) {
			node := 1 + Incarnation(i/2)%(nodes+1)
			who := 0 // now and then twice or thrice in a row
			if i%5 == 1 || i%5 == 4 {
				who = 1
			}
			set(t, o, node, i+1, clients[who], fmt.Sprint(i))
			want := fmt.Sprint([]string{last[1-who], fmt.Sprint(i)})
			if last[who] = fmt.Sprint(i); i > 0 && fmt.Sprint(values(o)) != want {
				t.Fatalf("%d nodes: siblings %v, want %v", nodes+1, values(o), want)
			}
			if len(o.Context.Dots) > 0 {
				t.Fatalf("an object that has held every event has exact dots: %v", o.Context.Dots)
			}
			if c := clients[who]; len(c.Dots) > MaxDots {
				t.Fatalf("%d exact dots", len(c.Dots))
			}
		}
		if size := len(clients[1].EncodeToken(1, 2)); size > 850 {
			t.Errorf("a token of %d characters", size)
		}
		if order := CompareContexts(clients[0], clients[1]); order != Concurrent {
			t.Errorf("the clients' contexts are %v", order)
		}
		// Who has seen both merges them, and has a vector again.
		all := o.Clone().Context
		set(t, o, 1, 1000, &all, "both")
		if fmt.Sprint(values(o)) != "[both]" || len(all.Dots) > 0 || CompareContexts(&all, &o.Context) != Equal {
			t.Fatalf("siblings %v, context %+v", values(o), all)
		}
	}
}

// One client alone keeps a vector, and its context is what a reader gets.
func TestOneChainNeedsNoDots(t *testing.T) {
	o, c := new(Object), new(Context)
	for i := range hlc.Timestamp(100) {
		set(t, o, Incarnation(i%40), i+1, c, "v")
		if len(c.Dots) > 0 || CompareContexts(c, &o.Context) != Equal || len(c.Entries) > MaxEntries {
			t.Fatalf("context %+v of %+v", *c, o.Context)
		}
	}
}

// A node that has not met an event which a client replaces remembers that it was
// replaced, it alone, and forgets that when the event is there.
func TestReplacedBeforeItArrived(t *testing.T) {
	a, b, c := new(Object), new(Object), new(Context)
	set(t, a, 1, 1, new(Context), "unseen")
	set(t, a, 1, 2, c, "first")
	set(t, b, 2, 3, c, "second")
	if fmt.Sprint(values(b)) != "[second]" || fmt.Sprint(b.Context.Dots) != "[{1 0.2}]" {
		t.Fatalf("at the other node %v, %+v", values(b), b.Context)
	}
	if _, err := b.Clone().Update(Dot{2, 2}, nil, Sibling{Kind: String}); err == nil {
		t.Error("an event before one that was seen")
	}
	both := merged(a, b)
	if fmt.Sprint(values(both)) != "[unseen second]" || len(both.Context.Dots) > 0 {
		t.Fatalf("merged %v, %+v", values(both), both.Context)
	}
	// A deletion says no more than a value does.
	if _, err := both.Update(Dot{2, 9}, c, Sibling{Kind: Tombstone}); err != nil || fmt.Sprint(values(both)) != "[unseen ]" {
		t.Fatalf("after a deletion of the second: %q, %v", values(both), err)
	}
	if c.Covers(Dot{1, 1}) || !c.Covers(Dot{2, 9}) {
		t.Fatalf("context %+v", *c)
	}
}

// What is forgotten makes a value too many at most, and the bounds hold.
func TestForgottenDots(t *testing.T) {
	a, b := new(Object), new(Object)
	set(t, a, 1, 1, nil, "unseen")
	at := hlc.Timestamp(2)
	for range 50 { // each another client, at a and then at b
		c := new(Context)
		set(t, a, 1, at, c, "a")
		set(t, b, 2, at+1, c, "b")
		at += 2
	}
	if len(b.Context.Dots) != MaxDots {
		t.Fatalf("%d exact dots", len(b.Context.Dots))
	}
	both := merged(a, b)
	if n := len(both.Siblings); n != 1+50+(50-MaxDots) {
		t.Fatalf("%d siblings", n)
	}
	if encode(merged(both, b)) != encode(both) || encode(merged(a, both)) != encode(both) {
		t.Fatal("replicas do not converge")
	}
	many := new(Context)
	for i := range Incarnation(MaxEntries + 5) {
		many.Add(Dot{2 + i, at + hlc.Timestamp(i)})
	}
	set(t, a, 1, at+100, many, "x")
	if len(many.Entries) != MaxEntries || many.Covers(Dot{1, 1}) || !many.Covers(Dot{1, at + 100}) {
		t.Fatalf("%d entries", len(many.Entries))
	}
}

func TestCompareDots(t *testing.T) {
	v := func(entry hlc.Timestamp, dots ...hlc.Timestamp) *Context {
		c := &Context{Entries: []Dot{{1, entry}}}
		for _, d := range dots {
			c.addDot(Dot{1, d})
		}
		return c
	}
	for _, test := range []struct {
		a, b *Context
		want Order
	}{
		{v(1, 3), v(1, 3), Equal}, {v(1), v(1, 3), Before}, {v(1, 3), v(1, 3, 5), Before}, {v(1, 3), v(3), Before},
		{v(3), v(1, 3), After}, {v(1, 3), v(1, 4), Concurrent}, {v(1, 5), v(3), Concurrent},
		{v(2, 2, 1), v(2), Equal}, {new(Context), v(1, 2), Before}, {v(1, 5), v(1, 3, 5), Before},
	} {
		if got := CompareContexts(test.a, test.b); got != test.want {
			t.Errorf("%+v and %+v: %v, want %v", *test.a, *test.b, got, test.want)
		}
	}
}
