package sim

import (
	"errors"
	"fmt"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
)

// Nodes let each other in when they connect (rpc.Options.Admit), which may take the
// disk, and a node that is not let in hears why if it was the one that called.

// meeting names what one machine's node has seen of another.
type meeting struct {
	machine int
	of      ring.NodeID
}

// greet lets two transports look at each other's life. The caller holds mu.
func (n *Network) greet(p *pair, a, b *Transport) {
	go func() {
		var refused [2]error // by a and by b
		refused[0] = a.o.Admit(b.id, b.o.Life, b.o.Epoch())
		refused[1] = b.o.Admit(a.id, a.o.Life, a.o.Epoch())
		n.loop.after(0, func() { n.greeted(p, a, b, refused) })
	}()
}

// greeted joins two that have let each other in. Otherwise they try again.
func (n *Network) greeted(p *pair, a, b *Transport, refused [2]error) {
	n.mu.Lock()
	p.connecting = false
	stayed := n.transports[a.id] == a && n.transports[b.id] == b
	switch {
	case !stayed || !n.connectable(a, b):
		if a, b := n.transports[a.id], n.transports[b.id]; a != nil && b != nil {
			n.connect(a, b, 20*time.Millisecond)
		}
	case refused[0] == nil && refused[1] == nil:
		n.join(p, a, b)
	default:
		if refused[0] != nil {
			n.keptOut[[2]int{b.machine, a.machine}]++
		}
		if refused[1] != nil {
			n.keptOut[[2]int{a.machine, b.machine}]++
		}
		n.connect(a, b, time.Second)
	}
	n.mu.Unlock()
	// Who calls looks first, and does not go on when it does not like what it sees.
	if stayed && refused[0] == nil && refused[1] != nil {
		a.displaced(b.id, refused[1])
	}
	if stayed && refused[1] == nil && refused[0] != nil {
		b.displaced(a.id, refused[0])
	}
}

// knockEvery is how often a node calls one that does not know it.
const knockEvery = time.Second

// knock has a node call one that does not know it, by a ring of which it is no member: who
// is called says so, or learns that there is a later ring. The caller holds mu.
func (n *Network) knock(p *pair, a, b *Transport) {
	calls := func() bool { return a.peers[b.id] && !b.peers[a.id] && n.reaches(a, b) }
	if p.knocking || !calls() {
		return
	}
	p.knocking = true
	n.loop.after(10*time.Millisecond, func() {
		n.mu.Lock()
		p.knocking = false
		stayed := calls()
		n.mu.Unlock()
		if !stayed {
			return
		}
		go func() {
			if a.o.Admit(b.id, b.o.Life, b.o.Epoch()) != nil {
				return
			}
			if err := b.o.Admit(a.id, a.o.Life, a.o.Epoch()); err != nil {
				n.loop.after(0, func() { a.displaced(b.id, err) })
			}
		}()
		n.loop.after(knockEvery, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if calls() {
				n.knock(p, a, b)
			}
		})
	})
}

// displaced tells a node that it was not let in.
func (t *Transport) displaced(by ring.NodeID, err error) {
	if errors.Is(err, rpc.ErrDisplaced) || errors.Is(err, rpc.ErrHeld) || errors.Is(err, rpc.ErrNoPart) {
		t.o.Displaced(by, fmt.Errorf("%w: %w", rpc.ErrRefused, err))
	}
}

// meet checks that a node that has met a life of another meets no earlier one any
// more. The caller holds mu.
func (n *Network) meet(t, other *Transport) {
	k := meeting{t.machine, other.id}
	if before := n.met[k]; other.o.Life.Since < before.Since {
		n.fail("place", "n%d meets %v in its life %x since %d, after it has met its life %x since %d", t.machine, other.id,
			other.o.Life.Incarnation, other.o.Life.Since, before.Incarnation, before.Since)
	}
	n.met[k] = other.o.Life
}

// Amnesia says that a machine may not remember whom it has met.
func (n *Network) Amnesia(machine int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k := range n.met {
		if k.machine == machine {
			delete(n.met, k)
		}
	}
}
