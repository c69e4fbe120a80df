package membership

import (
	"cmp"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
)

// The pace of gossip; the package comment says what follows from it.
const (
	probeInterval = 400 * time.Millisecond
	probeTimeout  = 200 * time.Millisecond
	suspicionMult = 3
	// unconfirmedMult stretches a suspicion that nobody else shares: who is cut off suspects everyone, and errs.
	unconfirmedMult = 2
	gossipInterval  = 100 * time.Millisecond
	// retransmitMult is how often each node says a thing, times the logarithm of their number. Among three it goes on for
	// 800 ms, so that who was out of reach for a moment still hears that it is suspected; memberlist's own 4 is over in 200.
	retransmitMult = 16
	// syncInterval is the time between exchanges of everything with one node, which mend what packets lost.
	syncInterval = 10 * time.Second
	// streamTimeout bounds such an exchange and a Join, per node.
	streamTimeout = 2 * time.Second
	// reclaimAfter is how long a member must be dead before its id may come back from another address.
	reclaimAfter = time.Second
	// rejoinEvery is the time between attempts to reach dead members.
	rejoinEvery = 5 * time.Second
	// sayAgain is the least time between complaints of one kind about seeds or about strangers, who try twice a second.
	sayAgain = 30 * time.Second
	// updateTimeout bounds how long UpdateMeta waits for the first peers to be told.
	updateTimeout = 2 * time.Second
)

// Events are told what changes. The calls come from one goroutine, without a lock held; they should not block for long.
type Events interface {
	// Alive: the node is a living member, newly or again.
	Alive(m Meta)
	// Dead: the node died or left.
	Dead(id ring.NodeID)
	// Updated: a living member says something new of itself.
	Updated(m Meta)
}

// Options configure Start.
type Options struct {
	// Self is what this node says of itself; its Gossip address is filled in.
	Self Meta
	// Refuse says why another node may be no member, nil when it may. It is called with locks held and must not block. nil: all
	// may.
	Refuse func(m Meta) error
	// Label is the cluster's name; packets of other names are not read.
	Label string
	// Secret encrypts gossip, its first 32 bytes when it is longer. Otherwise 16 or 24 bytes; empty: no encryption.
	Secret []byte
	// Bind is the address to listen on, UDP and TCP, host:port; port 0 takes a free one.
	Bind string
	// Advertise is the address others reach this node at, host:port; empty: Bind.
	Advertise string
	// Transport replaces the network. Bind then only counts as what is advertised.
	Transport memberlist.Transport
	// Stretch makes the pace of gossip so many times slower; 0 is 1. A simulation of many minutes saves most of its work.
	Stretch int
	// Seeds are gossip addresses asked to join again and again until one has answered. Start does not wait for it.
	Seeds  []string
	Events Events
	Logger zerolog.Logger
}

// Member is one node as gossip knows it.
type Member struct {
	Meta
	Alive bool
	// Heartbeat is when the node last answered a probe of this node or came alive; for this node itself, now.
	Heartbeat time.Time
}

// Members is this node's part in the gossip. Its methods may be called concurrently, but not from within Events.
type Members struct {
	o        Options
	log      zerolog.Logger
	list     *memberlist.Memberlist
	delegate *delegate
	stop     chan struct{} // closed by Close
	wg       sync.WaitGroup

	obstacle atomic.Pointer[out] // why no seed lets this node in; nil once one has

	mu     sync.Mutex
	closed bool
	left   bool
}

// Start listens and begins to gossip. That the address is in use is an error naming it.
func Start(o Options) (*Members, error) {
	if o.Self.NodeID == 0 {
		return nil, errors.New("gossip needs the id of its node")
	}
	key, err := gossipKey(o.Secret)
	if err != nil {
		return nil, err
	}
	m := &Members{o: o, log: o.Logger, stop: make(chan struct{})}
	logger := log.New(&logWriter{log: o.Logger, now: time.Now}, "", 0)
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label, c.SecretKey, c.Logger = o.Self.NodeID.String(), o.Label, key, logger
	stretch := time.Duration(max(o.Stretch, 1))
	c.ProbeInterval, c.ProbeTimeout = stretch*probeInterval, stretch*probeTimeout
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = suspicionMult, unconfirmedMult
	c.GossipInterval, c.RetransmitMult, c.PushPullInterval = stretch*gossipInterval, retransmitMult, stretch*syncInterval
	c.TCPTimeout, c.DeadNodeReclaimTime = streamTimeout, reclaimAfter
	c.EnableCompression = false // what is said is small, and compressing costs more than sending
	if err := bind(c, &o, logger); err != nil {
		return nil, err
	}
	// What others reach this node at is known only now: with port 0, or listening on every address.
	ip, port, err := c.Transport.FinalAdvertiseAddr(c.AdvertiseAddr, c.AdvertisePort)
	if err == nil {
		o.Self.Gossip = net.JoinHostPort(ip.String(), strconv.Itoa(port))
		m.delegate, err = newDelegate(o.Self, o.Refuse, o.Logger)
	}
	if err == nil {
		c.Delegate, c.Events, c.Alive, c.Conflict, c.Merge, c.Ping = m.delegate, m.delegate, m.delegate, m.delegate, m.delegate, m.delegate
		m.list, err = memberlist.Create(c)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start gossip on %s: %w", o.Bind, err), c.Transport.Shutdown())
	}
	m.wg.Go(m.tell)
	m.wg.Go(m.rejoin)
	return m, nil
}

