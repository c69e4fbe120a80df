package coordinator

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/hlc"
	"kvstore/cluster/hot"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// Transport sends messages to other nodes. A message leaves at the end of the
// turn; messages from one node to another of one class arrive in order or the
// connection is lost.
type Transport interface {
	// Send encodes m before it returns. An error means that nothing was sent.
	Send(to ring.NodeID, m *wire.Message) error
}

// Options configure a Coordinator.
type Options struct {
	Self        ring.NodeID
	Incarnation version.Incarnation
	// NewIncarnation returns one that was never used, for events in place of
	// replicas; nil takes one at random.
	NewIncarnation func() version.Incarnation
	Clock          *hlc.Clock
	Replica        *replica.Replica
	Transport      Transport
	// Hints keeps what replicas miss; nil keeps nothing.
	Hints Hints
	// Ops are the operations other nodes may ask for, by name.
	Ops map[string]*Op
	// Defaults are the configured levels, used where a request has none.
	Defaults Levels
	// ReadTimeout and WriteTimeout hold where a request has none.
	ReadTimeout, WriteTimeout time.Duration
	// MaxValue is the longest value in bytes an operation may build here; 0 is
	// DefaultMaxValue.
	MaxValue int
	// Answered is told how long a peer took to answer a read; may be nil.
	Answered func(id ring.NodeID, d time.Duration)
	// TimedOut is told of a peer that did not answer in time, and returns for how long
	// nothing at all has been heard of it, no sign of life either; may be nil.
	TimedOut func(id ring.NodeID) (silent time.Duration)
	// ClockApart is told of a peer whose clock is too far ahead of this node's,
	// or behind; may be nil.
	ClockApart func(id ring.NodeID, ahead bool)
	// NewerRing is told of a peer whose ring is newer than this node's, with its
	// epoch; may be nil. It is called once for each message that shows it.
	NewerRing func(id ring.NodeID, epoch ring.Epoch)
	// Mended is told of a version that was made to replace another that its node
	// had not seen, for simulation; may be nil. It must not block.
	Mended func(by, over version.Dot)
	// EndTurn is called after alarms were acted on, so that what they sent
	// leaves; may be nil.
	EndTurn func()
	// Missed is told of a partition of which this node has refused an object,
	// because too many waited; may be nil.
	Missed func(p ring.Partition)
	// HotReads is how many reads a second make a key hot, for simulation; 0 is hot.EnterRate.
	HotReads float64
	// Overloaded tells an error of Transport.Send that a queue is full.
	Overloaded error
	Logger     zerolog.Logger
}

// DefaultMaxValue is Redis's proto-max-bulk-len as it comes.
const DefaultMaxValue = 512 << 20

// Coordinator runs requests. All methods may be called concurrently.
type Coordinator struct {
	o        Options
	view     atomic.Pointer[view]
	defaults atomic.Pointer[Levels]
	// readTimeout and writeTimeout hold where a request has none, in nanoseconds.
	readTimeout, writeTimeout atomic.Int64
	pending                   pending
	alarms                    *alarms
	budget                    hedgeBudget
	slowDisk                  atomic.Bool  // this node's disk is slow
	strained                  atomic.Bool  // this node is short of processor time
	heals                     atomic.Int64 // damaged records being replaced; at most maxHeals
	refused                   atomic.Int64 // when this node's store last refused a write, in Unix nanoseconds
	hot                       *hot.Tracker // of what this node's clients ask for
	Metrics                   Metrics

	mu    sync.Mutex
	peers map[ring.NodeID]*peer // guarded by mu
	// unfilled are the partitions whose copies here answer no reads, for the next
	// view.
	unfilled map[ring.Partition]bool // guarded by mu

	standing standing

	writes, reads, forwards, merges, answers sync.Pool
}

// New returns a coordinator without a ring: every request is refused until
// SetRing.
func New(o Options) *Coordinator {
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 500 * time.Millisecond
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = time.Second
	}
	if o.NewIncarnation == nil {
		o.NewIncarnation = func() version.Incarnation { return version.Incarnation(rand.Uint64()) }
	}
	if o.Hints == nil {
		o.Hints = noHints{}
	}
	if o.MaxValue == 0 {
		o.MaxValue = DefaultMaxValue
	}
	if o.Answered == nil {
		o.Answered = func(ring.NodeID, time.Duration) {}
	}
	if o.TimedOut == nil {
		o.TimedOut = func(ring.NodeID) time.Duration { return 0 }
	}
	if o.ClockApart == nil {
		o.ClockApart = func(ring.NodeID, bool) {}
	}
	if o.NewerRing == nil {
		o.NewerRing = func(ring.NodeID, ring.Epoch) {}
	}
	if o.Missed == nil {
		o.Missed = func(ring.Partition) {}
	}
	if o.EndTurn == nil {
		o.EndTurn = func() {}
	}
	c := &Coordinator{o: o, peers: make(map[ring.NodeID]*peer), unfilled: make(map[ring.Partition]bool), hot: hot.New(uint64(o.Self), o.HotReads)}
	c.defaults.Store(&o.Defaults)
	c.SetTimeouts(o.ReadTimeout, o.WriteTimeout)
	c.alarms = newAlarms(c.wake, func(id uint64) bool { return c.pending.find(id) != nil }, o.EndTurn)
	c.writes.New = func() any { return &writeOp{c: c} }
	c.reads.New = func() any { return &readOp{c: c} }
	c.forwards.New = func() any { return &forwardOp{c: c} }
	c.merges.New = func() any { return &mergeTask{c: c} }
	c.answers.New = func() any { return &answerTask{c: c} }
	return c
}

