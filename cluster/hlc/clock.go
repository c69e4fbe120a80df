package hlc

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultMaxAhead is how far another node's clock may be ahead of ours.
	// NTP keeps hosts within tens of milliseconds, so this is a broken clock.
	DefaultMaxAhead = 500 * time.Millisecond

	// DefaultWindow is how far ahead of use timestamps are reserved. A node
	// that was killed starts again at its bound, thus up to a window ahead of
	// its physical clock, and its peers refuse its writes until the rest of
	// the window is below their MaxAhead. Two seconds keep that wait about as
	// long as a restart and let a slow fsync pass without stopping Now.
	DefaultWindow = 2 * time.Second

	// maxWindows is how many windows are reserved at most for a slow disk.
	maxWindows = 4

	// patience is how long callers of Now wait, all together, for a bound under
	// way, so that a jump of the physical clock is seen by nobody. They may be
	// event loops.
	patience = 20 * time.Millisecond
)

// ErrExhausted says that the clock stands at the greatest timestamp, which
// only a damaged reservation can bring about.
var ErrExhausted = errors.New("the clock is at its end")

// ErrReserving says that the bound is reached and the disk slow to take the next
// one: nothing was issued. Only a Clock with Options.Kept gives it.
var ErrReserving = errors.New("the disk is slow to take the clock's bound")

// AheadError says that a remote clock was refused for being too far ahead.
type AheadError struct {
	Remote   Timestamp
	Physical time.Time     // our own clock when it was refused
	Ahead    time.Duration // how far Remote was ahead of Physical
	Max      time.Duration // how far it may be
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("remote clock is %v ahead of ours, more than %v: remote %s, ours %s",
		e.Ahead, e.Max, e.Remote.Time().UTC().Format(time.RFC3339Nano), e.Physical.UTC().Format(time.RFC3339Nano))
}

// Options configure a Clock. The zero value is a clock that reserves nothing,
// for tests and for nodes that keep nothing.
type Options struct {
	// Now reads the physical clock. Default time.Now.
	Now func() time.Time
	// Reserved is the bound read from disk at start; zero at the first start.
	Reserved Timestamp
	// Reserve makes a bound durable before it returns. It is never called
	// twice at once, and each bound is greater than the one before.
	Reserve func(upTo Timestamp) error
	// MaxAhead is how far a remote clock may be ahead. Default DefaultMaxAhead.
	MaxAhead time.Duration
	// Window is how far ahead of use the bound is kept. Default DefaultWindow.
	// For a disk that is slow it is more: by twice the time that Reserve took
	// lately, up to four windows together.
	Window time.Duration
	// Kept says that somebody calls Extend whenever Low says so and Wanted
	// delivers. Now then never calls Reserve.
	Kept bool
}

// Clock issues timestamps. All its methods may be called concurrently.
type Clock struct {
	now      func() time.Time
	system   bool // now is time.Now
	reserve  func(upTo Timestamp) error
	maxAhead time.Duration
	window   time.Duration

	last  atomic.Uint64 // the greatest timestamp issued or observed
	bound atomic.Uint64 // the greatest timestamp that may be issued

	// extending holds one token while a bound is written. It is a channel and
	// not a mutex because Reserve waits for the disk.
	extending chan struct{}
	slack     atomic.Int64 // what the time of Reserve adds to the window; it fades

	kept    bool
	wanted  chan struct{} // one token when Now waits for a bound; sent by wait
	mu      sync.Mutex
	awaited *reservation // guarded by mu: what Now waits for, nil when nobody does
}

// reservation is a bound that callers of Now wait for.
type reservation struct {
	began time.Time
	done  chan struct{} // closed by Extend, when err is set
	err   error
}

// New returns a clock that issues nothing at or below o.Reserved. It does no
// I/O: the first Extend or Now reserves the first window.
func New(o Options) *Clock {
	c := &Clock{
		now:       o.Now,
		reserve:   o.Reserve,
		maxAhead:  o.MaxAhead,
		window:    o.Window,
		extending: make(chan struct{}, 1),
		kept:      o.Kept,
		wanted:    make(chan struct{}, 1),
	}
	if c.now == nil {
		c.now, c.system = time.Now, true
	}
	if c.maxAhead <= 0 {
		c.maxAhead = DefaultMaxAhead
	}
	if c.window <= 0 {
		c.window = DefaultWindow
	}
	c.last.Store(uint64(o.Reserved))
	c.bound.Store(uint64(o.Reserved))
	if c.reserve == nil {
		c.bound.Store(uint64(MaxTimestamp))
	}
	return c
}

// Now returns a timestamp greater than every one issued or observed before.
// The error is Reserve's, when the bound was used up and cannot be extended, or
// ErrReserving.
func (c *Clock) Now() (Timestamp, error) { return c.issue(uint64(FromTime(c.now()))) }

// issue is Now by a reading of the physical clock.
func (c *Clock) issue(physical uint64) (Timestamp, error) {
	for {
		last := c.last.Load()
		if last == uint64(MaxTimestamp) {
			return 0, ErrExhausted
		}
		// One more than the last carries from the logic into the milliseconds
		// by itself when a millisecond is used up.
		next := max(physical, last+1)
		if next > c.bound.Load() {
			if err := c.more(next); err != nil {
				return 0, err
			}
			continue
		}
		if c.last.CompareAndSwap(last, next) {
			return Timestamp(next), nil
		}
	}
}

