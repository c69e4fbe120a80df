package rpc

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// Transport connects this node with its peers. See the package comment.
type Transport struct {
	o        Options
	log      zerolog.Logger
	listener net.Listener
	expecter Expecter        // the handler, if it is one
	ctx      context.Context // ends with Close; handed to what the transport starts
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	// peers and links are replaced, never changed, so that Send and Flush read them without a lock. links are all that a
	// flush writes: those to peers and those of callers.
	peers atomic.Pointer[map[ring.NodeID]*peer]
	links atomic.Pointer[[]*link]
	news  notices

	mu        sync.Mutex
	closed    bool
	accepted  map[acceptedKey]*inbound // those that have proved to be peers
	callers   map[ring.NodeID]*link
	conns     map[net.Conn]struct{} // all accepted, strangers too
	strangers int
	lastID    uint64 // of callers
}

// acceptedKey names a connection that a peer dialed.
type acceptedKey struct {
	id    ring.NodeID
	class Class
}

// New listens and serves. Peers are connected by SetPeers.
func New(o Options) (*Transport, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for peers on %s: %w", o.Listen, err)
	}
	t := &Transport{
		o: o, log: o.Logger, listener: l,
		accepted: make(map[acceptedKey]*inbound), callers: make(map[ring.NodeID]*link), conns: make(map[net.Conn]struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.expecter, _ = o.Handler.(Expecter)
	t.peers.Store(new(map[ring.NodeID]*peer))
	t.links.Store(new([]*link))
	t.news.wake = make(chan struct{}, 1)
	t.wg.Go(t.accept)
	t.wg.Go(t.tell)
	t.wg.Go(t.sweep)
	return t, nil
}

// Addr is the address listened on.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// SetPeers makes these the nodes to be connected to: it begins to connect to new ones, lets go of those not named, and
// connects anew to those whose address changed. The node itself is passed over.
func (t *Transport) SetPeers(peers []Peer) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	old := *t.peers.Load()
	now := make(map[ring.NodeID]*peer, len(peers))
	var moved []*peer
	for _, want := range peers {
		if want.ID == t.o.Self {
			continue
		}
		p := old[want.ID]
		if p == nil {
			p = t.startPeer(want)
		} else if p.setAddr(want.Addr) {
			moved = append(moved, p)
		}
		now[want.ID] = p
	}
	t.peers.Store(&now)
	t.mu.Unlock()
	for _, p := range moved {
		p.reconnect(fmt.Errorf("its address is now %s", p.address()))
	}
	for id, p := range old {
		if now[id] != p {
			p.cancel()
			t.news.post(id)
		}
	}
	for id := range now {
		t.news.post(id)
	}
}

// Send puts m behind what waits for the peer. It does not leave before Flush. m may be reused at once. Errors:
// ErrUnreachable, ErrOverloaded, ErrTooLarge.
func (t *Transport) Send(to ring.NodeID, class Class, m *wire.Message) error {
	if p := (*t.peers.Load())[to]; p != nil {
		if l := p.sending[class].Load(); l != nil {
			return l.send(m)
		}
		return ErrUnreachable
	}
	if IsCaller(to) {
		t.mu.Lock()
		l := t.callers[to]
		t.mu.Unlock()
		if l != nil {
			return l.send(m)
		}
	}
	return ErrUnreachable
}

// Flush writes what was sent to anyone before it was called, or leaves it to a goroutine that is writing to the same peer.
func (t *Transport) Flush() {
	var few [16]*link
	claimed := few[:0]
	for _, l := range *t.links.Load() {
		if l.dirty.Load() && l.claim() {
			claimed = append(claimed, l)
		}
	}
	for round := 0; len(claimed) > 0; round++ {
		if round == flushRounds {
			for _, l := range claimed {
				l.handOver()
			}
			return
		}
		if err := t.o.BeforeFlush(); err != nil {
			for _, l := range claimed {
				l.fail(fmt.Errorf("commit before sending: %w", err))
			}
			return
		}
		more := claimed[:0]
		for _, l := range claimed {
			if l.flush() {
				more = append(more, l)
			}
		}
		claimed = more
	}
}

// Connected reports whether the peer is up.
func (t *Transport) Connected(id ring.NodeID) bool {
	p := (*t.peers.Load())[id]
	return p != nil && p.sending[Foreground].Load() != nil
}

// Speaks returns the version of the protocol that this node and the peer have agreed on, the lower one while connections of
// different classes differ, and 0 before the peer was up for the first time: nothing is sent to it until then.
func (t *Transport) Speaks(id ring.NodeID) uint16 {
	p := (*t.peers.Load())[id]
	if p == nil {
		return 0
	}
	version := p.version[Foreground].Load()
	for c := range p.version {
		version = min(version, p.version[c].Load())
	}
	return uint16(version)
}

// RTT returns the last round trip of a Ping to the peer, 0 when none has been measured since it connected.
func (t *Transport) RTT(id ring.NodeID) time.Duration {
	if p := (*t.peers.Load())[id]; p != nil {
		return time.Duration(p.rtt.Load())
	}
	return 0
}

// Kick ends the wait for the next attempt to connect: something else has heard from the peer.
func (t *Transport) Kick(id ring.NodeID) {
	if p := (*t.peers.Load())[id]; p != nil {
		p.wakeUp()
	}
}

// Close ends all connections and waits for every goroutine. PeerDown is not called for what Close ends.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	err := t.listener.Close()
	t.mu.Lock()
	conns, accepted := slices.Collect(maps.Keys(t.conns)), slices.Collect(maps.Values(t.accepted))
	t.mu.Unlock()
	for _, in := range accepted {
		in.close()
	}
	for _, c := range conns {
		_ = c.Close() // only its reader is to learn of it
	}
	t.wg.Wait()
	if err != nil {
		return fmt.Errorf("stop listening for peers: %w", err)
	}
	return nil
}

// addLink and removeLink replace the list that Flush walks.
func (t *Transport) addLink(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	links := append(slices.Clip(*t.links.Load()), l)
	t.links.Store(&links)
}

func (t *Transport) removeLink(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	links := slices.DeleteFunc(slices.Clone(*t.links.Load()), func(have *link) bool { return have == l })
	t.links.Store(&links)
}

// processStart never changes; monotonic counts from it.
var processStart = time.Now()

// monotonic returns nanoseconds of a clock that never goes back, never 0.
func monotonic() int64 { return int64(time.Since(processStart)) + 1 }
