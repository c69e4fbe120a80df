package sim

import (
	"fmt"
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

// checkLinear looks for an order in which step accepts all operations.
func checkLinear(ops []*Op, step func(register, *Op) (bool, register)) error {
	model := porcupine.Model{
		Init: func() any { return register{} },
		Step: func(state, in, _ any) (bool, any) {
			ok, next := step(state.(register), in.(*Op))
			return ok, next
		},
	}
	var history []porcupine.Operation
	for _, o := range ops {
		if o.Outcome == Refused || o.Outcome == Unknown && o.reads() {
			continue
		}
		history = append(history, porcupine.Operation{ClientId: o.Client, Input: o, Call: o.Call, Return: o.Return})
	}
	switch porcupine.CheckOperationsTimeout(model, history, patience) {
	case porcupine.Illegal:
		return fmt.Errorf("key %s: no order of its operations explains the replies:\n%s", ops[0].Key, list(ops))
	case porcupine.Unknown:
		return fmt.Errorf("key %s: no order found in %v, nor that there is none", ops[0].Key, patience)
	}
	return nil
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
