package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/antientropy"
	"kvstore/cluster/coordinator"
	"kvstore/cluster/hint"
	"kvstore/cluster/hlc"
	"kvstore/cluster/membership"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/transfer"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// Node is one server process's part in the cluster. All methods may be called
// concurrently.
type Node struct {
	o         Options
	log       zerolog.Logger
	fs        vfs.FS
	id        identity
	db        *storage.DB
	clock     *hlc.Clock
	replica   *replica.Replica
	coord     *coordinator.Coordinator
	entropy   *antientropy.Keeper
	moves     *transfer.Driver
	planned   planned
	turns     *turns
	rpc       Transport
	gossip    *membership.Members
	tracker   *membership.Tracker
	calls     calls
	register  register
	joins     chan struct{} // holds a token while this member takes in another one
	freeze    freeze
	addresses addresses
	doubts    doubts
	hints     *hint.Store
	handoff   handoff
	load      load
	lives     lives
	backups   backups
	began     time.Time
	lostRing  bool // the directory lacks the ring that it had
	emptied   bool // the engine has lost what the node held, and no ring was there to note it for

	ring   atomic.Pointer[ring.Ring]
	joined chan struct{} // closed by adopt when the node first has a ring
	// wired is closed by connect once rpc is set, and isWired then true: what
	// arrives before waits.
	wired   chan struct{}
	isWired atomic.Bool
	fatal   chan error    // takes the one refusal after which the node gives up
	damage  chan struct{} // one token when the engine has lost records; sent by noteDamage
	news    chan struct{} // one token when a peer may have a newer ring; sent by Events

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup

	adoptMu sync.Mutex // held while a ring is adopted, a file is written under it
	flushMu sync.Mutex // held while a flush is made durable
	reachMu sync.Mutex // makes finding out a node's reach and telling it one step
	// introduced are the connected nodes that requests may use; guarded by reachMu.
	introduced map[ring.NodeID]bool
	newest     atomic.Pointer[membership.Meta]
	ahead      atomic.Pointer[aheadNode]
	purging    atomic.Bool
	relieved   atomic.Uint64
	left       atomic.Bool // the node was decommissioned, and has left
	telling    atomic.Bool // others are being told that the disk is slow
	shutdown   sync.Once

	afterTurn atomic.Pointer[func()]
	// successor is who the directory is of once this process has ended, nil when that
	// is not somebody else; see takeOldPlace.
	successor atomic.Pointer[identity]
}

// Open opens the directory and starts the node. It returns before the node is
// in a ring, if it has to join one: see Joined.
func Open(o Options) (*Node, error) {
	o.ensureDefaults()
	o.Storage.EnsureDefaults()
	n := &Node{
		began: time.Now(), o: o, fs: o.Storage.FS, log: o.Logger,
		joined: make(chan struct{}), wired: make(chan struct{}), fatal: make(chan error, 1), news: make(chan struct{}, 1), damage: make(chan struct{}, 1),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.abandon())
	}
	if err := n.connect(); err != nil {
		return nil, errors.Join(err, n.Shutdown(context.Background()))
	}
	return n, nil
}