// After is Observe and then Now: a timestamp for an event that has seen one.
func (c *Clock) After(seen Timestamp) (Timestamp, error) {
	if err := c.Observe(seen); err != nil {
		return 0, err
	}
	return c.Now()
}

// AfterAt is After for who has just read time.Now.
func (c *Clock) AfterAt(seen Timestamp, now time.Time) (Timestamp, error) {
	if err := c.Observe(seen); err != nil {
		return 0, err
	}
	return c.issue(uint64(FromTime(c.physical(now))))
}

// physical is the physical clock, which the caller has just read if it is the
// system's.
func (c *Clock) physical(now time.Time) time.Time {
	if c.system {
		return now
	}
	return c.now()
}

// Observe moves the clock to at least remote, so that whatever happens here
// next is later. A remote clock that is more than MaxAhead ahead of the
// physical clock is refused with an *AheadError and moves nothing, unless this
// clock already is as far: nothing is learned from it then.
func (c *Clock) Observe(remote Timestamp) error {
	last := c.last.Load()
	if uint64(remote) <= last {
		return nil
	}
	physical := c.now()
	// A century is far enough for the report, and does not overflow.
	aheadMillis := min(remote.Millis()-physical.UnixMilli(), 100*365*24*3600*1000)
	ahead := time.Duration(aheadMillis) * time.Millisecond
	if ahead > c.maxAhead {
		return &AheadError{Remote: remote, Physical: physical, Ahead: ahead, Max: c.maxAhead}
	}
	for uint64(remote) > last && !c.last.CompareAndSwap(last, uint64(remote)) {
		last = c.last.Load()
	}
	return nil
}

// Last returns the greatest timestamp issued or observed.
func (c *Clock) Last() Timestamp { return Timestamp(c.last.Load()) }

// Present returns the physical clock, or Last when that is greater: when
// something is sent. It issues nothing. now is what time.Now has just said.
func (c *Clock) Present(now time.Time) Timestamp { return max(FromTime(c.physical(now)), c.Last()) }

// Age returns how long ago another node's Present was, by this node's physical
// clock; what clocks are allowed to differ by is in it. now is what time.Now has just
// said.
func (c *Clock) Age(sent Timestamp, now time.Time) time.Duration {
	return time.Duration(c.physical(now).UnixMilli()-sent.Millis()) * time.Millisecond
}

// Lead returns how far the clock is ahead of the physical clock, zero when it
// is not. A node whose lead is above MaxAhead is refused by its peers, so it
// lets others coordinate writes until the lead has passed.
func (c *Clock) Lead() time.Duration {
	lead := c.Last().Millis() - c.now().UnixMilli()
	return time.Duration(max(lead, 0)) * time.Millisecond
}

// more brings a bound of at least next, or says why there is none.
func (c *Clock) more(next uint64) error {
	if !c.kept {
		return c.extend(next)
	}
	c.mu.Lock()
	if next <= c.bound.Load() {
		c.mu.Unlock()
		return nil
	}
	r := c.awaited
	if r == nil {
		r = &reservation{began: time.Now(), done: make(chan struct{})}
		c.awaited = r
		select {
		case c.wanted <- struct{}{}:
		default:
		}
	}
	c.mu.Unlock()
	left := patience - time.Since(r.began)
	if left <= 0 {
		return ErrReserving
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-r.done:
		return r.err
	case <-timer.C:
		return ErrReserving
	}
}

// Wanted delivers a token when Now waits for Extend, if Options.Kept.
func (c *Clock) Wanted() <-chan struct{} { return c.wanted }

// Low reports whether less than half a window is left, and it is time
// for Extend.
func (c *Clock) Low() bool {
	return c.bound.Load() < uint64(c.ahead(c.reach()/2))
}

// UntilLow returns how long until Low says so, if time goes on as it does. A remote
// clock can make it sooner, by no more than MaxAhead.
func (c *Clock) UntilLow() time.Duration {
	left := Timestamp(c.bound.Load()).Millis() - c.ahead(c.reach()/2).Millis()
	return time.Duration(min(max(left, 0), c.reach().Milliseconds())) * time.Millisecond
}

// Extend reserves the next window, if less than half of one is left.
func (c *Clock) Extend() error {
	err := c.extend(uint64(c.ahead(c.reach() / 2)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.awaited; r != nil {
		c.awaited = nil
		r.err = err
		close(r.done)
	}
	return err
}

// reach is how far ahead bounds are reserved now.
func (c *Clock) reach() time.Duration {
	return min(c.window+time.Duration(c.slack.Load()), maxWindows*c.window)
}

// extend raises the bound by a window unless it is at least need already,
// which it is when another caller came first.
func (c *Clock) extend(need uint64) error {
	if c.reserve == nil {
		return nil
	}
	c.extending <- struct{}{}
	defer func() { <-c.extending }()
	if c.bound.Load() >= need {
		return nil
	}
	upTo := max(c.ahead(c.reach()), Timestamp(need))
	began := time.Now()
	err := c.reserve(upTo)
	c.slack.Store(max(2*int64(time.Since(began)), c.slack.Load()*3/4))
	if err != nil {
		return fmt.Errorf("reserve timestamps up to %v: %w", upTo, err)
	}
	c.bound.Store(uint64(upTo))
	return nil
}

// ahead returns the timestamp d after the later of both clocks.
func (c *Clock) ahead(d time.Duration) Timestamp {
	return FromMillis(max(c.now().UnixMilli(), c.Last().Millis()) + d.Milliseconds())
}
