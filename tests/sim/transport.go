package sim

import (
	"context"
	"fmt"
	"net"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
)

// Transport is one process's end of a Network. It implements cluster.Transport.
type Transport struct {
	net     *Network
	machine int
	id      ring.NodeID
	o       rpc.Options
	gone    chan struct{} // closed when the process ends
	// flushing holds one token while messages are on their way through a
	// commit, so that flushes do not overtake each other.
	flushing chan struct{}

	// All below is guarded by net.mu.
	closed  bool
	peers   map[ring.NodeID]bool
	sending map[ring.NodeID]*session // peers that are up
	queue   []outgoing
	callers map[ring.NodeID]chan *wire.Message
}

// outgoing is a message that waits for its flush, or for its way.
type outgoing struct {
	to      ring.NodeID
	class   rpc.Class
	kind    wire.Kind
	bytes   []byte
	session *session
	caller  chan *wire.Message // instead of a session
}

// callerBit marks ids made up for callers; see rpc.IsCaller.
const callerBit ring.NodeID = 1 << 63

// listen opens a machine's transport. A connection that the process before it
// left behind ends now at the latest.
func (n *Network) listen(machine int, o rpc.Options) *Transport {
	o.EnsureDefaults()
	t := &Transport{
		net: n, machine: machine, id: o.Self, o: o, gone: make(chan struct{}), flushing: make(chan struct{}, 1),
		peers: make(map[ring.NodeID]bool), sending: make(map[ring.NodeID]*session), callers: make(map[ring.NodeID]chan *wire.Message),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.transports[t.id] = t
	n.listening[o.Listen] = t
	for k, p := range n.pairs {
		if s := p.session; s != nil && (k[0] == t.id || k[1] == t.id) {
			n.end(s, fmt.Errorf("connection reset"), time.Millisecond)
		}
	}
	return t
}

// kill takes the process off the network; peers notice within a time.
func (t *Transport) kill(noticed time.Duration) {
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	close(t.gone)
	t.queue = nil
	if n.transports[t.id] == t {
		delete(n.transports, t.id)
		delete(n.listening, t.o.Listen)
	}
	for _, p := range n.pairs {
		s := p.session
		if s == nil || s.ends[0] != t && s.ends[1] != t {
			continue
		}
		s.over = true
		end := 0 // the end that lives on
		if s.ends[0] == t {
			end = 1
		}
		s.told[1-end] = true
		n.loop.after(noticed+n.jitter(s.ends[0].machine, s.ends[1].machine, 3*time.Millisecond), func() {
			n.tellDown(s, end, fmt.Errorf("connection reset"))
		})
	}
}

// Close implements cluster.Transport.
func (t *Transport) Close() error {
	t.kill(time.Millisecond)
	return nil
}

// SetPeers implements cluster.Transport.
func (t *Transport) SetPeers(peers []rpc.Peer) {
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(t.peers)
	for _, p := range peers {
		if p.ID != t.id {
			t.peers[p.ID] = true
		}
	}
	n.reconnect(t, 20*time.Millisecond)
}

// Send implements cluster.Transport.
func (t *Transport) Send(to ring.NodeID, class rpc.Class, m *wire.Message) error {
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	out := outgoing{to: to, class: class, kind: m.Kind, session: t.sending[to]}
	if out.session == nil {
		out.caller = t.callers[to]
	}
	if t.closed || out.session == nil && out.caller == nil {
		return rpc.ErrUnreachable
	}
	out.bytes = wire.Append(nil, m)
	t.queue = append(t.queue, out)
	return nil
}

// Flush implements cluster.Transport.
func (t *Transport) Flush() {
	n := t.net
	n.mu.Lock()
	idle := len(t.queue) == 0
	n.mu.Unlock()
	if idle {
		return
	}
	t.flushing <- struct{}{}
	defer func() { <-t.flushing }()
	n.mu.Lock()
	queue := t.queue
	t.queue = nil
	n.mu.Unlock()
	if len(queue) == 0 {
		return
	}
	err := t.o.BeforeFlush()
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.closed {
		return
	}
	var toPeers []outgoing
	for _, out := range queue {
		switch {
		case err != nil && out.session != nil:
			n.end(out.session, fmt.Errorf("commit before sending: %w", err), time.Millisecond)
		case err != nil:
		case out.caller != nil:
			if answer := func() { out.deliverToCaller() }; !n.hold(t.machine, answer) {
				n.loop.after(time.Millisecond, answer)
			}
		default:
			toPeers = append(toPeers, out)
		}
	}
	n.transmit(t, toPeers)
}

// deliverToCaller hands an answer to who called.
func (out *outgoing) deliverToCaller() {
	m := new(wire.Message)
	if _, err := m.Decode(out.bytes); err != nil {
		panic(err) // both sides are this program
	}
	select {
	case out.caller <- m:
	default: // it has its answer
	}
}

// Call implements cluster.Transport.
func (t *Transport) Call(ctx context.Context, addr string, m *wire.Message) (*wire.Message, error) {
	asked := *m
	if deadline, ok := ctx.Deadline(); ok && asked.Timeout == 0 {
		asked.Timeout = max(time.Until(deadline), 1)
	}
	bytes := wire.Append(nil, &asked)
	answer := make(chan *wire.Message, 1)
	n := t.net
	n.mu.Lock()
	other := n.listening[addr]
	reachable := other != nil && n.paused[t.machine] == nil && !n.blocked[[2]int{t.machine, other.machine}] && !n.blocked[[2]int{other.machine, t.machine}]
	var id ring.NodeID
	if reachable {
		n.lastCaller++
		id = callerBit | ring.NodeID(n.lastCaller)
		other.callers[id] = answer
	}
	n.mu.Unlock()
	if !reachable {
		return nil, fmt.Errorf("call %s: connection refused", addr)
	}
	n.loop.after(time.Millisecond, func() { n.deliverCall(other, id, bytes) })
	defer func() {
		n.mu.Lock()
		delete(other.callers, id)
		n.mu.Unlock()
	}()
	select {
	case reply := <-answer:
		return reply, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("call %s: %w", addr, ctx.Err())
	case <-t.gone:
		return nil, fmt.Errorf("call %s: %w", addr, rpc.ErrClosed)
	case <-other.gone:
		return nil, fmt.Errorf("call %s: connection reset", addr)
	}
}

// deliverCall hands a call to the transport that was called.
func (n *Network) deliverCall(to *Transport, id ring.NodeID, bytes []byte) {
	n.mu.Lock()
	lost := to.closed || n.hold(to.machine, func() { n.deliverCall(to, id, bytes) })
	n.mu.Unlock()
	if lost {
		return
	}
	var m wire.Message
	if _, err := m.Decode(bytes); err != nil {
		panic(err) // both sides are this program
	}
	to.o.Handler.Receive(id, &m)
	to.o.Handler.EndBatch()
}

// Connected implements cluster.Transport.
func (t *Transport) Connected(id ring.NodeID) bool {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	return t.sending[id] != nil
}

// Kick implements cluster.Transport.
func (t *Transport) Kick(ring.NodeID) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	if !t.closed {
		t.net.reconnect(t, 20*time.Millisecond)
	}
}

// Addr implements cluster.Transport.
func (t *Transport) Addr() net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", t.o.Listen)
	if err != nil {
		panic(err) // the simulation chose it
	}
	return addr
}
