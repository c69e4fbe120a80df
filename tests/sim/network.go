package sim

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
)

// Trouble is what a network does to single messages. A connection over TCP does
// none of this; the protocol bears it all the same, except that a request to
// run an operation (Write, Control) is never duplicated: that it is
// executed at most once is what a connection gives.
type Trouble struct {
	Drop, Duplicate, Reorder, Late float64 // probabilities per message
}

const (
	// silence is how long a connection over which nothing comes is kept.
	silence = 2 * time.Second
	// latest is the longest delay of a late message.
	latest = 3 * time.Second
)

// Network connects transports: between each two that know each other there is a
// session while nothing keeps them apart.
type Network struct {
	loop *loop
	seed uint64

	mu         sync.Mutex
	trouble    Trouble                    // guarded by mu
	transports map[ring.NodeID]*Transport // guarded by mu
	listening  map[string]*Transport      // guarded by mu
	pairs      map[[2]ring.NodeID]*pair   // guarded by mu
	links      map[linkKey]*link          // guarded by mu
	blocked    map[[2]int]bool            // guarded by mu: by machine, from and to
	slow       map[int]time.Duration      // guarded by mu: extra delay of a machine's messages
	doomed     map[int]func()             // guarded by mu: called in the middle of a machine's next batch
	paused     map[int]*pause             // guarded by mu: by machine
	met        map[meeting]rpc.Life       // guarded by mu: see lives.go
	lastCaller uint64                     // guarded by mu
	keptOut    map[[2]int]int             // guarded by mu: how often a machine was not let in by another
	// fail takes what must not be.
	fail func(invariant, format string, args ...any)
}

// linkKey names one direction of one class of a pair, by machine so that it does
// not depend on ids.
type linkKey struct {
	from, to int
	class    rpc.Class
}

// link draws the fate of the messages of one direction.
type link struct {
	rand *rand.Rand
	last time.Time // when the last message in order arrives
}

// pair is two nodes that may be connected.
type pair struct {
	session    *session
	connecting bool
	knocking   bool // one calls who does not know it; see knock
}

// session is one connection between two transports.
type session struct {
	ends [2]*Transport
	up   [2]bool // that end was told
	over bool    // nothing new arrives over it
	told [2]bool // that end was told that it is over, or need not be
}

func newNetwork(l *loop, seed uint64) *Network {
	return &Network{
		loop: l, seed: seed,
		transports: make(map[ring.NodeID]*Transport), listening: make(map[string]*Transport),
		pairs: make(map[[2]ring.NodeID]*pair), links: make(map[linkKey]*link),
		blocked: make(map[[2]int]bool), slow: make(map[int]time.Duration), doomed: make(map[int]func()),
		paused: make(map[int]*pause), met: make(map[meeting]rpc.Life), keptOut: make(map[[2]int]int),
		fail: func(invariant, format string, args ...any) { panic(invariant + ": " + fmt.Sprintf(format, args...)) },
	}
}

// Calm ends all trouble with messages and all pauses, and dooms nobody any more.
func (n *Network) Calm(machines int) {
	for m := range machines {
		n.Resume(m)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trouble = Trouble{}
	clear(n.slow)
	clear(n.doomed)
}

// SetTrouble changes what happens to messages sent from now on.
func (n *Network) SetTrouble(t Trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trouble = t
}

// Slow delays what a machine sends and gets by d.
func (n *Network) Slow(machine int, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[machine] = d
}

// Doom calls kill when the machine has handled its next messages and before they
// are committed; nil lets it live.
func (n *Network) Doom(machine int, kill func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doomed[machine] = kill
}

// Block and Unblock stop and start what one machine sends to another.
func (n *Network) Block(from, to int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.blocked[[2]int{from, to}] {
		return
	}
	n.blocked[[2]int{from, to}] = true
	// Both ends find out when they have heard nothing for long enough: an
	// acknowledgement has to come back too.
	for _, p := range n.pairs {
		if s := p.session; s != nil && s.joins(from, to) {
			n.loop.after(silence+n.jitter(from, to, 250*time.Millisecond), func() { n.silent(s, from, to) })
		}
	}
}

// Unblock lets messages pass again, and the two connect anew after a while.
func (n *Network) Unblock(from, to int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.blocked, [2]int{from, to})
	for _, t := range n.sorted() {
		n.reconnect(t, 700*time.Millisecond)
	}
}

// Blocked reports whether messages from one machine to another are lost.
func (n *Network) Blocked(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.blocked[[2]int{from, to}] || n.paused[from] != nil || n.paused[to] != nil
}

// joins reports whether the session is between two machines.
func (s *session) joins(a, b int) bool {
	x, y := s.ends[0].machine, s.ends[1].machine
	return x == a && y == b || x == b && y == a
}

