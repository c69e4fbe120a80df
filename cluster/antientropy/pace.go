package antientropy

import (
	"context"
	"sync"
	"time"
)

// pacer spreads work over time: so many bytes a second, halved while clients need
// the node or something fails, and growing again afterwards.
type pacer struct {
	busy func() bool

	mu      sync.Mutex
	full    float64   // guarded by mu: bytes a second at most
	rate    float64   // guarded by mu: bytes a second now
	free    time.Time // guarded by mu: when all that was taken is paid for
	checked time.Time // guarded by mu: when busy was asked
}

const (
	// paceEvery is how often the pace follows the load.
	paceEvery = 100 * time.Millisecond
	// slowest is the part of the full pace that is always left: without it a
	// cluster that is never idle would never be repaired.
	slowest = 64
	// paceBurst is how far ahead of the pace work may be.
	paceBurst = 50 * time.Millisecond
)

func newPacer(rate int64, busy func() bool) *pacer {
	return &pacer{busy: busy, full: float64(rate), rate: float64(rate)}
}

func (p *pacer) setFull(rate int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = float64(rate)
	p.rate = min(p.rate, p.full)
}

// most returns the rate that is not exceeded.
func (p *pacer) most() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(p.full)
}

// failed halves the pace.
func (p *pacer) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = max(p.rate/2, p.full/slowest)
}

// take pays for so many bytes, and waits until they may be spent. False when ctx
// ended.
func (p *pacer) take(ctx context.Context, bytes int) bool {
	now := time.Now()
	p.mu.Lock()
	check := now.Sub(p.checked) >= paceEvery
	if check {
		p.checked = now
	}
	p.mu.Unlock()
	busy := check && p.busy()
	p.mu.Lock()
	switch {
	case busy:
		p.rate = max(p.rate/2, p.full/slowest)
	case check:
		p.rate = min(p.rate+p.full/16, p.full)
	}
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(bytes) / p.rate * float64(time.Second)))
	wait := p.free.Sub(now) - paceBurst
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err() == nil
	}
	return sleep(ctx, wait)
}
