package sim

import (
	"math/rand/v2"
	"strings"
	"testing"

	"kvstore/cluster/hlc"
	"kvstore/cluster/version"
)

// op is an operation of a history made by hand.
func op(command, value string, call, ret int64, reply Reply) *Op {
	return &Op{Command: command, Key: "k", Value: value, Call: call, Return: ret, Outcome: Acknowledged, Reply: reply}
}

func set(value string, call, ret int64) *Op { return op("set", value, call, ret, Reply{Text: "OK"}) }

func get(value string, call, ret int64) *Op {
	return op("get", "", call, ret, Reply{Nil: value == "", Text: value})
}

func numbered(o *Op, id int) *Op {
	o.ID = id
	return o
}

// unknown makes an operation one that nobody knows the outcome of.
func unknown(o *Op) *Op {
	o.Outcome, o.Return = Unknown, Never
	return o
}

func refused(o *Op) *Op {
	o.Outcome = Refused
	return o
}

func TestHistoriesOfARegister(t *testing.T) {
	for _, c := range []struct {
		name  string
		ops   []*Op
		legal bool
		fresh bool
	}{
		{"one after another", []*Op{set("a", 1, 2), get("a", 3, 4), set("b", 5, 6), get("b", 7, 8)}, true, true},
		{"a read of the past", []*Op{set("a", 1, 2), set("b", 3, 4), get("a", 5, 6)}, false, false},
		{"nothing after a write", []*Op{set("a", 1, 2), get("", 3, 4)}, false, false},
		{"a read beside a write", []*Op{set("a", 1, 2), set("b", 3, 6), get("a", 4, 5)}, true, true},
		{"a read that goes back", []*Op{set("a", 1, 2), set("b", 3, 10), get("b", 4, 5), get("a", 6, 7)}, false, true},
		{"an unknown write, seen late", []*Op{unknown(set("a", 1, 0)), set("b", 2, 3), get("b", 4, 5), get("a", 6, 7)}, true, true},
		{"an unknown write, seen and gone", []*Op{unknown(set("a", 1, 0)), set("b", 2, 3), get("a", 4, 5), get("b", 6, 7)}, false, true},
		{"a value nobody wrote", []*Op{set("a", 1, 2), get("z", 3, 4)}, false, false},
		{"a refused write, seen", []*Op{set("a", 1, 2), refused(set("b", 3, 4)), get("b", 5, 6)}, false, true},
		{"an unknown deletion", []*Op{set("a", 1, 2), unknown(op("del", "", 3, 0, Reply{})), get("a", 4, 5), get("", 6, 7)}, true, false},
		{"a deletion undone", []*Op{set("a", 1, 2), op("del", "", 3, 4, Reply{}), get("", 5, 6), get("a", 7, 8)}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := CheckRegister(c.ops); (err == nil) != c.legal {
				t.Errorf("as a register: %v", err)
			}
			if strings.Contains(c.name, "delet") {
				return // of registers without deletions only
			}
			if err := CheckFresh(c.ops, c.ops); (err == nil) != c.fresh {
				t.Errorf("fresh: %v", err)
			}
		})
	}
}

func TestHistoriesOfCommands(t *testing.T) {
	text := func(s string) Reply { return Reply{Text: s} }
	for _, c := range []struct {
		name  string
		ops   []*Op
		legal bool
	}{
		{"increments", []*Op{op("incr", "", 1, 4, text("2")), op("incr", "", 2, 3, text("1")), get("2", 5, 6)}, true},
		{"a lost increment", []*Op{op("incr", "", 1, 2, text("1")), op("incr", "", 3, 4, text("1"))}, false},
		{"one winner", []*Op{op("setnx", "a", 1, 4, text("1")), op("setnx", "b", 2, 3, text("0")), get("a", 5, 6)}, true},
		{"two winners", []*Op{op("setnx", "a", 1, 4, text("1")), op("setnx", "b", 2, 3, text("1"))}, false},
		{"no winner", []*Op{op("setnx", "a", 1, 2, text("0"))}, false},
		{"appends", []*Op{op("append", "a;", 1, 2, text("2")), op("append", "b;", 3, 4, text("4")), get("a;b;", 5, 6)}, true},
		{"a lost append", []*Op{op("append", "a;", 1, 2, text("2")), op("append", "b;", 3, 4, text("2"))}, false},
		{"an exchange", []*Op{set("a", 1, 2), op("getset", "b", 3, 4, text("a")), get("b", 5, 6)}, true},
		{"an exchange of what is gone", []*Op{set("a", 1, 2), set("c", 3, 4), op("getset", "b", 5, 6, text("a"))}, false},
		{"a deletion counted", []*Op{op("del", "", 1, 2, text("0")), set("a", 3, 4), op("del", "", 5, 6, text("1"))}, true},
		{"a deletion miscounted", []*Op{set("a", 1, 2), op("del", "", 3, 4, text("0"))}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := CheckAtomic(c.ops); (err == nil) != c.legal {
				t.Error(err)
			}
		})
	}
}

