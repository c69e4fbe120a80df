package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
	"kvstore/storage"
)

// Options configure a node. Dir, Gossip, RPC and Ops are required.
type Options struct {
	Dir     string
	Storage storage.Options

	Name, DC, Rack string
	Weight         float64

	ClusterName string
	Gossip      string   // address of the membership protocol
	RPC         string   // address of requests between nodes
	Client      string   // address that clients are told to use
	Join        []string // gossip addresses of members; empty founds a cluster
	// AwaitCommit has nodes that join with the help of this one, and this one itself, wait until
	// somebody commits to moving data to them.
	AwaitCommit bool
	// KeptOut is for how long a node that has yet to join lets itself be kept out, because its name, its
	// cluster's name or the secret differ, before it ends with ErrRefused; 0: for ever.
	KeptOut time.Duration
	// AutoWeight has the node take a smaller part of its share while its disk is low.
	AutoWeight bool
	Partitions int // of a cluster that is founded; of the one that is joined, or 0
	Secret     []byte
	// TLS, if set, encrypts requests between nodes; see rpc.Options.TLS. Gossip is encrypted by Secret.
	TLS *tls.Config

	Replication Replication
	// HintBytes and HintAge bound what is kept for each node that is away; 0 for
	// hint.DefaultMaxBytes and hint.DefaultMaxAge.
	HintBytes int64
	HintAge   time.Duration
	Repair    Repair
	Transfer  Transfer
	// MaxValue is the longest value in bytes that a write run here may build,
	// 0 for coordinator.DefaultMaxValue.
	MaxValue int
	// Ops are the operations other nodes may forward to this one, by name.
	Ops map[string]*coordinator.Op

	// Loops, when set, are the event loops of the front end, which then read
	// what other nodes send as well. They must last until Shutdown has returned,
	// and call EndTurn at the end of their turns.
	Loops Loops

	Logger zerolog.Logger

	// The rest is for simulation.

	// Transport, when set, carries messages instead of TCP.
	Transport func(h rpc.Handler, o rpc.Options) (Transport, error)
	// GossipTransport, when set, carries gossip instead of UDP and TCP.
	GossipTransport memberlist.Transport
	// GossipStretch makes gossip so many times slower; see membership.Options.
	GossipStretch int
	// BootID, when set, replaces the operating system's: a new one after an
	// unclean end means that what was not flushed is lost.
	BootID string
	// Now, when set, is the node's physical clock.
	Now func() time.Time
	// weighEvery, when set, is the time between looks at the disk.
	weighEvery time.Duration
	// skewed is Now, when it was set.
	skewed func() time.Time
	// Mended, when set, is told of versions that were made to replace others
	// later; see coordinator.Options.
	Mended func(by, over version.Dot)
	// HotReads is how many reads a second make a key hot; 0 is hot.EnterRate.
	HotReads float64
}

// What Options.Loops is made of; see package rpc.
type (
	Loops   = rpc.Loops
	Stream  = rpc.Stream
	Watched = rpc.Watched
)

// Replication says how many copies there are and how many must answer.
//
// N and PerDC are those of a cluster that this node founds; the ring of one that is there
// has its own.
type Replication struct {
	N                         int // with PerDC their sum, or 0
	PerDC                     []ring.DCReplicas
	Levels                    coordinator.Levels
	ReadTimeout, WriteTimeout time.Duration
}

// Transport carries messages between nodes; package rpc's is the real one.
type Transport interface {
	SetPeers(peers []rpc.Peer)
	Send(to ring.NodeID, class rpc.Class, m *wire.Message) error
	Flush()
	Call(ctx context.Context, addr string, m *wire.Message) (*wire.Message, error)
	Connected(id ring.NodeID) bool
	Kick(id ring.NodeID)
	Addr() net.Addr
	Close() error
}

// Errors of Open and Joined that a person has to act on.
var (
	// ErrOtherCluster: the directory belongs to a cluster of another name.
	ErrOtherCluster = errors.New("the directory belongs to another cluster")
	// ErrOldPlace is no refusal: the ring has this node already, under the name and
	// address it has, and its directory was emptied. The directory now says so;
	// whoever opens it again is that member, in a new incarnation, and is filled by
	// the other replicas.
	ErrOldPlace = errors.New("the node takes its old place in the ring")
	// ErrPlaceTaken: the node's place in the ring is that of another directory; the text
	// says what to do.
	ErrPlaceTaken = errors.New("this directory has no place in the ring")
	// ErrNoPart: the node has left the cluster or was removed from it; the text says what to do.
	ErrNoPart = errors.New("the node has no part in the cluster")
	// ErrLeft comes with ErrNoPart when the node has done what it was told to: it has handed over
	// what it held, and left.
	ErrLeft = errors.New("it was decommissioned")
	// ErrRefused: the cluster does not take the node in; the text has the
	// cluster's reason.
	ErrRefused = errors.New("the cluster refused the node")
)

// ensureDefaults fills in what is zero.
func (o *Options) ensureDefaults() {
	if o.Name == "" {
		o.Name = "node"
	}
	if o.DC == "" {
		o.DC = "dc1"
	}
	if o.Rack == "" {
		o.Rack = "rack1"
	}
	if o.Weight == 0 {
		o.Weight = 1
	}
	if o.ClusterName == "" {
		o.ClusterName = "kvstore"
	}
	r := &o.Replication
	if r.N == 0 {
		for _, dc := range r.PerDC {
			r.N += dc.N
		}
	}
	if r.N == 0 {
		r.N = ring.DefaultN
	}
	r.Levels = r.Levels.Or(coordinator.Levels{R: coordinator.Quorum, W: coordinator.Quorum, Mode: coordinator.Sloppy})
	if r.ReadTimeout == 0 {
		r.ReadTimeout = 500 * time.Millisecond
	}
	if r.WriteTimeout == 0 {
		r.WriteTimeout = time.Second
	}
	if o.skewed = o.Now; o.Now == nil {
		o.Now = time.Now
	}
}
