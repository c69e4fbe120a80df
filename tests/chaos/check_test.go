package chaos

import (
	"testing"
	"time"
)

// script writes a history: each operation takes a second and the next begins with
// its end, unless it says otherwise.
func script(ops ...op) (history []*op) {
	at := time.Duration(0)
	for i := range ops {
		o := &ops[i]
		o.key = "key"
		if o.call == 0 {
			o.call = at
		}
		if o.end == 0 {
			o.end = o.call + time.Second
		}
		at = o.end + 1
		if o.outcome == unknown {
			o.end = never
		}
		history = append(history, o)
	}
	return history
}

func set(value string, how outcome) op { return op{command: "set", value: value, outcome: how} }
func del(how outcome) op               { return op{command: "del", outcome: how} }
func missed() op                       { return op{command: "del", outcome: acknowledged, reply: state{"0", true}} }
func incr(how outcome) op              { return op{command: "incr", outcome: how} }
func get(value string) op {
	return op{command: "get", outcome: acknowledged, reply: state{value, value != ""}}
}

func TestCheckRegister(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  []*op
		ok   bool
	}{
		{"reads what was written", script(get(""), set("a", acknowledged), get("a"), del(acknowledged), get("")), true},
		{"a stale read", script(set("a", acknowledged), set("b", acknowledged), get("a")), false},
		{"a lost write", script(set("a", acknowledged), get("")), false},
		{"a deleted value is back", script(set("a", acknowledged), del(acknowledged), get("a")), false},
		{"an unknown write shows late", script(set("a", unknown), set("b", acknowledged), get("b"), get("a")), true},
		{"and then does not go away", script(set("a", unknown), set("b", acknowledged), get("a"), get("b")), false},
		{"an unknown write that nobody saw", script(set("a", unknown), get("")), true},
		{"a refused write is seen", script(set("a", refused), get("a")), false},
		{"an unknown delete", script(set("a", acknowledged), del(unknown), get("a"), get("")), true},
		{"a value nobody wrote", script(get("a")), false},
	} {
		if err := checkRegister(c.ops); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCheckOwned(t *testing.T) {
	a, b, none := state{"a", true}, state{"b", true}, state{}
	for _, c := range []struct {
		name string
		ops  []*op
		end  state
		ok   bool
	}{
		{"there", script(set("a", acknowledged)), a, true},
		{"lost", script(set("a", acknowledged)), none, false},
		{"an older value", script(set("a", acknowledged), set("b", acknowledged)), a, false},
		{"deleted", script(set("a", acknowledged), del(acknowledged)), none, true},
		{"back", script(set("a", acknowledged), del(acknowledged)), a, false},
		{"nothing found to delete, there", script(set("a", acknowledged), missed()), a, true},
		{"nothing found to delete, gone", script(set("a", acknowledged), missed()), none, true},
		{"perhaps deleted, there", script(set("a", acknowledged), del(unknown)), a, true},
		{"perhaps deleted, gone", script(set("a", acknowledged), del(unknown)), none, true},
		{"an unknown write came late", script(set("a", unknown), set("b", acknowledged)), a, true},
		{"a refused write", script(set("b", acknowledged), set("a", refused)), a, false},
		{"refused", script(set("b", acknowledged), set("a", refused)), b, true},
		{"only an unknown one, not there", script(set("a", unknown)), none, true},
	} {
		if err := checkOwned(c.ops, c.end); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCheckCounter(t *testing.T) {
	ops := script(incr(acknowledged), incr(unknown), incr(refused), incr(acknowledged))
	for value, ok := range map[string]bool{"": false, "1": false, "2": true, "3": true, "4": false} {
		if err := checkCounter(ops, state{value, value != ""}); (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// A seed is one schedule; faults begin and end within the time, and those at the
// same time are on different nodes.
func TestPlan(t *testing.T) {
	const within = 5 * time.Minute
	seen := map[kind]int{}
	for seed := range uint64(50) {
		faults := plan(seed, within)
		again := plan(seed, within)
		for i, f := range faults {
			if seen[f.kind]++; f != again[i] {
				t.Fatalf("seed %d: %v, then %v", seed, f, again[i])
			}
			if f.at+f.length > within || f.length <= 0 || f.node == f.other && f.kind != fullDisk {
				t.Errorf("seed %d: %v", seed, f)
			}
			for _, g := range faults[:i] {
				if f.at < g.at+g.length && (f.node == g.node || f.kind == killAll || g.kind == killAll) {
					t.Errorf("seed %d: %v and %v", seed, g, f)
				}
			}
		}
	}
	for k := range kinds {
		if seen[k] == 0 {
			t.Errorf("no seed has the fault %v", k)
		}
	}
}
