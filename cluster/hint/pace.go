package hint

import (
	"sync"
	"time"
)

// Grant is what a target allows each node that replays hints to it: so many
// batches in flight, and a pause before each.
type Grant struct {
	Window int
	Pause  time.Duration
}

// Load is what keeps a node busy, as it was last seen. It is the one signal by
// which work that serves no client gives way, hints less and repair more: hints
// have a rate that follows it (Granter), repair halves while it is Busy, and it is
// Busy before hints are slowed to less than they need.
type Load struct {
	Requests float64       // of clients, a second
	Waiting  int           // requests that wait for other nodes
	Late     time.Duration // how late its goroutines were run, lately
	Pressed  bool          // writes wait until the disk has caught up
}

// Busy reports whether clients need all of the node.
func (l Load) Busy() bool { return l.Waiting > waitingSome || l.Late >= lateSome || l.Pressed }

// Serves reports whether there is client traffic worth sparing.
func (l Load) Serves() bool { return l.Requests >= idleRequests }

// suffers reports whether clients suffer already.
func (l Load) suffers() bool { return l.Late >= lateMuch || l.Pressed }

const (
	// idleRequests a second are no client traffic worth sparing.
	idleRequests = 50
	// lateSome and lateMuch are delays that clients begin to notice, and that
	// they suffer from.
	lateSome, lateMuch = 2 * time.Millisecond, 20 * time.Millisecond
	// waitingSome requests are under way at a node that serves many: a few
	// thousand a second do not reach it.
	waitingSome = 64

	// Keys a second that a target takes from all together, by what it suffers.
	// Three million keys, ten minutes of 5,000 writes a second, take less than a
	// minute at the first.
	busyRate, lateRate, starvedRate = 60_000, 15_000, 2_000

	maxWindow  = 8
	busyWindow = 2
	maxPause   = time.Second
)

// Granter decides what a target allows. Idle, it takes what comes. With clients to
// serve it takes keys at a rate, whoever sends them; when it falls behind itself,
// it takes less and less. The zero Granter is ready.
type Granter struct {
	mu sync.Mutex
	// next is when what was taken so far has had its time at the rate.
	next time.Time // guarded by mu
}

// Grant returns what is allowed after a batch of so many keys.
func (g *Granter) Grant(now time.Time, l Load, keys int) Grant {
	rate, window := 0, maxWindow
	switch {
	case l.suffers():
		rate, window = starvedRate, 1
	case !l.Serves():
	case l.Late >= lateSome:
		rate, window = lateRate, 1
	default:
		rate, window = busyRate, busyWindow
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if rate == 0 {
		g.next = now
		return Grant{Window: window}
	}
	if g.next.Before(now) {
		g.next = now
	}
	g.next = g.next.Add(time.Duration(keys) * time.Second / time.Duration(rate))
	if limit := now.Add(maxPause); g.next.After(limit) {
		g.next = limit
	}
	return Grant{window, g.next.Sub(now)}
}

// Pacer decides how fast hints are replayed to one target: within what it grants,
// half as fast after every failure, and faster again with every success.
type Pacer struct {
	grant    Grant
	share    float64 // of the granted window, in (0, 1]
	failures int     // in a row
}

// NewPacer begins carefully, before the first grant.
func NewPacer() *Pacer { return &Pacer{grant: Grant{Window: busyWindow}, share: 1} }

// Window is how many batches may be in flight.
func (p *Pacer) Window() int { return max(1, int(float64(p.grant.Window)*p.share)) }

// Pause is the time before the next batch.
func (p *Pacer) Pause() time.Duration {
	if p.failures == 0 {
		return p.grant.Pause
	}
	return max(p.grant.Pause, min(minBackoff<<min(p.failures-1, 8), maxBackoff))
}

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Succeeded notes an answer with what it grants.
func (p *Pacer) Succeeded(g Grant) {
	p.grant, p.failures = g, 0
	p.share = min(1, p.share+0.125)
}

// Failed notes that a batch was not taken.
func (p *Pacer) Failed() {
	p.failures++
	p.share = max(p.share/2, 1.0/64)
}