// Close ends what waits with ErrTimeout. What would have to wait from then on is
// refused.
func (c *Coordinator) Close() {
	c.alarms.close()
	c.pending.close()
	ids, ws := c.pending.all()
	for i, w := range ws {
		w.wake(ids[i], alarmTimeout)
	}
}

// SetDefaults changes the levels used where a request has none.
func (c *Coordinator) SetDefaults(l Levels) { c.defaults.Store(&l) }

// SetSlowDisk says whether this node's disk is slow: then others are preferred as
// soft primary, as when it is strained, while reads are hedged all the same.
func (c *Coordinator) SetSlowDisk(yes bool) { c.slowDisk.Store(yes) }

// SlowDisk reports what SetSlowDisk set.
func (c *Coordinator) SlowDisk() bool { return c.slowDisk.Load() }

// SetStrained says whether this node gets too little processor time: then others
// are preferred to it as soft primaries, and no read is hedged.
func (c *Coordinator) SetStrained(yes bool) { c.strained.Store(yes) }

// Strained reports what SetStrained set.
func (c *Coordinator) Strained() bool { return c.strained.Load() }

// SetTimeouts changes the time of requests that name none.
func (c *Coordinator) SetTimeouts(read, write time.Duration) {
	c.readTimeout.Store(int64(read))
	c.writeTimeout.Store(int64(write))
}

// Defaults returns the levels used where a request has none.
func (c *Coordinator) Defaults() Levels { return *c.defaults.Load() }

// SetRing makes the coordinator work by r. Partitions are settled when settled
// says that no node has written anything this one could have missed; else those are
// unsettled that have other replicas now.
//
// When it returns, whatever was counted for this node by an older ring that gave a
// partition to others is stored: a snapshot taken now has it. What is stored from
// now on is counted by r, or refused. One caller at a time.
func (c *Coordinator) SetRing(r *ring.Ring, settled bool) {
	c.mu.Lock()
	v := newView(r, c.o.Self, c.peerLocked)
	v.follow(c.view.Load())
	for i := range v.states {
		s := &v.states[i]
		if c.unfilled[ring.Partition(i)] {
			s.lacks.Or(lacksPast)
			s.unsettled.Store(true)
		} else if settled && s.lacks.Load() == 0 {
			s.unsettled.Store(false)
		}
	}
	c.view.Store(v)
	c.mu.Unlock()
	c.o.Replica.Exclusively(func() {})
	ids, ws := c.pending.all()
	for i, w := range ws {
		w.wake(ids[i], alarmRing)
	}
	c.o.EndTurn()
}

// peerLocked returns the peer of an id, made at first use. The caller holds mu.
func (c *Coordinator) peerLocked(id ring.NodeID) *peer {
	p := c.peers[id]
	if p == nil {
		p = &peer{id: id}
		c.peers[id] = p
	}
	return p
}

// SetReach says how a node can be used from now on. A node that goes down ends
// what waits for it, and what it shares with this node is unsettled: others may
// write there without one of the two.
func (c *Coordinator) SetReach(id ring.NodeID, reach Reach) {
	c.mu.Lock()
	p := c.peerLocked(id)
	c.mu.Unlock()
	if before := Reach(p.reach.Swap(uint32(reach))); before == reach || reach == Up && before == Slow {
		return
	}
	c.unsettle(id)
}

// ReachOf returns what SetReach said of a node.
func (c *Coordinator) ReachOf(id ring.NodeID) Reach {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peerLocked(id).is()
}

// Lost ends what waits for answers of a node whose connection broke.
func (c *Coordinator) Lost(id ring.NodeID) {
	c.SetReach(id, Down)
	ids, ws := c.pending.all()
	for i, w := range ws {
		w.lost(ids[i], id)
	}
}

// SetLate says when an answer of a node is overdue.
func (c *Coordinator) SetLate(id ring.NodeID, d time.Duration) {
	c.mu.Lock()
	p := c.peerLocked(id)
	c.mu.Unlock()
	p.late.Store(int64(d))
}

// unsettle marks the partitions that this node shares with another one.
func (c *Coordinator) unsettle(id ring.NodeID) {
	v := c.view.Load()
	if v == nil || id == c.o.Self {
		return
	}
	for i := range v.states {
		if p := ring.Partition(i); v.own[p] >= 0 && v.ring.Holds(p, id) {
			v.unsettle(p)
		}
	}
}