// open opens what is on disk and builds what serves it.
func (n *Node) open() error {
	n.o.Storage.OnDamage = n.noteDamage
	n.o.Storage.SelfPaced = true // the replica rests
	if err := n.checkRestored(); err != nil {
		return err
	}
	db, err := storage.Open(n.o.Dir, n.o.Storage)
	if err != nil {
		return err
	}
	n.db = db // from here on the directory is ours alone
	if err := n.mendSystem(); err != nil {
		n.log.Error().Err(err).Msg("the node starts without what it lost")
	}
	boot, file := n.o.BootID, ""
	if boot == "" {
		boot, file = bootID(), fileID(n.o.Dir)
	}
	reserved, err := loadClock(n.fs, n.o.Dir)
	if err != nil {
		return err
	}
	if err := n.markOld(boot, file); err != nil {
		return err
	}
	var fresh, reborn bool
	if n.id, fresh, reborn, err = loadIdentity(n.fs, n.o.Dir, boot, file, max(reserved, hlc.FromTime(n.o.Now()))); err != nil {
		return err
	}
	if n.id.Left {
		n.left.Store(true)
		return fmt.Errorf("%w: %s %s; start it with an empty data directory to join as a new node", ErrNoPart, n.o.Name, ring.HasLeft)
	}
	if reborn {
		n.log.Warn().Msg("the node may have lost its last writes, or is a copy: it continues under a new incarnation")
	}
	emptied, err := n.checkEngine(fresh)
	if err != nil {
		return err
	}
	known, upgraded, err := n.openRing()
	if err != nil {
		return err
	}
	if err := n.openRegister(known, upgraded); err != nil {
		return err
	}
	n.clock = hlc.New(hlc.Options{
		Now: n.o.skewed, Reserved: reserved, Kept: true,
		Reserve: func(bound hlc.Timestamp) error { return clockError(saveClock(n.fs, n.o.Dir, bound)) },
	})
	n.turns = newTurns(db, func() {
		if n.rpc != nil {
			n.rpc.Flush()
		}
	})
	n.replica = replica.New(store{db}, replica.Options{EndTurn: func() { n.EndTurn() }, Corrupt: isDamage})
	if err := n.loadHorizons(); err != nil {
		return err
	}
	if err := n.openHints(); err != nil {
		return err
	}
	n.tracker = membership.NewTracker(membership.TrackerOptions{})
	n.coord = coordinator.New(coordinator.Options{
		Self: n.id.Node, Incarnation: version.Incarnation(n.id.Incarnation),
		NewIncarnation: func() version.Incarnation { return version.Incarnation(random64()) },
		Clock:          n.clock, Replica: n.replica, Transport: foreground{n}, Hints: n.hints, Ops: n.o.Ops,
		Defaults:    n.o.Replication.Levels,
		ReadTimeout: n.o.Replication.ReadTimeout, WriteTimeout: n.o.Replication.WriteTimeout,
		MaxValue: n.o.MaxValue,
		Answered: n.answered, TimedOut: n.timedOut,
		Mended: n.o.Mended, HotReads: n.o.HotReads, ClockApart: n.clockApart, NewerRing: n.newerRing, EndTurn: func() { n.EndTurn() },
		Overloaded: rpc.ErrOverloaded, Missed: n.missed,
		Logger: n.log,
	})
	n.entropy, n.moves = n.newKeeper(), n.newMoves()
	n.calls.init()
	n.joins = make(chan struct{}, 1)
	if known != nil {
		n.ring.Store(known)
		n.coord.SetRing(known, false)
		n.noteReplication(nil, known)
		n.loadPlan(known)
		if emptied {
			n.replica.MarkHoldsData()
		}
		if err := n.entropy.Load(emptied); err != nil {
			return err
		}
		if err := noteMember(n.fs, n.o.Dir); err != nil {
			return err
		}
		close(n.joined)
	}
	if known == nil && emptied {
		n.emptied = true // to be noted with the ring
	} else if err := n.ownEngine(); err != nil {
		return err
	}
	n.startCount()
	if known != nil {
		return n.recallFreeze(known)
	}
	return nil
}

// abandon ends what open began.
func (n *Node) abandon() error {
	n.cancel()
	if n.register.proposer != nil {
		n.register.proposer.Close()
	}
	if n.entropy != nil {
		n.moves.Close()
		n.entropy.Close()
	}
	if n.coord != nil {
		n.coord.Close()
	}
	n.wg.Wait()
	if n.replica != nil {
		n.replica.Close()
	}
	if n.turns != nil {
		n.turns.stop()
	}
	if n.db != nil {
		return n.db.Close()
	}
	return nil
}

// foreground is the transport as the coordinator uses it.
type foreground struct{ n *Node }

func (f foreground) Send(to ring.NodeID, m *wire.Message) error {
	return f.n.rpc.Send(to, rpc.Foreground, m)
}

// maxSettle is how long a start waits for the clock at most: several times what
// is reserved ahead. What is beyond was issued by a clock that was wrong.
const maxSettle = 5 * hlc.DefaultWindow

