package sim

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// register is the state of one key in the models.
type register struct {
	exists bool
	value  string
}

// patience bounds one check of a history, in real time.
const patience = 20 * time.Second

// CheckRegister: GET, SET and DEL on a key are linearizable. The reply of DEL,
// which depends on what was there, is not looked at.
func CheckRegister(ops []*Op) error {
	return checkLinear(prune(ops), func(s register, o *Op) (bool, register) {
		switch o.Command {
		case "set":
			return true, register{true, o.Value}
		case "del":
			return true, register{}
		}
		return s.reads(o.Reply), s
	})
}

// CheckAtomic: all commands on a key are linearizable, with their replies.
func CheckAtomic(ops []*Op) error {
	return checkLinear(ops, func(s register, o *Op) (bool, register) {
		known := o.Outcome == Acknowledged
		switch o.Command {
		case "set":
			return true, register{true, o.Value}
		case "get":
			return s.reads(o.Reply), s
		case "del":
			return !known || (number(o.Reply) == 1) == s.exists, register{}
		case "getset":
			return !known || s.reads(o.Reply), register{true, o.Value}
		case "setnx":
			next := s
			if !s.exists {
				next = register{true, o.Value}
			}
			return !known || (number(o.Reply) == 1) == !s.exists, next
		case "append":
			next := register{true, s.value + o.Value}
			return !known || number(o.Reply) == int64(len(next.value)), next
		case "incr":
			n := int64(0)
			if s.exists {
				n = number(Reply{Text: s.value})
			}
			next := register{true, fmt.Sprint(n + 1)}
			return !known || number(o.Reply) == n+1, next
		}
		return false, s
	})
}

// reads reports whether a reply is what a GET of the state returns.
func (s register) reads(r Reply) bool {
	return r.Nil == !s.exists && (r.Nil || r.Text == s.value)
}

// transition is what an operation does to a register, and whether it can have had
// its reply.
type transition func(register, *Op) (bool, register)

// checkLinear looks for an order in which step accepts all operations.
func checkLinear(ops []*Op, step transition) error {
	switch linear(ops, step, Never) {
	case porcupine.Illegal:
		end := firstIllegal(ops, step)
		return fmt.Errorf("key %s: no order of its operations explains the replies up to operation %d; around it:\n%s",
			ops[0].Key, end.ID, list(around(ops, end.Return)))
	case porcupine.Unknown:
		return fmt.Errorf("key %s: no order found in %v, nor that there is none", ops[0].Key, patience)
	}
	return nil
}

// linear checks what was known at a time.
func linear(ops []*Op, step transition, at int64) porcupine.CheckResult {
	model := porcupine.Model{
		Init: func() any { return register{} },
		Step: func(state, in, ended any) (bool, any) {
			o := in.(*Op)
			if !ended.(bool) {
				unknown := *o
				unknown.Outcome = Unknown
				o = &unknown
			}
			ok, next := step(state.(register), o)
			return ok, next
		},
	}
	var history []porcupine.Operation
	for _, o := range ops {
		ended := o.Return <= at && o.Outcome == Acknowledged
		if o.Outcome == Refused || !ended && o.reads() || o.Call > at {
			continue
		}
		h := porcupine.Operation{ClientId: o.Client, Input: o, Output: ended, Call: o.Call, Return: Never}
		if ended {
			h.Return = o.Return
		}
		history = append(history, h)
	}
	return porcupine.CheckOperationsTimeout(model, history, patience)
}

// firstIllegal returns the operation with whose reply the history became
// inexplicable.
func firstIllegal(ops []*Op, step transition) *Op {
	byReturn := slices.SortedFunc(slices.Values(ops), func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
	i := sort.Search(len(byReturn)-1, func(i int) bool { return linear(ops, step, byReturn[i].Return) == porcupine.Illegal })
	return byReturn[i]
}

// around returns the operations that had to do with a time: those that were under
// way within so many calls before it, without those refused.
func around(ops []*Op, at int64) (near []*Op) {
	const calls = 150
	for _, o := range ops {
		if o.Outcome != Refused && o.Call <= at && o.Return >= at-calls {
			near = append(near, o)
		}
	}
	return near
}

// prune leaves out writes of unknown outcome that nobody saw: they may have
// happened after everything else. It makes the search small.
func prune(ops []*Op) (kept []*Op) {
	seen := make(map[string]bool)
	for _, o := range ops {
		if o.Outcome == Acknowledged && o.reads() && !o.Reply.Nil {
			seen[o.Reply.Text] = true
		}
	}
	for _, o := range ops {
		if o.Outcome != Unknown || o.Command == "del" || seen[o.Value] {
			kept = append(kept, o)
		}
	}
	return kept
}

// list shows operations to people.
func list(ops []*Op) string {
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintln(&b, o)
	}
	return b.String()
}
