package version

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"kvstore/cluster/hlc"
)

// set returns o after a write of a string.
func set(t *testing.T, o *Object, node Incarnation, at hlc.Timestamp, ctx *Context, value string) {
	t.Helper()
	if _, err := o.Update(Dot{node, at}, ctx, Sibling{Kind: String, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

func incr(t *testing.T, o *Object, node Incarnation, at hlc.Timestamp, delta int64) {
	t.Helper()
	if _, err := o.Increment(Dot{node, at}, delta, 0); err != nil {
		t.Fatal(err)
	}
}

func values(o *Object) (v []string) {
	for _, s := range o.Siblings {
		v = append(v, string(s.Value))
	}
	return v
}

func TestManualExample(t *testing.T) {
	const a, b = 1, 2
	atA, atB := new(Object), new(Object)
	set(t, atA, a, 10, nil, "1")
	set(t, atB, b, 12, nil, "2")
	both := merged(atA, atB)
	if got := fmt.Sprint(values(both)); got != "[1 2]" || string(both.Value(0, nil).Data) != "2" {
		t.Fatalf("siblings %s", got)
	}
	seen := both.Clone().Context
	atA = merged(atA, both)
	set(t, atA, a, 15, &seen, "1+2")
	if got := fmt.Sprint(values(atA), atA.Context.Entries); got != "[1+2] [{1 0.15} {2 0.12}]" {
		t.Fatalf("after the merge: %s", got)
	}
	if got := fmt.Sprint(values(merged(atB, atA))); got != "[1+2]" {
		t.Fatalf("at B: %s", got)
	}
}

func TestOldContextMakesSiblings(t *testing.T) {
	o := new(Object)
	set(t, o, 1, 1, nil, "a")
	old, again := o.Clone().Context, o.Clone().Context
	set(t, o, 1, 2, &old, "b")
	set(t, o, 1, 3, &again, "c")
	set(t, o, 2, 4, &Context{}, "d")
	if got := fmt.Sprint(values(o)); got != "[b c d]" {
		t.Fatalf("siblings %s", got)
	}
	set(t, o, 2, 5, nil, "e")
	if got := fmt.Sprint(values(o)); got != "[e]" {
		t.Fatalf("a plain SET leaves %s", got)
	}
}

func TestRefusedWritesChangeNothing(t *testing.T) {
	full := new(Object)
	for i := range hlc.Timestamp(MaxClientSiblings) {
		set(t, full, 1, 10+i, &Context{}, "v")
	}
	ahead := &Context{Entries: []Dot{{9, 500}}}
	tests := []struct {
		name string
		dot  Dot
		ctx  *Context
		s    Sibling
		want error
	}{
		{"one sibling too many", Dot{1, 400}, &Context{}, Sibling{Kind: String}, ErrTooManySiblings},
		{"dot of the past", Dot{1, 5}, nil, Sibling{Kind: String}, ErrStaleDot},
		{"dot issued before", Dot{1, 109}, nil, Sibling{Kind: String}, ErrStaleDot},
		{"dot of the time of another's", Dot{2, 109}, nil, Sibling{Kind: String}, ErrStaleDot},
		{"dot before its context", Dot{1, 400}, ahead, Sibling{Kind: String}, ErrStaleDot},
		{"no time", Dot{1, 0}, nil, Sibling{Kind: String}, ErrStaleDot},
		{"no kind", Dot{1, 400}, nil, Sibling{}, ErrBadSibling},
		{"deadline", Dot{1, 400}, nil, Sibling{Kind: String, Deadline: -1}, ErrBadSibling},
	}
	before := encode(full)
	for _, test := range tests {
		if _, err := full.Update(test.dot, test.ctx, test.s); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if encode(full) != before {
			t.Fatalf("%s: the object changed", test.name)
		}
	}
	set(t, full, 1, 400, nil, "plain SETs still work")
}

func TestIncrementsOnBothSides(t *testing.T) {
	base := new(Object)
	set(t, base, 1, 1, nil, "10")
	a, b := base.Clone(), base.Clone()
	for i := range hlc.Timestamp(5) {
		incr(t, a, 1, 2+i, 1)
		incr(t, b, 2, 2+i, 100)
	}
	both := merged(a, b)
	if v := both.Value(0, nil); string(v.Data) != "515" || !v.Counter || v.Int != 515 || len(both.Siblings) != 3 {
		t.Fatalf("%s of %d siblings", v.Data, len(both.Siblings))
	}
	incr(t, both, 1, 20, -15)
	if v := both.Value(0, nil); v.Int != 500 || len(both.Siblings) != 3 {
		t.Fatalf("%s of %d siblings", v.Data, len(both.Siblings))
	}
	// A SET covers what it saw, and an increment it did not see stays.
	written := both.Clone()
	set(t, written, 3, 30, nil, "7")
	if v := merged(written, both).Value(0, nil); string(v.Data) != "7" {
		t.Fatalf("after a SET: %s", v.Data)
	}
	unseen := both.Clone()
	incr(t, unseen, 4, 25, 1)
	if v := merged(written, unseen).Value(0, nil); string(v.Data) != "8" {
		t.Fatalf("SET beside an increment: %s", v.Data)
	}
}

func TestIncrementOverflow(t *testing.T) {
	o := new(Object)
	incr(t, o, 1, 1, math.MaxInt64)
	before := encode(o)
	if _, err := o.Increment(Dot{1, 2}, 1, 0); !errors.Is(err, ErrOverflow) || encode(o) != before {
		t.Fatal(err)
	}
	incr(t, o, 2, 2, math.MaxInt64)
	if v := o.Value(0, nil); v.Int != math.MaxInt64 {
		t.Fatalf("sum beyond 64 bits: %d", v.Int)
	}
	incr(t, o, 3, 3, math.MinInt64)
	if v := o.Value(0, nil); v.Int != math.MaxInt64-1 {
		t.Fatalf("sum back within 64 bits: %d", v.Int)
	}
}

func TestValue(t *testing.T) {
	str := func(at hlc.Timestamp, v string, deadline int64) Sibling {
		return Sibling{Dot: Dot{1, at}, Kind: String, Value: []byte(v), Deadline: deadline}
	}
	counter := func(at hlc.Timestamp, delta, deadline int64) Sibling {
		return Sibling{Dot: Dot{2, at}, Kind: Counter, Delta: delta, Deadline: deadline}
	}
	tombstone := func(at hlc.Timestamp) Sibling { return Sibling{Dot: Dot{3, at}, Kind: Tombstone} }
	tests := []struct {
		name     string
		siblings []Sibling
		want     string // "-" when absent
		deadline int64
	}{
		{"never written", nil, "-", 0},
		{"string", []Sibling{str(1, "v", 0)}, "v", 0},
		{"empty string", []Sibling{str(1, "", 0)}, "", 0},
		{"with a deadline", []Sibling{str(1, "v", 1001)}, "v", 1001},
		{"expired now", []Sibling{str(1, "v", 1000)}, "-", 0},
		{"deleted", []Sibling{tombstone(1)}, "-", 0},
		{"the newest of two", []Sibling{str(1, "a", 0), str(2, "b", 0)}, "b", 0},
		{"deleted later", []Sibling{str(1, "a", 0), tombstone(2)}, "-", 0},
		{"written later", []Sibling{tombstone(1), str(2, "a", 0)}, "a", 0},
		{"an older one does not outlive the newest", []Sibling{str(1, "a", 0), str(2, "b", 999)}, "-", 0},
		{"counter", []Sibling{counter(1, -5, 0)}, "-5", 0},
		{"two counters", []Sibling{counter(1, 5, 0), counter(2, 6, 0)}, "11", 0},
		{"string and counter", []Sibling{str(1, "10", 0), counter(2, 5, 0)}, "15", 0},
		{"counter and a later string", []Sibling{counter(1, 5, 0), str(2, "10", 0)}, "15", 0},
		{"two strings and a counter", []Sibling{str(1, "10", 0), str(2, "20", 0), counter(3, 5, 0)}, "25", 0},
		{"no number", []Sibling{counter(1, 5, 0), str(2, "x", 0)}, "x", 0},
		{"no number before a counter", []Sibling{str(1, "x", 0), counter(2, 5, 0)}, "x", 0},
		{"deleted beside an increment", []Sibling{counter(1, 5, 0), tombstone(2)}, "5", 0},
		{"the deadline of the newest", []Sibling{str(1, "10", 999), counter(2, 5, 2000)}, "15", 2000},
		{"no deadline any more", []Sibling{str(1, "10", 999), counter(2, 5, 0)}, "15", 0},
		{"expired counter", []Sibling{str(1, "10", 0), counter(2, 5, 7)}, "-", 0},
	}
	for _, test := range tests {
		o := &Object{Siblings: test.siblings}
		v := o.Value(1000, make([]byte, 0, 20))
		if v.Exists != (test.want != "-") || v.Exists && string(v.Data) != test.want || v.Deadline != test.deadline {
			t.Errorf("%s: %v %q until %d", test.name, v.Exists, v.Data, v.Deadline)
		}
	}
}

func TestParseInt(t *testing.T) {
	good := map[string]int64{"0": 0, "7": 7, "-7": -7, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64}
	for s, want := range good {
		if n, ok := ParseInt([]byte(s)); !ok || n != want {
			t.Errorf("%q is %d, %v", s, n, ok)
		}
	}
	for _, s := range []string{"", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "-9223372036854775809", "99999999999999999999"} {
		if n, ok := ParseInt([]byte(s)); ok {
			t.Errorf("%q is %d", s, n)
		}
	}
}

func TestCompare(t *testing.T) {
	a := new(Object)
	set(t, a, 1, 1, nil, "a")
	b := a.Clone()
	set(t, b, 2, 2, nil, "b")
	c := a.Clone()
	set(t, c, 3, 3, nil, "c")
	tests := []struct {
		x, y *Object
		want Order
	}{
		{a, a, Equal}, {a, b, Before}, {b, a, After}, {b, c, Concurrent},
		{new(Object), a, Before}, {new(Object), new(Object), Equal}, {merged(b, c), c, After},
	}
	for _, test := range tests {
		if got := test.x.Compare(test.y); got != test.want {
			t.Errorf("%v and %v: %v, want %v", test.x, test.y, got, test.want)
		}
		if got := CompareContexts(&test.x.Context, &test.y.Context); got != test.want {
			t.Errorf("contexts of %v and %v: %v, want %v", test.x, test.y, got, test.want)
		}
	}
	if s := fmt.Sprint(Equal, Before, After, Concurrent); s != "equal before after concurrent" {
		t.Error(s)
	}
	if s := fmt.Sprint(String, Counter, Tombstone, Kind(0)); s != "string counter tombstone unknown" {
		t.Error(s)
	}
}