// settleClock waits until the clock, which starts again at the bound reserved by
// the run before, is no further ahead than other nodes accept.
func (n *Node) settleClock() error {
	lead := n.clock.Lead() - hlc.DefaultMaxAhead/2
	if lead > maxSettle {
		return fmt.Errorf("the node may have issued timestamps until %v, says %s, which is %v ahead of this machine's clock: set the machine's clock right (NTP) and start again; "+
			"if it is right, it was ahead before: start the node when that time has come, or delete the file, then writes to keys that were written ahead of time are refused until then",
			n.clock.Last().Time().UTC().Format(time.RFC3339), filepath.Join(n.o.Dir, clockName), lead.Round(time.Second))
	}
	if lead > 0 {
		n.log.Info().Dur("wait", lead).Msg("the clock waits for what was reserved before the restart")
		time.Sleep(lead)
	}
	return nil
}

// connect starts talking to other nodes.
func (n *Node) connect() error {
	if err := n.settleClock(); err != nil {
		return err
	}
	if err := n.clock.Extend(); err != nil {
		return fmt.Errorf("reserve time: %w", err)
	}
	n.wg.Go(n.keepClock)
	n.wg.Go(n.keepSystem)
	o := rpc.Options{
		Self: n.id.Node, Life: rpc.Life{Incarnation: n.id.Incarnation, Since: uint64(n.id.Since)}, Admit: n.admit, Displaced: n.displaced,
		Listen: n.o.RPC, Handler: (*events)(n), Secret: n.o.Secret, TLS: n.o.TLS, Logger: n.log,
		ClusterID: func() uint64 {
			if r := n.ring.Load(); r != nil {
				return r.ClusterID
			}
			return 0
		},
		Epoch:       n.epoch,
		BeforeFlush: n.turns.commit,
		RTT:         n.answered,
		Loops:       n.o.Loops,
	}
	var err error
	if n.o.Transport != nil {
		n.rpc, err = n.o.Transport((*events)(n), o)
	} else {
		n.rpc, err = rpc.New(o)
	}
	if err != nil {
		n.rpc = nil // not a nil *rpc.Transport
		return err
	}
	n.isWired.Store(true)
	close(n.wired)
	if n.o.RPC == "" || portIsZero(n.o.RPC) {
		n.o.RPC = n.rpc.Addr().String()
	}
	if n.ring.Load() == nil && len(n.o.Join) == 0 && !n.lostRing {
		if err := n.found(); err != nil {
			return err
		}
	}
	seeds := slices.Clone(n.o.Join)
	if r := n.ring.Load(); r != nil {
		for i := range r.Members {
			if m := &r.Members[i]; m.ID != n.id.Node && !slices.Contains(seeds, m.Gossip) {
				seeds = append(seeds, m.Gossip)
			}
		}
		n.rpc.SetPeers(n.peersOf(r))
	}
	n.gossip, err = membership.Start(membership.Options{
		Self: n.meta(), Label: n.o.ClusterName, Secret: n.o.Secret, Bind: n.o.Gossip,
		Transport: n.o.GossipTransport, Stretch: n.o.GossipStretch, Seeds: seeds, Events: (*events)(n), Refuse: n.refuseGossip,
		Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.entropy.Start()
	n.moves.Start()
	n.wg.Go(n.keepRing)
	n.wg.Go(n.keepPlace)
	n.wg.Go(n.keepThawed)
	n.wg.Go(n.watch)
	n.wg.Go(n.keepHints)
	if n.o.AutoWeight {
		n.wg.Go(n.keepWeight)
	}
	if n.ring.Load() == nil {
		n.wg.Go(n.join)
	}
	return nil
}

// meta is what this node says of itself.
func (n *Node) meta() membership.Meta {
	m := membership.Meta{
		NodeID: n.id.Node, Incarnation: n.id.Incarnation,
		Name: n.o.Name, DC: n.o.DC, Rack: n.o.Rack, Weight: n.o.Weight,
		RPC: n.o.RPC, Client: n.o.Client, Gossip: n.o.Gossip,
	}
	if r := n.ring.Load(); r != nil {
		m.ClusterID, m.Generation, m.Epoch, m.RingHash = r.ClusterID, r.Generation, r.Epoch, r.Hash()
	}
	return m
}

// member is this node as a member of a ring.
func (n *Node) member() ring.Member {
	return memberOf(n.meta())
}

func memberOf(m membership.Meta) ring.Member {
	return ring.Member{
		ID: m.NodeID, Incarnation: m.Incarnation, Name: m.Name, DC: m.DC, Rack: m.Rack,
		Weight: m.Weight, RPC: m.RPC, Gossip: m.Gossip, Client: m.Client,
	}
}

func (n *Node) epoch() ring.Epoch {
	if r := n.ring.Load(); r != nil {
		return r.Epoch
	}
	return 0
}

// keepClock keeps the clock's bound ahead of its use.
func (n *Node) keepClock() {
	low := time.NewTimer(0)
	defer low.Stop()
	failing := false
	for {
		err := n.clock.Extend()
		if err != nil && !failing {
			n.log.Error().Err(err).Msg("the clock's bound cannot be written")
		}
		failing = err != nil
		low.Reset(n.clock.UntilLow() + hlc.DefaultWindow/16)
		select {
		case <-n.ctx.Done():
			return
		case <-n.clock.Wanted():
		case <-low.C:
		}
	}
}

// Joined is closed once the node has a ring.
func (n *Node) Joined() <-chan struct{} { return n.joined }

// Refused delivers at most one error, after which the node is to be shut down: one that
// wraps ErrRefused, when the cluster does not take the node in and asking again would not
// help, ErrOldPlace, ErrPlaceTaken, or ErrNoPart.
func (n *Node) Refused() <-chan error { return n.fatal }

// Ready returns nil when the node is in a ring and takes requests.
func (n *Node) Ready() error {
	if n.ring.Load() == nil {
		if why := n.gossip.Obstacle(); why != "" {
			return fmt.Errorf("%w: %s", coordinator.ErrNotReady, why)
		}
		return coordinator.ErrNotReady
	}
	if err := n.db.WriteError(); err != nil {
		return storeError(err)
	}
	if k := n.coord.Unserved(); k > 0 {
		return fmt.Errorf("%w: %d partitions take no writes", coordinator.ErrNoQuorum, k)
	}
	return nil
}

// Submit starts a request on one key; see coordinator.Request.
func (n *Node) Submit(r *coordinator.Request) { n.coord.Submit(r) }

// Busy reports whether so many requests are under way that more at once bring nothing.
func (n *Node) Busy() bool { return n.coord.Busy() }

// EndTurn ends a turn: false when replies have to wait for OnCommitted.
func (n *Node) EndTurn() bool {
	committed := n.turns.end()
	if fn := n.afterTurn.Load(); fn != nil {
		(*fn)()
	}
	return committed
}

// AfterTurn has fn called at the end of every turn: all requests that the turn
// completed are complete then. fn must not block.
func (n *Node) AfterTurn(fn func()) { n.afterTurn.Store(&fn) }

// OnCommitted reports whether replies may leave now. If not, fn is called once:
// with nil when they may, with an error when what they say may not be true.
func (n *Node) OnCommitted(fn func(error)) bool { return n.turns.onCommitted(fn) }

// Do runs a request and waits for its end, which its timeout or ctx's deadline
// bounds, and for its commit. It returns the request's Err.
func (n *Node) Do(ctx context.Context, r *coordinator.Request) error {
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if left <= 0 {
			r.Out, r.Err = r.Out[:0], coordinator.ErrTimeout
			return r.Err
		}
		own := r.Levels.Timeout
		defer func() { r.Levels.Timeout = own }()
		r.Levels.Timeout = min(left, n.coord.Timeout(r))
	}
	done := make(waitForIt, 1)
	r.Owner = done
	n.Submit(r)
	n.EndTurn()
	<-done
	if err := n.turns.commit(); err != nil && r.Err == nil {
		r.Err = coordinator.ErrTimeout
	}
	return r.Err
}

// waitForIt is the owner of a request that somebody waits for.
type waitForIt chan struct{}

// Complete implements coordinator.Completer.
func (w waitForIt) Complete(*coordinator.Request) { w <- struct{}{} }

// Storage returns the engine's figures.
func (n *Node) Storage() storage.Metrics { return n.db.Metrics() }

// WriteError returns why the engine refuses writes, nil when it takes them.
func (n *Node) WriteError() error { return n.db.WriteError() }

// Requests returns what requests met with.
func (n *Node) Requests() *coordinator.Metrics { return &n.coord.Metrics }

// Waiting returns how many requests wait for other nodes.
func (n *Node) Waiting() int { return n.coord.Waiting() }