// silent ends a session that is still blocked.
func (n *Network) silent(s *session, from, to int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.blocked[[2]int{from, to}] {
		n.end(s, errors.New("nothing heard for 2s"), 300*time.Millisecond)
	}
}

// sorted returns the open transports in the order of their machines. The caller
// holds mu.
func (n *Network) sorted() []*Transport {
	all := make([]*Transport, 0, len(n.transports))
	for _, t := range n.transports {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Transport) int { return cmp.Compare(a.machine, b.machine) })
	return all
}

// link returns one direction. The caller holds mu.
func (n *Network) link(from, to int, c rpc.Class) *link {
	k := linkKey{from, to, c}
	l := n.links[k]
	if l == nil {
		l = &link{rand: rand.New(rand.NewPCG(n.seed, uint64(from+1)<<32|uint64(to+1)<<8|uint64(c)))}
		n.links[k] = l
	}
	return l
}

// jitter draws a time up to d. The caller holds mu.
func (n *Network) jitter(from, to int, d time.Duration) time.Duration {
	return time.Duration(n.link(from, to, rpc.Bulk).rand.Int64N(int64(d)))
}

func pairKey(a, b ring.NodeID) [2]ring.NodeID { return [2]ring.NodeID{min(a, b), max(a, b)} }

// reconnect begins to connect t with the peers it can be connected with. The
// caller holds mu.
func (n *Network) reconnect(t *Transport, within time.Duration) {
	for _, other := range n.sorted() {
		if other != t {
			n.connect(t, other, within)
		}
	}
}

// connect begins to connect two transports. The caller holds mu.
func (n *Network) connect(a, b *Transport, within time.Duration) {
	p := n.pairOf(a, b)
	if !n.connectable(a, b) {
		n.knock(p, a, b)
		n.knock(p, b, a)
		return
	}
	if p.session != nil || p.connecting {
		return
	}
	p.connecting = true
	n.loop.after(time.Millisecond+n.jitter(a.machine, b.machine, within), func() { n.establish(p, a.id, b.id) })
}

// pairOf returns the pair of two nodes. The caller holds mu.
func (n *Network) pairOf(a, b *Transport) *pair {
	k := pairKey(a.id, b.id)
	p := n.pairs[k]
	if p == nil {
		p = &pair{}
		n.pairs[k] = p
	}
	return p
}

// connectable reports whether two can be connected now. The caller holds mu.
func (n *Network) connectable(a, b *Transport) bool {
	return a.peers[b.id] && b.peers[a.id] && n.reaches(a, b)
}

// reaches reports whether two could be connected if they knew each other. The caller holds mu.
func (n *Network) reaches(a, b *Transport) bool {
	return n.transports[a.id] == a && n.transports[b.id] == b &&
		!n.blocked[[2]int{a.machine, b.machine}] && !n.blocked[[2]int{b.machine, a.machine}] &&
		n.paused[a.machine] == nil && n.paused[b.machine] == nil
}

// establish makes the session, of whoever runs under these ids now, when both let
// each other in.
func (n *Network) establish(p *pair, ida, idb ring.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, b := n.transports[ida], n.transports[idb]
	if a == nil || b == nil || p.session != nil || !n.connectable(a, b) {
		p.connecting = false
		return
	}
	n.greet(p, a, b)
}

// join makes the session of two that have let each other in. The caller holds mu.
func (n *Network) join(p *pair, a, b *Transport) {
	n.meet(a, b)
	n.meet(b, a)
	s := &session{ends: [2]*Transport{a, b}}
	p.session = s
	for end := range s.ends {
		n.loop.after(n.jitter(a.machine, b.machine, 3*time.Millisecond), func() { n.tellUp(s, end) })
	}
}

func (n *Network) tellUp(s *session, end int) {
	n.mu.Lock()
	t, other := s.ends[end], s.ends[1-end]
	if s.over || t.closed || n.hold(t.machine, func() { n.tellUp(s, end) }) {
		n.mu.Unlock()
		return
	}
	s.up[end] = true
	t.sending[other.id] = s
	n.mu.Unlock()
	t.o.Handler.PeerUp(other.id)
}

// end ends a session; its ends learn of it within a time. The caller holds mu.
func (n *Network) end(s *session, reason error, within time.Duration) {
	s.over = true
	for end := range s.ends {
		a, b := s.ends[end].machine, s.ends[1-end].machine
		n.loop.after(n.jitter(a, b, within), func() { n.tellDown(s, end, reason) })
	}
}

