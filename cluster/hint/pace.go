package hint

import "time"

// Grant is what a target allows each node that replays hints to it: so many
// batches in flight, and a pause before each.
type Grant struct {
	Window int
	Pause  time.Duration
}

// Load is what keeps a target busy.
type Load struct {
	Requests float64       // of clients, a second
	Late     time.Duration // how late its goroutines were run, lately
}

const (
	// idleRequests a second are no client traffic worth sparing.
	idleRequests = 50
	// lateSome and lateMuch are delays that clients begin to notice, and that
	// they suffer from.
	lateSome, lateMuch = 2 * time.Millisecond, 20 * time.Millisecond

	maxWindow  = 8
	busyWindow = 2
)

// GrantFor decides what a target allows. Idle, it takes what comes. With clients it
// takes a little at a time; when it falls behind itself, it takes less and less.
func GrantFor(l Load) Grant {
	switch {
	case l.Late >= lateMuch:
		return Grant{1, min(4*l.Late, time.Second)}
	case l.Requests >= idleRequests && l.Late >= lateSome:
		return Grant{1, 4 * time.Millisecond}
	case l.Requests >= idleRequests:
		return Grant{busyWindow, time.Millisecond}
	}
	return Grant{maxWindow, 0}
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