// Settle declares that this node's keys are level with all other replicas, as
// at the birth of a ring.
func (c *Coordinator) Settle() {
	if v := c.view.Load(); v != nil {
		for p := range v.states {
			v.states[p].unsettled.Store(false)
		}
	}
}

// Unserved returns how many partitions have too few reachable replicas, or who
// stands in for them, for a write at the configured level.
func (c *Coordinator) Unserved() (n int) {
	v := c.view.Load()
	if v == nil {
		return 0
	}
	l := c.Defaults()
	for p := range v.places {
		t, possible := newWriteTally(l.W, &v.places[p])
		usable, _ := v.reachable(ring.Partition(p))
		if t.bad = v.places[p].writers() &^ usable; t.bad != 0 && l.Mode == Sloppy {
			t.bad &^= v.fill(ring.Partition(p), t.bad, new(cast), l.W.local())
		}
		if !possible || t.hopeless() {
			n++
		}
	}
	return n
}

// Waiting returns how many requests wait for other nodes.
func (c *Coordinator) Waiting() int { return c.pending.count() }

// Busy reports whether so many requests wait for other nodes that more of them at once
// bring nothing.
func (c *Coordinator) Busy() bool { return c.pending.busy.Load() }

// timedOut tells that a node did not answer in time, and returns for how long nothing at
// all has been heard of it. When it is this node that was not run, others seem silent
// that are not, and nobody is judged: what they sent is looked at first.
func (c *Coordinator) timedOut(id ring.NodeID) (silent time.Duration) {
	if c.alarms.behind.Load() > int64(notRun) {
		return 0
	}
	return c.o.TimedOut(id)
}

// wake passes an alarm on to the waiter, if it still waits.
func (c *Coordinator) wake(id uint64, why alarm) {
	if w := c.pending.find(id); w != nil {
		w.wake(id, why)
	}
}

// Submit starts a request. It never blocks; see Completer.
func (c *Coordinator) Submit(r *Request) {
	v := c.view.Load()
	if v == nil || v.ring.EffectiveN() == 0 {
		c.refuse(r, ErrNotReady)
		return
	}
	if c.pending.late.Load() {
		c.refuse(r, ErrOverloaded)
		return
	}
	if r.Op.Write {
		c.submitWrite(v, r)
	} else {
		c.submitRead(v, r)
	}
}

// crowded reports whether no write is to begin here: too much waits already, for
// other nodes or for this one's disk.
func (c *Coordinator) crowded() bool { return c.o.Replica.Crowded() || c.pending.full.Load() }

// refuse ends a request before it began.
func (c *Coordinator) refuse(r *Request, err error) {
	r.Out, r.Err = r.Out[:0], err
	c.Metrics.count(err)
	r.Owner.Complete(r)
}

// levels returns the levels a request runs at and its time.
func (c *Coordinator) levels(l Levels, write bool) (Levels, time.Duration) {
	l = l.Or(*c.defaults.Load())
	if l.Timeout == 0 {
		l.Timeout = time.Duration(c.readTimeout.Load())
		if write {
			l.Timeout = time.Duration(c.writeTimeout.Load())
		}
	}
	return l, l.Timeout
}

// Timeout returns the time a request has.
func (c *Coordinator) Timeout(r *Request) time.Duration {
	_, timeout := c.levels(r.Levels, r.Op.Write)
	return timeout
}

// first returns the first place of a set in the order of preference, prompt
// ones before others, and -1 for the empty set.
func first(usable, prompt uint64) int {
	if prompt != 0 {
		return bits.TrailingZeros64(prompt)
	}
	if usable != 0 {
		return bits.TrailingZeros64(usable)
	}
	return -1
}

// send stamps a message, if it is not yet, and sends it.
func (c *Coordinator) send(to ring.NodeID, v *view, m *wire.Message) error {
	if m.Now == 0 {
		m.Now = int64(c.o.Clock.Last())
	}
	m.Epoch = v.epoch
	return c.o.Transport.Send(to, m)
}

// sendError turns an error of send into that of a request of which nothing was
// sent yet.
func (c *Coordinator) sendError(err error) error {
	if c.o.Overloaded != nil && errors.Is(err, c.o.Overloaded) {
		return ErrOverloaded
	}
	return ErrNoQuorum
}

// storeError gives an error of the local replica the name that requests know.
// Errors that name themselves pass.
func storeError(err error) error {
	switch {
	case errors.Is(err, replica.ErrBusy):
		return ErrOverloaded
	case errors.Is(err, hlc.ErrReserving):
		return ErrSlow
	case errors.Is(err, replica.ErrLate):
		return errExpired
	case errors.Is(err, replica.ErrFrozen):
		return ErrNotReady
	case errors.Is(err, version.ErrTooManySiblings):
		return ErrTooManySiblings
	case errors.Is(err, version.ErrCorrupt):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
