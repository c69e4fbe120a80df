package coordinator

import (
	"errors"
	"sync/atomic"
)

// Metrics count what requests met with. All fields only grow.
type Metrics struct {
	Writes, Reads   atomic.Uint64 // coordinated here
	Forwards        atomic.Uint64 // writes sent to another soft primary
	Served          atomic.Uint64 // requests of other nodes on keys
	NoQuorum        atomic.Uint64
	Timeouts        atomic.Uint64
	Overloaded      atomic.Uint64
	Failed          atomic.Uint64 // any other error
	StaleWrites     atomic.Uint64 // writes run again because a replica held something unseen
	QuorumFirst     atomic.Uint64 // writes that read a quorum first
	Repairs         atomic.Uint64 // replicas brought level by a read
	Hedges          atomic.Uint64 // reads asked of one more replica
	ContextsBounded atomic.Uint64 // context entries dropped
	ClocksAhead     atomic.Uint64 // messages refused for their clock
	CorruptReads    atomic.Uint64
	StandIns        atomic.Uint64 // objects given to a fallback in place of a replica
	Missed          atomic.Uint64 // objects of other nodes that this one had no room for
	Relayed         atomic.Uint64 // objects passed on within this data centre for nodes of others
	Unrelayed       atomic.Uint64 // objects sent directly because the node that was to pass them on did not answer
	Rerouted        atomic.Uint64 // requests that began again because the ring had changed
	Renewed         atomic.Uint64 // writes that were counted anew because the ring had changed
	Mute            atomic.Uint64 // forwarded writes given up because their soft primary was silent
	ReadStandIns    atomic.Uint64 // reads asked of a fallback in place of a replica
	SpreadReads     atomic.Uint64 // reads of hot keys that were spread over their replicas
}

// count counts a request's end.
func (m *Metrics) count(err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrTimeout):
		m.Timeouts.Add(1)
	case errors.Is(err, ErrNoQuorum):
		m.NoQuorum.Add(1)
	case errors.Is(err, ErrOverloaded):
		m.Overloaded.Add(1)
	default:
		m.Failed.Add(1)
	}
}
