package cluster

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"kvstore/cluster/hint"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
)

// load is what keeps this node busy, as it finds itself, by the clock of watch.
type load struct {
	requests atomic.Int64 // on keys, of clients and of other nodes, a second
	late     atomic.Int64 // nanoseconds that the last rounds came late, the latest weighing most
	waiting  atomic.Int64 // requests that waited for other nodes at the last round
	pressed  atomic.Bool  // writes had to wait for the disk at the last round
	strained atomic.Int64 // until when the node is short of processor time, Unix nanoseconds

	seen uint64 // requests before; watch's
	last time.Time
}

const (
	// strainedAfter is how late a round may come before the node takes itself for
	// short of processor time: many times what a busy machine delays a goroutine,
	// and less than others take for silence.
	strainedAfter = 200 * time.Millisecond
	// strainedFor is how long others then prefer other nodes.
	strainedFor = 2 * time.Second
)

// now returns the load: the one signal by which all that serves no client gives
// way. hint.Load says how much.
func (l *load) now() hint.Load {
	return hint.Load{
		Requests: float64(l.requests.Load()), Waiting: int(l.waiting.Load()),
		Late: time.Duration(l.late.Load()), Pressed: l.pressed.Load(),
	}
}

// begin has the node count as busy before the first round: it may just be back.
func (l *load) begin() { l.requests.Store(1000) }

// note takes a round's time and the number of requests so far, and returns how
// late the round was.
func (l *load) note(now time.Time, requests uint64, every time.Duration) (late time.Duration) {
	if !l.last.IsZero() {
		if passed := now.Sub(l.last); passed > 0 {
			l.requests.Store(int64(float64(requests-l.seen) / passed.Seconds()))
			late = max(passed-every, 0)
		}
	}
	l.last, l.seen = now, requests
	l.late.Store(max(int64(late), l.late.Load()/2))
	return late
}

// measure finds out how busy the node is. One that is run much too late says so:
// others make somebody else the soft primary, and ask it last.
func (n *Node) measure() {
	m := &n.coord.Metrics
	now := time.Now()
	late := n.load.note(now, m.Reads.Load()+m.Writes.Load()+m.Served.Load(), watchEvery)
	n.load.waiting.Store(int64(n.coord.Waiting()))
	n.load.pressed.Store(n.replica.Pressed())
	was := n.load.strained.Load() > now.UnixNano()
	if late >= strainedAfter {
		n.load.strained.Store(now.Add(strainedFor).UnixNano())
		n.coord.SetStrained(true)
		if !was {
			n.log.Warn().Dur("late", late).Msg("the node gets too little processor time: others are preferred to it for a while")
		}
		n.tellStrained()
	} else if !was && n.coord.Strained() {
		n.coord.SetStrained(false)
		n.log.Info().Msg("the node gets its processor time again")
	}
}

// Strained reports whether the node gets too little processor time, so that others
// are preferred to it.
func (n *Node) Strained() bool { return n.coord.Strained() }

// tellStrained tells the others; who does not hear it finds out by itself.
func (n *Node) tellStrained() {
	r := n.ring.Load()
	if r == nil {
		return
	}
	m := wire.Message{
		Kind: wire.Control, Method: methodStrained, Now: int64(n.clock.Last()), Epoch: r.Epoch,
		Body: binary.BigEndian.AppendUint64(nil, uint64(n.id.Node)),
	}
	for i := range r.Members {
		if id := r.Members[i].ID; id != n.id.Node {
			_ = n.rpc.Send(id, rpc.Bulk, &m)
		}
	}
	n.EndTurn()
}

// serveStrained notes that another node is short of processor time: its id, 8
// bytes, big endian.
func (n *Node) serveStrained(body []byte) error {
	if len(body) != 8 {
		return errShort
	}
	id := ring.NodeID(binary.BigEndian.Uint64(body))
	if r := n.ring.Load(); r != nil && r.Member(id) != nil {
		n.observe(id, membership.Strained)
	}
	return nil
}
