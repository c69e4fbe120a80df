package chaos

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"
)

// errUndecided says that no order of a history was found in time, nor that there is
// none.
var errUndecided = errors.New("undecided")

// checkPatience bounds the search for one key.
const checkPatience = 20 * time.Second

// checkRegister: some order of the operations, each between its call and its end,
// explains what all reads returned.
func checkRegister(ops []*op) error {
	ops = prune(ops)
	model := porcupine.Model{
		Init: func() any { return state{} },
		Step: func(before, in, _ any) (bool, any) {
			o := in.(*op)
			if o.command == "get" {
				return o.reply == before.(state), before
			}
			return true, o.leaves()
		},
	}
	var history []porcupine.Operation
	for _, o := range ops {
		history = append(history, porcupine.Operation{ClientId: o.client, Input: o, Call: int64(o.call), Return: int64(o.end)})
	}
	switch porcupine.CheckOperationsTimeout(model, history, checkPatience) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return errUndecided
	}
	return fmt.Errorf("not linearizable:\n%s", tell(ops, 400))
}

// prune leaves out what cannot matter: what was refused, reads without an answer,
// and writes of unknown outcome whose effect nobody saw, which may have happened
// after everything else. It makes the search small. The read of a value that was
// refused stays, and has no explanation.
func prune(ops []*op) (kept []*op) {
	seen := map[string]bool{}
	lastAbsent := time.Duration(-1)
	for _, o := range ops {
		if o.command == "get" && o.outcome == acknowledged {
			if seen[o.reply.value] = true; !o.reply.exists {
				lastAbsent = max(lastAbsent, o.end)
			}
		}
	}
	for _, o := range ops {
		if o.outcome == acknowledged ||
			o.outcome == unknown && o.command == "set" && seen[o.value] ||
			o.outcome == unknown && o.command == "del" && o.call < lastAbsent {
			kept = append(kept, o)
		}
	}
	return kept
}

// certain reports whether an operation is known to have had its effect. A DEL that
// found nothing is not: behind a partition, in sloppy mode, a node may not see what
// is there, and says so by its reply.
func (o *op) certain() bool {
	return o.outcome == acknowledged && (o.command != "del" || o.reply.value != "0")
}

// checkOwned checks a key that one client wrote, one operation after the other, by
// what it is at the end.
func checkOwned(ops []*op, end state) error {
	var last *op
	for _, o := range ops {
		if o.certain() {
			last = o
		}
	}
	want := state{}
	if last != nil {
		want = last.leaves()
	}
	if end == want {
		return nil
	}
	for _, o := range ops {
		if o.outcome != refused && !o.certain() && end == o.leaves() {
			return nil // it happened, however late
		}
	}
	what := "lost"
	if end.exists {
		what = "undone"
		if !want.exists {
			what = "back after its deletion"
		}
	}
	return fmt.Errorf("%s: it is %v, and should be %v:\n%s", what, end, want, tell(ops, 20))
}

// checkCounter checks a counter by what it is at the end.
func checkCounter(ops []*op, end state) error {
	least, most := 0, 0
	for _, o := range ops {
		switch o.outcome {
		case acknowledged:
			least, most = least+1, most+1
		case unknown:
			most++
		}
	}
	value := 0
	if end.exists {
		var err error
		if value, err = strconv.Atoi(end.value); err != nil {
			return fmt.Errorf("a counter of %q", end.value)
		}
	}
	if value < least || value > most {
		return fmt.Errorf("the counter is %d: %d increments were acknowledged, and %d are unknown", value, least, most-least)
	}
	return nil
}
