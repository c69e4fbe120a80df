package command

import (
	"bytes"
	"maps"
	"sync"
	"sync/atomic"
)

// Stats are the counters of a node's front end. Any goroutine may add to them.
type Stats struct {
	Commands    []CommandStats // by Command.Index
	Connections atomic.Int64   // accepted
	Rejected    atomic.Int64   // refused for there being too many
	Processed   atomic.Int64   // commands run
	Errors      atomic.Int64   // error replies
	InputBytes  atomic.Int64
	OutputBytes atomic.Int64
	Hits        atomic.Int64 // reads of keys that were there
	Misses      atomic.Int64 // reads of keys that were not

	kinds errorKinds
}

// errorKinds counts error replies by their first word.
type errorKinds struct {
	mu     sync.Mutex
	counts map[string]int64 // guarded by mu
}

// maxErrorKinds bounds the words that are counted apart. We have a dozen; more
// can only come from another node's texts.
const maxErrorKinds = 64

// Failure counts an error reply, which begins with "-" and its code.
func (s *Stats) Failure(reply []byte) {
	s.Errors.Add(1)
	code := bytes.TrimPrefix(reply, []byte("-"))
	if end := bytes.IndexAny(code, " \r\n"); end >= 0 {
		code = code[:end]
	}
	k := &s.kinds
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.counts == nil {
		k.counts = make(map[string]int64)
	}
	if _, known := k.counts[string(code)]; known || len(k.counts) < maxErrorKinds {
		k.counts[string(code)]++
	}
}

// Failures are the counts of error replies by code.
func (s *Stats) Failures() map[string]int64 {
	s.kinds.mu.Lock()
	defer s.kinds.mu.Unlock()
	return maps.Clone(s.kinds.counts)
}

// CommandStats are the counters of one command.
type CommandStats struct {
	Calls    atomic.Int64
	Nanos    atomic.Int64 // spent in it, waiting included
	Rejected atomic.Int64 // refused before it ran: arguments, authentication
	Failed   atomic.Int64 // ended in an error
}

// NewStats makes the counters for the commands of a table.
func NewStats(t *Table) *Stats { return &Stats{Commands: make([]CommandStats, t.Len())} }

// Reset sets all counters to zero, as CONFIG RESETSTAT does. Counts made
// meanwhile may be lost.
func (s *Stats) Reset() {
	for i := range s.Commands {
		c := &s.Commands[i]
		for _, n := range []*atomic.Int64{&c.Calls, &c.Nanos, &c.Rejected, &c.Failed} {
			n.Store(0)
		}
	}
	for _, n := range []*atomic.Int64{&s.Connections, &s.Rejected, &s.Processed, &s.Errors, &s.InputBytes, &s.OutputBytes, &s.Hits, &s.Misses} {
		n.Store(0)
	}
	s.kinds.mu.Lock()
	clear(s.kinds.counts)
	s.kinds.mu.Unlock()
}
