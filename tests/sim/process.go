package sim

import (
	"errors"
	"time"

	"kvstore/cluster/ring"
)

// A paused machine is one whose process was stopped by a signal: nothing reaches
// it, nothing leaves it, and when it goes on, everything that came meanwhile is
// in its sockets' buffers and is handled as if it were new. Its peers have given
// its connections up by then. What a bubble cannot stop are its own timers.

// pause holds back what would happen at a machine.
type pause struct {
	held []func()
}

// Pause stops a machine's process; Resume lets it go on.
func (n *Network) Pause(machine int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused[machine] != nil {
		return
	}
	p := &pause{}
	n.paused[machine] = p
	for _, pair := range n.pairs {
		s := pair.session
		if s == nil || s.ends[0].machine != machine && s.ends[1].machine != machine {
			continue
		}
		n.loop.after(silence+n.jitter(s.ends[0].machine, s.ends[1].machine, 250*time.Millisecond), func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.paused[machine] == p && !s.over {
				n.end(s, errors.New("nothing heard for 2s"), 300*time.Millisecond)
			}
		})
	}
}

// Resume lets a machine's process go on with all that was held back.
func (n *Network) Resume(machine int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.paused[machine]
	if p == nil {
		return
	}
	delete(n.paused, machine)
	for _, do := range p.held {
		n.loop.after(0, do)
	}
	for _, t := range n.sorted() {
		n.reconnect(t, 700*time.Millisecond)
	}
}

// Forget drops what is held back for a machine whose process has ended, and the
// pause with it.
func (n *Network) Forget(machine int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.paused, machine)
}

// hold keeps do for when a machine goes on; false when it is not paused. The
// caller holds mu.
func (n *Network) hold(machine int, do func()) bool {
	p := n.paused[machine]
	if p == nil {
		return false
	}
	p.held = append(p.held, do)
	return true
}

// Hold is hold for those who do not hold mu.
func (n *Network) Hold(machine int, do func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hold(machine, do)
}

// pingEvery is the time between pings on a connection; see package rpc.
const pingEvery = 100 * time.Millisecond

// Ping lets both ends of each connection learn how long a round trip takes, again
// and again until over says so.
func (n *Network) Ping(over func() bool) {
	if over() {
		return
	}
	type pong struct {
		t    *Transport
		from ring.NodeID
		took time.Duration
	}
	var pongs []pong
	n.mu.Lock()
	all := n.sorted()
	for _, t := range all {
		for _, other := range all {
			if s := t.sending[other.id]; s != nil && !s.over && n.connectable(t, other) {
				took := 600*time.Microsecond + 2*(n.slow[t.machine]+n.slow[other.machine])
				pongs = append(pongs, pong{t, other.id, took})
			}
		}
	}
	n.mu.Unlock()
	for _, p := range pongs {
		p.t.o.RTT(p.from, p.took)
	}
	n.loop.after(pingEvery, func() { n.Ping(over) })
}