// held is a result in which two machines hold key k: a's value under dot 1, b's
// under dot 2 and covering it.
func held(t *testing.T) (r *Result, old, current []byte) {
	t.Helper()
	dot := func(n uint64) version.Dot { return version.Dot{Node: 7, Time: hlc.Timestamp(n)} }
	var o version.Object
	write := func(n uint64, value string) []byte {
		if _, err := o.Update(dot(n), nil, version.Sibling{Kind: version.String, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
		return o.Append(nil)
	}
	old, current = write(1, "a"), write(2, "b")
	return &Result{
		Config:   Config{Keys: []KeySpec{{Name: "k", Check: Linear}}},
		History:  []*Op{numbered(set("a", 1, 2), 0), numbered(set("b", 3, 4), 1)},
		Dots:     map[version.Dot]Written{dot(1): {Key: "k", Kind: version.String, Payload: "a", Op: 0}, dot(2): {Key: "k", Kind: version.String, Payload: "b", Op: 1, Over: []version.Dot{dot(1)}}},
		Disks:    []map[string][]byte{{"k": current}, {"k": current}, {}},
		Replicas: map[string][]int{"k": {0, 1}},
	}, old, current
}

func TestWhatDisksHold(t *testing.T) {
	for _, c := range []struct {
		name, broken string
		change       func(r *Result, old, current []byte)
	}{
		{"all is well", "", func(*Result, []byte, []byte) {}},
		{"a replica is behind", "equal", func(r *Result, old, _ []byte) { r.Disks[1]["k"] = old }},
		{"a replica has nothing", "equal", func(r *Result, _, _ []byte) { delete(r.Disks[1], "k") }},
		{"a stranger has it", "equal", func(r *Result, _, current []byte) { r.Disks[2]["k"] = current }},
		{"all are behind", "acknowledged", func(r *Result, old, _ []byte) { r.Disks[0]["k"], r.Disks[1]["k"] = old, old }},
		{"all is lost", "acknowledged", func(r *Result, _, _ []byte) { delete(r.Disks[0], "k"); delete(r.Disks[1], "k") }},
		{"a refused value is made", "refused", func(r *Result, _, _ []byte) {
			r.History[0].Outcome, r.Stored = Refused, map[version.Dot]bool{{Node: 7, Time: 1}: true}
		}},
		{"a dot nobody issued", "dots", func(r *Result, _, _ []byte) { delete(r.Dots, version.Dot{Node: 7, Time: 2}) }},
		{"a dot of something else", "dots", func(r *Result, _, _ []byte) {
			r.Dots[version.Dot{Node: 7, Time: 2}] = Written{Key: "k", Kind: version.String, Payload: "c"}
		}},
		{"a machine does not start", "stands", func(r *Result, _, _ []byte) { r.Failures = append(r.Failures, Violation{"stands", ""}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, old, current := held(t)
			c.change(r, old, current)
			var broken []string
			for _, v := range r.Verify() {
				broken = append(broken, v.Invariant)
			}
			if got := strings.Join(broken, " "); !strings.Contains(got, c.broken) || (c.broken == "") != (got == "") {
				t.Errorf("broken is %q, want %q", got, c.broken)
			}
		})
	}
}

func TestCounts(t *testing.T) {
	var o version.Object
	if _, err := o.Increment(version.Dot{Node: 7, Time: 1}, 3, 0); err != nil {
		t.Fatal(err)
	}
	incr := func() *Op { return op("incr", "", 1, 2, Reply{Text: "1"}) }
	for _, c := range []struct {
		name  string
		ops   []*Op
		legal bool
	}{
		{"all there", []*Op{incr(), incr(), incr()}, true},
		{"one unknown", []*Op{incr(), incr(), unknown(incr())}, true},
		{"one lost", []*Op{incr(), incr(), incr(), incr()}, false},
		{"one twice", []*Op{incr(), incr(), refused(incr())}, false},
	} {
		r := &Result{History: c.ops, Disks: []map[string][]byte{{"k": o.Append(nil)}}, Replicas: map[string][]int{"k": {0}}}
		if err := r.CheckCounted("k"); (err == nil) != c.legal {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestLevelsThatDoNotMeet passes off R=1 W=1 as linearizable: the checks must
// find out.
func TestLevelsThatDoNotMeet(t *testing.T) {
	for seed := uint64(7); seed < 107; seed += 10 {
		c := FromSeed(seed)
		for i := range c.Keys {
			c.Keys[i] = KeySpec{Name: "q" + c.Keys[i].Name, Commands: []string{"set", "get"}, R: single, W: single, Check: Linear}
		}
		c.Faults, c.Trouble = []Fault{Split, Isolate}, Trouble{Late: 0.05, Drop: 0.05}
		c.Plan = drawPlan(&c, rand.New(rand.NewPCG(seed, 5)))
		for _, v := range runs(t, c).Verify() {
			if v.Invariant == "linearizable" {
				return
			}
		}
	}
	t.Error("quorums of one passed for linearizable")
}