// tellDown tells one end that a session is over, unless it knows or is gone.
func (n *Network) tellDown(s *session, end int, reason error) {
	n.mu.Lock()
	t, other := s.ends[end], s.ends[1-end]
	if !t.closed && n.hold(t.machine, func() { n.tellDown(s, end, reason) }) {
		n.mu.Unlock()
		return
	}
	tell := s.up[end] && !s.told[end] && !t.closed
	s.told[end] = true
	if t.sending[other.id] == s {
		delete(t.sending, other.id)
	}
	n.mu.Unlock()
	if tell {
		t.o.Handler.PeerDown(other.id, reason)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.pairs[pairKey(t.id, other.id)]; p.session == s && s.told[0] && s.told[1] {
		p.session = nil
		if a, b := n.transports[t.id], n.transports[other.id]; a != nil && b != nil {
			n.connect(a, b, 300*time.Millisecond)
		}
	}
}

// Cut breaks the connection of two machines, which comes back by itself.
func (n *Network) Cut(a, b int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pairs {
		if s := p.session; s != nil && s.joins(a, b) && !s.over {
			n.end(s, errors.New("connection reset"), 5*time.Millisecond)
		}
	}
}

// transmit sends messages that were flushed together. The caller holds mu.
func (n *Network) transmit(t *Transport, flushed []outgoing) {
	for len(flushed) > 0 {
		first := &flushed[0]
		size := 1
		for size < len(flushed) && flushed[size].to == first.to && flushed[size].class == first.class {
			size++
		}
		n.schedule(t, first.session, first.class, flushed[:size])
		flushed = flushed[size:]
	}
}

// schedule decides when messages arrive. Those without trouble arrive in order
// and as one batch. The caller holds mu.
func (n *Network) schedule(t *Transport, s *session, class rpc.Class, messages []outgoing) {
	if later := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !s.over { // else the peer has given the connection up
			n.schedule(t, s, class, messages)
		}
	}; n.hold(t.machine, later) {
		return
	}
	to := s.ends[0]
	if to == t {
		to = s.ends[1]
	}
	l := n.link(t.machine, to.machine, class)
	delay := 50*time.Microsecond + time.Duration(l.rand.ExpFloat64()*float64(300*time.Microsecond)) + n.slow[t.machine] + n.slow[to.machine]
	var batch [][]byte
	for _, m := range messages {
		if n.trouble == (Trouble{}) || class == rpc.Bulk {
			batch = append(batch, m.bytes)
			continue
		}
		copies := 1
		draw := l.rand.Float64()
		extra := time.Duration(l.rand.ExpFloat64() * float64(5*time.Millisecond))
		switch tr := &n.trouble; {
		case draw < tr.Drop:
			continue
		case draw < tr.Drop+tr.Duplicate:
			if m.kind != wire.Write {
				copies = 2
			}
		case draw < tr.Drop+tr.Duplicate+tr.Reorder:
		case draw < tr.Drop+tr.Duplicate+tr.Reorder+tr.Late:
			extra += time.Duration(l.rand.Int64N(int64(latest)))
		default:
			batch = append(batch, m.bytes)
			continue
		}
		for i := range copies {
			n.loop.after(delay+extra*time.Duration(i+1), func() { n.deliver(s, t, to, [][]byte{m.bytes}) })
		}
	}
	if len(batch) == 0 {
		return
	}
	at := time.Now().Add(delay)
	if at.Before(l.last) {
		at = l.last
	}
	l.last = at
	n.loop.at(at, func() { n.deliver(s, t, to, batch) })
}

// deliver hands a batch to its receiver, if nothing has come between.
func (n *Network) deliver(s *session, from, to *Transport, batch [][]byte) {
	n.mu.Lock()
	if !to.closed && !n.blocked[[2]int{from.machine, to.machine}] && n.hold(to.machine, func() { n.deliver(s, from, to, batch) }) {
		n.mu.Unlock()
		return
	}
	l := n.link(from.machine, to.machine, rpc.Foreground)
	lost := to.closed || n.blocked[[2]int{from.machine, to.machine}] ||
		s.over && l.rand.IntN(2) == 0 // what was read from the socket before its end is still handled
	kill := n.doomed[to.machine]
	if !lost {
		delete(n.doomed, to.machine)
	}
	n.mu.Unlock()
	if lost {
		return
	}
	var m wire.Message
	for _, b := range batch {
		b = slices.Clone(b) // it may arrive twice
		if _, err := m.Decode(b); err != nil {
			panic(err) // both sides are this program
		}
		to.o.Handler.Receive(from.id, &m)
		for i := range b {
			b[i] ^= 0xff // what Receive kept without copying is noticed
		}
	}
	if kill != nil {
		kill()
		return
	}
	to.o.Handler.EndBatch()
}
