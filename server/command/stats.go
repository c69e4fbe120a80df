package command

import "sync/atomic"

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
}
