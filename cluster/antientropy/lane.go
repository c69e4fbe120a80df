package antientropy

import (
	"context"
	"runtime"
	"time"
)

// lane is where whole pages of records are read for other nodes and merged here, a slice
// of that at a time. With no clients to serve the processors may all be used. With clients
// one slice runs at a time, and afterwards the lane is empty for restTimes as long as that
// took, restBusy as long when the node is busy: who serves clients finds a processor free,
// and does not wait behind a page for each of the partitions that move at the same time. On
// a machine that has less time to give, slices take longer, and so does the rest.
type lane struct {
	clients, busy func() bool

	all chan struct{}  // a token for each slice that runs
	one chan time.Time // holds when the next slice may begin that has to give way
}

const (
	// restTimes and restBusy leave a quarter and a tenth of one processor.
	restTimes, restBusy = 3, 9
	// longestRest bounds a rest: a slice that takes a millisecond has been held up, by
	// other programs on the machine, and resting does not help against those.
	longestRest = restBusy * time.Millisecond
	// sliceKeys are merged in a third of a millisecond, about.
	sliceKeys = 256
	// sliceBytes are read in as much, and bound a page when there are clients.
	sliceBytes = 64 << 10
)

func newLane(clients, busy func() bool) *lane {
	l := &lane{clients: clients, busy: busy, all: make(chan struct{}, runtime.GOMAXPROCS(0)), one: make(chan time.Time, 1)}
	l.one <- time.Time{}
	return l
}

// run runs a slice in its turn. An error is fn's or that of ctx.
func (l *lane) run(ctx context.Context, fn func() error) error {
	if !l.clients() {
		select {
		case l.all <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { <-l.all }()
		return fn()
	}
	var next time.Time
	select {
	case next = <-l.one:
	case <-ctx.Done():
		return ctx.Err()
	}
	if wait := time.Until(next); wait > 0 && !sleep(ctx, wait) {
		l.one <- next
		return ctx.Err()
	}
	began := time.Now()
	err := fn()
	times := time.Duration(restTimes)
	if l.busy() {
		times = restBusy
	}
	ended := time.Now()
	l.one <- ended.Add(min(times*ended.Sub(began), longestRest))
	return err
}

// page is how large a page may be now.
func (l *lane) page() int {
	if l.clients() {
		return sliceBytes
	}
	return pageBytes
}
