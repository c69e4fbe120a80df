package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// outcome is what a client knows of its operation.
type outcome uint8

const (
	unknown      outcome = iota // it may have happened, or may happen yet
	acknowledged                // it happened
	refused                     // it did not happen and never will
	outcomes
)

func (o outcome) String() string { return [...]string{"unknown", "acknowledged", "refused"}[o] }

// op is one operation of a client.
type op struct {
	client     int
	node       string // which was asked
	command    string // get, set, del or incr
	key, value string // value is what a set writes; no other operation writes the same
	// call and end are times since the start. end is never while the outcome is
	// unknown.
	call, end time.Duration
	outcome   outcome
	reply     state  // what was returned
	err       string // why it is not acknowledged
}

// never is later than everything.
const never = time.Duration(1) << 62

// state is the value of a key, absent when there is none.
type state struct {
	value  string
	exists bool
}

func (s state) String() string {
	if !s.exists {
		return "nothing"
	}
	return fmt.Sprintf("%.40s", s.value)
}

// leaves is what a key is after the operation, if it happened.
func (o *op) leaves() state {
	if o.command == "del" {
		return state{}
	}
	return state{o.value, true}
}

func (o *op) String() string {
	end := "         ?"
	if o.outcome != unknown {
		end = fmt.Sprintf("%10.4f", o.end.Seconds())
	}
	text := fmt.Sprintf("%10.4f %s c%-2d %-3s %-4s %-22s", o.call.Seconds(), end, o.client, o.node, o.command, o.key)
	switch {
	case o.command == "set":
		text += fmt.Sprintf(" %.40s", o.value)
	case o.command == "get" && o.outcome == acknowledged:
		text += " = " + o.reply.String()
	}
	text += ": " + o.outcome.String()
	if o.err != "" {
		text += " (" + o.err + ")"
	}
	return text
}

// classes are the errors after which nothing was written.
var classes = []string{"NOQUORUM", "OVERLOADED", "MISCONF", "CLUSTERDOWN"}

// judge says what an error reply, from its first word, lets a client conclude.
func judge(text string) outcome {
	word, _, _ := strings.Cut(text, " ")
	if slices.Contains(classes, word) {
		return refused
	}
	return unknown
}

// byKey sorts a history into those of its keys, each in the order of calls.
func byKey(history []op) map[string][]*op {
	keys := map[string][]*op{}
	for i := range history {
		keys[history[i].key] = append(keys[history[i].key], &history[i])
	}
	for _, ops := range keys {
		slices.SortFunc(ops, func(a, b *op) int { return int(a.call - b.call) })
	}
	return keys
}

// tell shows operations to people, at most so many, the last ones.
func tell(ops []*op, most int) string {
	var b strings.Builder
	if len(ops) > most {
		fmt.Fprintf(&b, "  ... %d more before\n", len(ops)-most)
		ops = ops[len(ops)-most:]
	}
	for _, o := range ops {
		fmt.Fprintf(&b, "  %v\n", o)
	}
	return b.String()
}
