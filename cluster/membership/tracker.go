package membership

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/cluster/ring"
)

// State says how to treat a peer.
type State uint8

const (
	// Alive: use it.
	Alive State = iota
	// Suspect: prefer others, and hedge at once when it is asked.
	Suspect
	// Dead: do not ask it, keep hints for it.
	Dead
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Suspect:
		return "suspect"
	}
	return "dead"
}

// Event is something that happened to a peer.
type Event uint8

const (
	// Connected: the connection to it stands.
	Connected Event = iota
	// Disconnected: the connection was lost.
	Disconnected
	// GossipAlive: gossip says it lives.
	GossipAlive
	// GossipDead: gossip says it is dead or left.
	GossipDead
	// TimedOut: it did not answer a request in time.
	TimedOut
	// Answered: it did. Tracker.Answered is the way to say so for each of many requests.
	Answered
	// Strained: it said that it gets too little processor time.
	Strained
	// Parting: it said that it leaves, and closes its connections once it has answered what it is at.
	Parting
)

// Change is a peer's change of state.
type Change struct {
	ID       ring.NodeID
	From, To State
}

// TrackerOptions configure a Tracker; the zero value has the defaults.
type TrackerOptions struct {
	// DeadAfter is how long a peer may be disconnected before it is dead though gossip has not said so. Default: 5 s, more
	// than twice what gossip takes, so that it only decides when gossip cannot reach anyone either.
	DeadAfter time.Duration
	// Timeouts is how many requests in a row must go unanswered before a connected peer is suspect. Default: 3.
	Timeouts int
	// Quiet is how long nothing may be heard of a peer, neither an answer nor the pong of a ping, for a single unanswered
	// request to make it suspect. Default: 200 ms, twice the time between pings (rpc's PingEvery).
	Quiet time.Duration
	// HoldMin is how long a peer that came back for the second time stays suspect; each further time doubles it, up to
	// HoldMax. Defaults: 250 ms, 30 s.
	HoldMin, HoldMax time.Duration
	// StrainedFor is how long a peer stays suspect that is strained. Default: 2 s.
	StrainedFor time.Duration
	// StableAfter is how long a peer must stay connected for its losses to be forgotten. Default: 1 min.
	StableAfter time.Duration
}

// EnsureDefaults fills in what is zero.
func (o *TrackerOptions) EnsureDefaults() {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&o.DeadAfter, 5 * time.Second}, {&o.Quiet, 200 * time.Millisecond}, {&o.HoldMin, 250 * time.Millisecond}, {&o.HoldMax, 30 * time.Second}, {&o.StableAfter, time.Minute},
		{&o.StrainedFor, 2 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if o.Timeouts == 0 {
		o.Timeouts = 3
	}
}

// Tracker decides what state each peer is in. It has no goroutine and no clock: events come with their time, and Tick lets
// time alone change a state. The first line that holds decides:
//
//	it said that it leaves                            dead
//	gossip says dead, and nothing newer contradicts   dead
//	disconnected for DeadAfter                        dead
//	disconnected                                      suspect
//	came back from repeated losses, on hold           suspect
//	Timeouts requests in a row unanswered             suspect
//	one unanswered, and nothing heard for Quiet       suspect
//	said for less than StrainedFor to be strained     suspect
//	otherwise                                         alive
//
// A new connection, an answer over a standing one, and gossip itself contradict gossip. That a peer leaves ends with its next
// connection, not with what it still answers; gossip counts again once it is disconnected. A peer begins disconnected. The first loss holds
// nothing up: when the peer is back it is alive at once. Those that follow within StableAfter put it on hold, longer each time.
//
// State, P95 and Answered take no lock and allocate nothing. All methods may be called concurrently; who calls the others from
// several goroutines must see to it that the times do not go back.
type Tracker struct {
	o     TrackerOptions
	peers atomic.Pointer[map[ring.NodeID]*tracked] // replaced, never changed
	mu    sync.Mutex                               // guards replacing peers, and everything in tracked that is not atomic
}

// tracked is one peer.
type tracked struct {
	state    atomic.Uint32 // State
	timeouts atomic.Int32  // in a row
	heard    atomic.Int64  // when it last answered or connected, in Unix nanoseconds
	latency  Latency

	connected  bool
	since      time.Time // of being connected, or disconnected
	gossipDead bool
	parting    bool
	losses     int       // since it was last stable
	hold       time.Time // suspect until then
	strained   time.Time // and until then
}

// NewTracker returns a Tracker that knows nobody.
func NewTracker(o TrackerOptions) *Tracker {
	o.EnsureDefaults()
	t := &Tracker{o: o}
	t.peers.Store(&map[ring.NodeID]*tracked{})
	return t
}

// State returns the peer's state; a peer nothing was observed of is dead.
func (t *Tracker) State(id ring.NodeID) State {
	if p := (*t.peers.Load())[id]; p != nil {
		return State(p.state.Load())
	}
	return Dead
}

