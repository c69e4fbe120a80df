package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/version"
)

// Outcome is what a client knows of its operation.
type Outcome uint8

const (
	// Unknown: it may have happened, or may happen yet.
	Unknown Outcome = iota
	// Acknowledged: it happened.
	Acknowledged
	// Refused: it did not happen and never will.
	Refused
)

func (o Outcome) String() string { return [...]string{"unknown", "acknowledged", "refused"}[o] }

// Op is one operation of a client.
type Op struct {
	ID, Client int
	Machine    string
	Command    string // lower case
	Key        string
	Value      string   // what it writes; no other operation writes the same
	Saw        []string // the values its context has seen, of VCLOCK SET and DEL
	Levels     coordinator.Levels
	// Call and Return order the operations of all clients as they were seen
	// from outside; Return is Never while the outcome is unknown.
	Call, Return int64
	At, Done     time.Duration // since the start, for people
	Outcome      Outcome
	Reply        Reply
	Err          error
}

// Never is later than everything.
const Never = int64(1) << 62

// Reply is a reply of the server.
type Reply struct {
	Nil    bool
	Error  bool
	Text   string   // a bulk string, status, error, context or the digits of an integer
	Values []string // of VCLOCK GET, whose Text is the context
}

// parseReply reads a reply in RESP2: one value, or a context and values.
func parseReply(b []byte) (Reply, error) {
	n, r := redcon.ReadNextRESP(b)
	if n == 0 || n != len(b) {
		return Reply{}, fmt.Errorf("reply %q", b)
	}
	if r.Type != redcon.Array {
		return Reply{Nil: r.Type == redcon.Bulk && bytes.HasPrefix(r.Raw, []byte("$-1")), Error: r.Type == redcon.Error, Text: r.String()}, nil
	}
	var parts []redcon.RESP
	reply := Reply{}
	r.ForEach(func(r redcon.RESP) bool {
		parts = append(parts, r)
		return true
	})
	if len(parts) != 2 {
		return Reply{}, fmt.Errorf("reply %q", b)
	}
	parts[1].ForEach(func(r redcon.RESP) bool {
		reply.Values = append(reply.Values, r.String())
		return true
	})
	reply.Text, reply.Nil = parts[0].String(), len(reply.Values) == 0
	return reply, nil
}

// outcomeOf says what a client may conclude of an error.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Acknowledged
	case errors.Is(err, coordinator.ErrNoQuorum), errors.Is(err, coordinator.ErrOverloaded),
		errors.Is(err, coordinator.ErrLevel), errors.Is(err, coordinator.ErrNotReady),
		errors.Is(err, coordinator.ErrFull), errors.Is(err, coordinator.ErrReadOnly), errors.Is(err, coordinator.ErrSlow):
		return Refused
	}
	return Unknown
}

// reads reports whether the operation changes nothing.
func (o *Op) reads() bool { return o.Command == "get" || o.Command == "vget" }

func (o *Op) String() string {
	return fmt.Sprintf("%5d  c%-2d %-3s %9.4f-%9.4f  %-7s %-4s %-28s r=%v w=%v: %s",
		o.ID, o.Client, o.Machine, o.At.Seconds(), o.Done.Seconds(), o.Command, o.Key, brief(o.Value), o.Levels.R, o.Levels.W, o.result())
}

func (o *Op) result() string {
	switch {
	case o.Err != nil:
		return fmt.Sprintf("%v (%v)", o.Outcome, o.Err)
	case o.Outcome == Unknown:
		return "unknown (the connection broke)"
	case o.Reply.Nil:
		return "nil"
	case o.Command == "vget":
		var values []string
		for _, v := range o.Reply.Values {
			values = append(values, brief(v))
		}
		return fmt.Sprint(values)
	}
	return brief(o.Reply.Text)
}

// brief leaves out the padding of a value.
func brief(s string) string {
	if i := strings.IndexByte(s, '|'); i >= 0 && len(s) > 40 {
		return fmt.Sprintf("%s|+%d", s[:i], len(s)-i-1)
	}
	return s
}

// Result is what a run left for the checks.
type Result struct {
	Config  Config
	History []*Op
	// Dots are all versions ever made.
	Dots past
	// Stored are those that were seen on a disk, or replaced by another.
	Stored map[version.Dot]bool
	// Disks are the objects on each machine's disk at the end, encoded, by key.
	Disks []map[string][]byte
	// Replicas are the machines that hold each key of the history.
	Replicas map[string][]int
	// Failures are what went wrong while the cluster ran.
	Failures []Violation
	// Story is what happened, in order, for people.
	Story []string
	// Metrics sums up what the requests met with.
	Metrics map[string]uint64
	// Lost counts losses of power that took unsynced writes with them.
	Lost int
	// Struck counts the faults by their kind.
	Struck [faults]int
	// Began and Ended are by the simulated clock.
	Began, Ended time.Time
}

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant string
	Text      string
}

func (v Violation) String() string { return v.Invariant + ": " + v.Text }

// ops returns the operations on a key.
func (r *Result) ops(key string) (ops []*Op) {
	for _, o := range r.History {
		if o.Key == key {
			ops = append(ops, o)
		}
	}
	return ops
}

// object returns what a machine's disk holds of a key at the end.
func (r *Result) object(machine int, key string) (*version.Object, error) {
	o := new(version.Object)
	b := r.Disks[machine][key]
	if b == nil {
		return o, nil
	}
	if err := o.Decode(b); err != nil {
		return nil, fmt.Errorf("object of key %s on machine %d: %w", key, machine, err)
	}
	return o, nil
}

// Summary says in a line what kind of run it was.
func (r *Result) Summary() string {
	var outcomes [3]int
	var took time.Duration
	for _, o := range r.History {
		outcomes[o.Outcome]++
		took = max(took, o.Done)
	}
	return fmt.Sprintf("%d operations in %v: %d acknowledged, %d unknown, %d refused; %d versions, %d losses of power; %v; %v",
		len(r.History), took.Round(time.Millisecond), outcomes[Acknowledged], outcomes[Unknown], outcomes[Refused], len(r.Dots), r.Lost, r.faults(), r.Metrics)
}

// faults says how often each fault happened.
func (r *Result) faults() string {
	total, text := 0, ""
	for f, n := range r.Struck {
		if n > 0 {
			text += fmt.Sprintf(", %v %d", Fault(f), n)
		}
		total += n
	}
	return fmt.Sprintf("%d faults%s", total, text)
}

// keys returns the keys of the history.
func (r *Result) keys() (keys []string) {
	for _, o := range r.History {
		if !slices.Contains(keys, o.Key) {
			keys = append(keys, o.Key)
		}
	}
	slices.Sort(keys)
	return keys
}