// gossipKey cuts a secret to a length that AES takes.
func gossipKey(secret []byte) ([]byte, error) {
	switch n := len(secret); {
	case n >= 32:
		return secret[:32], nil
	case n == 0, n == 16, n == 24:
		return secret, nil
	default:
		return nil, fmt.Errorf("secret of %d bytes, it must have 16, 24, 32 or more", n)
	}
}

// Join asks the nodes at these gossip addresses to take this node in, and returns how many answered; an error if none did.
func (m *Members) Join(seeds []string) (int, error) {
	n, err := m.list.Join(seeds)
	if err != nil {
		return n, fmt.Errorf("join %v: %s", seeds, oneLine(err))
	}
	return n, nil
}

// Obstacle says why none of Options.Seeds lets this node in and what would mend it; empty once one has, or as long as
// none was asked.
func (m *Members) Obstacle() string {
	if o := m.obstacle.Load(); o != nil {
		return fmt.Sprintf("cluster.join = %q %s", o.seeds, o.text)
	}
	return ""
}

// KeptOut says what seeds that were reached did in place of letting this node in, and since when none did anything else;
// empty when that is not so. It does not pass by itself: names or secrets differ.
func (m *Members) KeptOut() (why string, since time.Time) {
	if o := m.obstacle.Load(); o != nil && !o.since.IsZero() {
		return o.text, o.since
	}
	return "", time.Time{}
}

// UpdateMeta changes what this node says of itself, except where gossip reaches it, and spreads it.
func (m *Members) UpdateMeta(self Meta) error {
	self.Gossip = m.delegate.local().Gossip
	if err := m.delegate.setSelf(self); err != nil {
		return err
	}
	if err := m.list.UpdateNode(updateTimeout); err != nil {
		// It is known here, and goes out with the next exchange.
		m.log.Warn().Err(err).Msg("nobody was told of this node's change in time")
	}
	return nil
}

// Self returns what this node says of itself.
func (m *Members) Self() Meta { return m.delegate.local() }

// Members returns every node heard of and not forgotten, this one included, in the order of their ids.
func (m *Members) Members() []Member {
	known := m.delegate.snapshot()
	return slices.SortedFunc(maps.Values(known), func(a, b Member) int { return cmp.Compare(a.NodeID, b.NodeID) })
}

// Forget stops asking a dead node to join again: it has been removed. A node that lives on is not affected.
func (m *Members) Forget(id ring.NodeID) { m.delegate.forget(id) }

// Leave tells the others that this node goes, and waits for that to be sent, at most timeout. Close must follow.
func (m *Members) Leave(timeout time.Duration) error {
	m.mu.Lock()
	skip := m.closed || m.left
	m.left = true
	m.mu.Unlock()
	if skip {
		return nil
	}
	// The library takes it for granted that the node is known to itself.
	self := m.Self().NodeID.String()
	if !slices.ContainsFunc(m.list.Members(), func(n *memberlist.Node) bool { return n.Name == self }) {
		return nil
	}
	if err := m.list.Leave(timeout); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// Close stops gossip. Others will find this node dead, unless it left. No event is told after it.
func (m *Members) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	close(m.stop)
	err := m.list.Shutdown()
	m.wg.Wait()
	if err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}

// tell is the goroutine that calls Events.
func (m *Members) tell() {
	for {
		select {
		case <-m.stop:
			return
		case <-m.delegate.wake:
		}
		for _, c := range m.delegate.takeChanges() {
			select {
			case <-m.stop:
				return
			default:
			}
			switch {
			case m.o.Events == nil:
			case c.what == changeDead:
				m.o.Events.Dead(c.meta.NodeID)
			case c.what == changeUpdated:
				m.o.Events.Updated(c.meta)
			default:
				m.o.Events.Alive(c.meta)
			}
		}
	}
}

// isSelf reports whether a gossip address is that of this node, which proves nothing by answering itself.
func (m *Members) isSelf(addr string) bool {
	ip, port, err := resolve(addr)
	self := m.list.LocalNode()
	return err == nil && int(self.Port) == port && self.Addr.Equal(ip)
}

// rejoin is the goroutine that asks seeds until one answers, and dead members, to join.
func (m *Members) rejoin() {
	seeds := slices.DeleteFunc(slices.Clone(m.o.Seeds), m.isSelf)
	wait := time.NewTimer(0)
	defer wait.Stop()
	said := complaints{}
	for {
		select {
		case <-m.stop:
			return
		case <-wait.C:
		}
		every := rejoinEvery
		if len(seeds) > 0 {
			if n, err := m.list.Join(seeds); n > 0 {
				seeds = nil
				m.obstacle.Store(nil)
			} else {
				every = probeInterval
				why := obstacleOf(err)
				text := explain(why, m.o.Self.Name, m.o.Label, err)
				m.obstacle.Store(m.obstacle.Load().next(why, text, seeds, time.Now()))
				if said.due(why, time.Now()) {
					m.log.Warn().Str("error", oneLine(err)).Msg("not in the cluster yet: " + m.Obstacle())
				}
			}
		}
		for _, addr := range m.delegate.lost() {
			select {
			case <-m.stop:
				return
			default:
			}
			// It is expected to fail until the node is back.
			if _, err := m.list.Join([]string{addr}); err == nil {
				m.log.Info().Str("addr", addr).Msg("a lost member answers again")
			}
		}
		wait.Reset(every)
	}
}