// P95 returns the time within which 95 of 100 recent answers of the peer came, 0 while too few did.
func (t *Tracker) P95(id ring.NodeID) time.Duration {
	if p := (*t.peers.Load())[id]; p != nil {
		return p.latency.P95()
	}
	return 0
}

// Silent returns for how long nothing at all has been heard of the peer, 0 of one that is not known.
func (t *Tracker) Silent(now time.Time, id ring.NodeID) time.Duration {
	if p := (*t.peers.Load())[id]; p != nil {
		return now.Sub(time.Unix(0, p.heard.Load()))
	}
	return 0
}

// Answered notes that a request to the peer was answered after d. It is Observe(Answered) for every request: changed is
// true in the rare case that this makes the peer's state another.
func (t *Tracker) Answered(now time.Time, id ring.NodeID, d time.Duration) (c Change, changed bool) {
	p := (*t.peers.Load())[id]
	if p == nil {
		return Change{}, false
	}
	p.latency.Record(d)
	p.heard.Store(now.UnixNano())
	if p.timeouts.Load() == 0 && State(p.state.Load()) == Alive {
		return Change{}, false
	}
	return t.Observe(now, id, Answered)
}

// Observe notes an event of a peer, and returns its change of state if it makes one. A peer not known begins disconnected.
func (t *Tracker) Observe(now time.Time, id ring.NodeID, e Event) (c Change, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := (*t.peers.Load())[id]
	if p == nil {
		p = &tracked{since: now}
		p.state.Store(uint32(Suspect))
		peers := maps.Clone(*t.peers.Load())
		peers[id] = p
		t.peers.Store(&peers)
	}
	t.apply(p, now, e)
	return t.settle(id, p, now)
}

func (t *Tracker) apply(p *tracked, now time.Time, e Event) {
	switch e {
	case Connected:
		if !p.connected {
			p.connected, p.since = true, now
		}
		p.gossipDead, p.parting = false, false
		p.timeouts.Store(0)
		p.heard.Store(now.UnixNano())
	case Disconnected:
		if p.connected {
			t.lose(p, now)
			p.connected, p.since = false, now
		}
	case GossipAlive:
		p.gossipDead = false
		p.parting = p.parting && p.connected
	case GossipDead:
		if !p.gossipDead && p.connected {
			t.lose(p, now)
		}
		p.gossipDead = true
	case TimedOut:
		switch n := p.timeouts.Load(); {
		case now.UnixNano()-p.heard.Load() >= int64(t.o.Quiet):
			// It is not this request that is slow: there is no sign of life at all.
			p.timeouts.Store(int32(t.o.Timeouts))
		case n < int32(t.o.Timeouts):
			p.timeouts.Add(1)
		}
	case Answered:
		p.timeouts.Store(0)
		p.heard.Store(now.UnixNano())
		if p.connected {
			p.gossipDead = false
		}
	case Strained:
		p.strained = now.Add(t.o.StrainedFor)
	case Parting:
		p.parting = true
	default:
		panic(fmt.Sprintf("membership: unknown event %d", e))
	}
}

// lose counts a loss, after forgetting those before a stable time, and puts the peer on hold from its second on.
func (t *Tracker) lose(p *tracked, now time.Time) {
	if now.Sub(p.since) >= t.o.StableAfter {
		p.losses = 0
	}
	p.losses++
	if p.losses < 2 {
		return
	}
	hold := t.o.HoldMin
	for range p.losses - 2 {
		if hold *= 2; hold >= t.o.HoldMax {
			break
		}
	}
	// The hold begins with the loss and is never shorter than what is left of an earlier one.
	if until := now.Add(min(hold, t.o.HoldMax)); until.After(p.hold) {
		p.hold = until
	}
}

// settle computes the state. The caller holds mu.
func (t *Tracker) settle(id ring.NodeID, p *tracked, now time.Time) (c Change, changed bool) {
	state := Alive
	switch {
	case p.parting, p.gossipDead, !p.connected && now.Sub(p.since) >= t.o.DeadAfter:
		state = Dead
	case !p.connected, now.Before(p.hold), now.Before(p.strained), p.timeouts.Load() >= int32(t.o.Timeouts):
		state = Suspect
	}
	before := State(p.state.Swap(uint32(state)))
	return Change{ID: id, From: before, To: state}, before != state
}

// Tick lets time pass: it returns the peers whose state changes by that alone. A call every 100 ms is often enough.
func (t *Tracker) Tick(now time.Time) (changes []Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, p := range *t.peers.Load() {
		if c, changed := t.settle(id, p, now); changed {
			changes = append(changes, c)
		}
	}
	return changes
}

// Forget drops what is known of a peer.
func (t *Tracker) Forget(id ring.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := maps.Clone(*t.peers.Load())
	delete(peers, id)
	t.peers.Store(&peers)
}
