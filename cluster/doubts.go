package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
)

// doubts finds out whether it is this node's clock that is wrong. A message
// whose clock is too far ahead is refused by who gets it; which of the two
// clocks is wrong, neither can know. But a node that more than half of the
// others disagree with in the same direction is most likely the one.
type doubts struct {
	mu   sync.Mutex
	seen map[ring.NodeID]doubt // guarded by mu; at most one for each member

	verdict atomic.Pointer[string] // what is wrong; nil or empty when nothing is
}

// doubt is the last disagreement with one node.
type doubt struct {
	at    time.Time
	ahead bool // its clock is ahead of ours, else behind
}

// doubtFor is how long a disagreement counts. Nodes that serve anything exchange
// messages much more often.
const doubtFor = 5 * time.Second

// note keeps a disagreement.
func (d *doubts) note(id ring.NodeID, ahead bool, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = make(map[ring.NodeID]doubt)
	}
	d.seen[id] = doubt{now, ahead}
}

// judge reconsiders, among so many other members, and reports whether the
// verdict has changed.
func (d *doubts) judge(others int, now time.Time) (verdict string, changed bool) {
	d.mu.Lock()
	ahead, behind := 0, 0
	for id, s := range d.seen {
		switch {
		case now.Sub(s.at) > doubtFor:
			delete(d.seen, id)
		case s.ahead:
			ahead++
		default:
			behind++
		}
	}
	d.mu.Unlock()
	tell := func(where string, n int) string {
		return fmt.Sprintf("this node's clock is more than %v %s those of %d of the %d other nodes: check its time (NTP)", hlc.DefaultMaxAhead, where, n, others)
	}
	switch {
	case 2*ahead > others:
		verdict = tell("behind", ahead)
	case 2*behind > others:
		verdict = tell("ahead of", behind)
	}
	if verdict == d.text() {
		return verdict, false
	}
	d.verdict.Store(&verdict)
	return verdict, true
}

// text is the last verdict, empty when nothing is wrong.
func (d *doubts) text() string {
	if p := d.verdict.Load(); p != nil {
		return *p
	}
	return ""
}

// clockApart notes that another node's clock and this one's are too far apart.
func (n *Node) clockApart(id ring.NodeID, ahead bool) { n.doubts.note(id, ahead, time.Now()) }

// ClockDoubt returns why this node's clock is likely to be wrong, and "" when
// nothing says so.
func (n *Node) ClockDoubt() string { return n.doubts.text() }

// judgeClock says so in the log when the verdict on the clock has changed.
func (n *Node) judgeClock(r *ring.Ring, now time.Time) {
	switch verdict, changed := n.doubts.judge(len(r.Members)-1, now); {
	case !changed:
	case verdict == "":
		n.log.Info().Msg("the clocks agree again")
	default:
		n.log.Error().Msg(verdict)
	}
}
