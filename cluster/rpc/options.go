package rpc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// Class separates traffic that must not wait for other traffic. Each has its own connections and bounds.
type Class uint8

const (
	// Foreground is what a client waits for.
	Foreground Class = 0
	// Bulk is transfers and everything else that may wait.
	Bulk Class = 1

	classes = 2
)

var (
	// ErrUnreachable says that the node is no peer or is not up; nothing was sent.
	ErrUnreachable = errors.New("peer is not reachable")
	// ErrOverloaded says that too much waits for the peer already; nothing was sent.
	ErrOverloaded = errors.New("too much waits for the peer")
	// ErrTooLarge says that a message is over wire.MaxMessage; nothing was sent.
	ErrTooLarge = errors.New("message over the limit")
	// ErrRefused is the class of handshakes that the other side refused. The error's text has its reason.
	ErrRefused = errors.New("refused")
	// ErrDisplaced, with which what Options.Admit returns begins, says that the node's place in the ring has a later life.
	ErrDisplaced = errors.New("its place is taken")
	// ErrHeld, with which what Options.Admit returns begins, says that another life of the node may still be there. It may pass.
	ErrHeld = errors.New("its place is held")
	// ErrNoPart, with which what Options.Admit returns begins, says that the node is no member of the cluster, or none any more.
	ErrNoPart = errors.New("it has no part in the cluster")
	// ErrVersion says that the two sides have no version of the protocol in common.
	ErrVersion = errors.New("protocol version")
	// ErrClosed says that the transport is closed.
	ErrClosed = errors.New("transport closed")
)

// Handler receives what peers send.
type Handler interface {
	// Receive handles one message; m and everything it refers to is valid only during the call. Calls for one peer and class
	// come one after the other, those of different peers may be concurrent.
	Receive(from ring.NodeID, m *wire.Message)
	// EndBatch is called by the same goroutine after all messages that were read at once. Loops may call it for several
	// connections together, or do what ends a turn with them in their own way.
	EndBatch()
	// PeerUp and PeerDown alternate for each peer, beginning with PeerUp, and are called from one goroutine.
	PeerUp(id ring.NodeID)
	PeerDown(id ring.NodeID, reason error)
}

// Expecter is a Handler that prepares itself for several messages at once.
type Expecter interface {
	// Expect says that Receive is about to be called with messages about keys that have these tokens, and with answers to
	// requests that have these ids. The slices are valid during the call.
	Expect(tokens, ids []uint64)
}

// Peer is a node to be connected to.
type Peer struct {
	ID   ring.NodeID
	Addr string // host:port of its transport
}

// Life is one life of a node at its place in the ring: its incarnation, and when that began, a number that is greater the
// later it was.
type Life struct {
	Incarnation, Since uint64
}

// Options configure a Transport. Self, Listen and Handler are required, the rest has defaults.
type Options struct {
	// Self is this node.
	Self ring.NodeID
	// Life is this node's.
	Life Life
	// Admit is asked about every peer that has proved itself, on both sides of a connection, with the epoch of its ring; an error
	// keeps it out. Goroutines of the transport call it, and it may write to the disk. nil: everybody is let in.
	Admit func(id ring.NodeID, l Life, epoch ring.Epoch) error
	// Displaced is told when a peer refuses this node with ErrDisplaced, ErrHeld or ErrNoPart. It must not block. nil: nobody is
	// told.
	Displaced func(by ring.NodeID, err error)
	// ClusterID returns the cluster this node belongs to, 0 while it belongs to none. It must not block. nil: 0.
	ClusterID func() uint64
	// Epoch returns the epoch of this node's ring. It must not block. nil: 0.
	Epoch func() ring.Epoch
	// Listen is the address to accept on, host:port.
	Listen  string
	Handler Handler
	// BeforeFlush runs before the bytes of a flush are written; see the package comment. nil: nothing to do.
	BeforeFlush func() error
	// RTT, if set, is told each measured round trip of a Ping on a foreground connection. It must not block.
	RTT func(id ring.NodeID, d time.Duration)
	// Secret authenticates nodes to each other. Empty: everyone with the same empty secret is trusted.
	Secret []byte
	// Versions are those of the protocol that this side speaks. Default: Oldest to Newest.
	Versions Versions
	// TLS, if set, encrypts connections: its server half on those accepted, its client half on those dialed.
	TLS *tls.Config
	// Loops, if set, read the connections of peers, unless TLS is set. Calls of Handler.Receive and EndBatch must not block then,
	// and the loops last until Close has returned.
	Loops  Loops
	Logger zerolog.Logger

	// MaxPendingBytes and MaxPendingMessages bound what waits for one peer in one class. Defaults: 64 MiB and 1,000,000.
	MaxPendingBytes    int
	MaxPendingMessages int
	// PacketLimit bounds received packets of several messages. Default: wire.DefaultPacketLimit.
	PacketLimit int
	// PingEvery is the time between Pings on a foreground connection; it also bounds how stale RTT is. Bulk connections have
	// four times that. Default: 100 ms, so that a process that lives is heard of a few times before its silence means something.
	PingEvery time.Duration
	// Silence is how long a connection may be silent before it counts as lost. The default, 2 s, tolerates a long pause of a
	// busy machine; a peer that only answers slowly is the business of request timeouts.
	Silence time.Duration
	// HandshakeTimeout bounds dialing and the handshake together. Default: 3 s.
	HandshakeTimeout time.Duration
	// BackoffMin and BackoffMax bound the time between attempts to connect. Defaults: 20 ms and 1 s.
	BackoffMin, BackoffMax time.Duration
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.ClusterID == nil {
		o.ClusterID = func() uint64 { return 0 }
	}
	if o.Versions == (Versions{}) {
		o.Versions = Versions{Oldest, Newest}
	}
	if o.Admit == nil {
		o.Admit = func(ring.NodeID, Life, ring.Epoch) error { return nil }
	}
	if o.Displaced == nil {
		o.Displaced = func(ring.NodeID, error) {}
	}
	if o.Epoch == nil {
		o.Epoch = func() ring.Epoch { return 0 }
	}
	if o.BeforeFlush == nil {
		o.BeforeFlush = func() error { return nil }
	}
	if o.RTT == nil {
		o.RTT = func(ring.NodeID, time.Duration) {}
	}
	defaults := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defaults(&o.MaxPendingBytes, 64<<20)
	defaults(&o.MaxPendingMessages, 1_000_000)
	defaults(&o.PacketLimit, wire.DefaultPacketLimit)
	durations := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	durations(&o.PingEvery, 100*time.Millisecond)
	durations(&o.Silence, 2*time.Second)
	durations(&o.HandshakeTimeout, 3*time.Second)
	durations(&o.BackoffMin, 20*time.Millisecond)
	durations(&o.BackoffMax, time.Second)
}

// Validate says what of the options cannot work.
func (o *Options) Validate() error {
	switch {
	case o.Self == 0:
		return errors.New("transport needs the id of its node")
	case o.Handler == nil:
		return errors.New("transport needs a handler")
	case o.Listen == "":
		return errors.New("transport needs an address to listen on")
	case o.PacketLimit < wire.PacketTarget*2:
		return fmt.Errorf("packet limit of %d bytes is below %d", o.PacketLimit, wire.PacketTarget*2)
	case o.Silence <= bulkPings*o.PingEvery:
		return fmt.Errorf("silence of %v is not longer than the time between pings, %v", o.Silence, bulkPings*o.PingEvery)
	}
	return nil
}

// callerBit marks the NodeIDs made up for callers. Real ids may have it too; a made-up one is never that of a peer.
const callerBit ring.NodeID = 1 << 63
