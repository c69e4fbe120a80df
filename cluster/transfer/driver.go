package transfer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
)

// Peers are the nodes of the ring, this one included.
type Peers interface {
	Reachable(id ring.NodeID) bool
	// Barrier returns when a node has adopted r, or a newer ring, and everything it
	// had begun to write by older ones is written. It says how much it holds of a
	// partition.
	Barrier(ctx context.Context, id ring.NodeID, r *ring.Ring, p ring.Partition) (Size, error)
	Name(id ring.NodeID) string
}

// Copies are this node's data.
type Copies interface {
	// Enter makes this node's copy of a partition hold all that enough others hold,
	// which are tried in order; 0, of all living replicas, is as many as it takes to meet
	// every write that was acknowledged. It goes on where an earlier attempt ended, tells moved what it took,
	// and returns nil when nothing differed any more and the copy may be a replica.
	Enter(ctx context.Context, p ring.Partition, from []ring.NodeID, enough int, moved func(keys int, bytes int64)) error
	// Fill is Enter for a copy that stands in the table already, and answers no reads
	// until then.
	Fill(ctx context.Context, p ring.Partition, moved func(keys int, bytes int64)) error
	// Serve lets a copy that has taken another's place answer reads.
	Serve(p ring.Partition)
	// Give makes another node hold all that this one holds of a partition.
	Give(ctx context.Context, p ring.Partition, to ring.NodeID, moved func(keys int, bytes int64)) error
	// Left returns the partitions of which this node holds something although the ring
	// does not give it to it (see Concerns).
	Left(r *ring.Ring) []ring.Partition
	// Mark returns what stands for all that this node holds of a partition: it changes
	// with every write.
	Mark(ctx context.Context, p ring.Partition) (uint64, error)
	// Drop forgets all of a partition that was given to all its replicas, by ring r,
	// since it was marked. It does nothing, and says so, when the ring has changed as
	// far as the partition goes, when something was written since, or when something that
	// came for somebody else is there (hints).
	Drop(ctx context.Context, r *ring.Ring, p ring.Partition, mark uint64) error
	// Clean reports whether nothing is left here, nor anything that is for others.
	Clean(r *ring.Ring) bool
}

// Size is how much a node holds of a partition, as far as it knows.
type Size struct {
	Keys  int64
	Bytes int64
}

// Options configure a Driver.
type Options struct {
	Self ring.NodeID
	Ring func() *ring.Ring // nil while there is none
	// Change asks the register of rings for what f makes of the newest.
	Change func(ctx context.Context, f func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error)
	Peers  Peers
	Copies Copies
	// Moves is how many partitions are worked on at a time; 0 is 16.
	Moves int
	// Clients reports whether the node serves any; nil is no.
	Clients func() bool
	// Patience is how long a driver may be away before what it copies is taken back; 0
	// is 10 seconds.
	Patience time.Duration
	// Retry is the first pause after a failure; 0 is 200 ms.
	Retry time.Duration
	// Jitter spreads a time, so that nodes that failed together do not try again
	// together; nil spreads it at random over a half around it.
	Jitter func(time.Duration) time.Duration
	Logger zerolog.Logger
}

const (
	// changeWithin bounds one change of the register.
	changeWithin = 15 * time.Second
	// lookEvery is how often the ring is looked at when nothing happens.
	lookEvery = time.Second
	// calm is the least time between two changes of the ring while there are clients: each
	// keeps all nodes, their disks too, busy for some milliseconds. What has become ready
	// meanwhile goes together.
	calm = 200 * time.Millisecond
	// maxPause bounds the pause after failures.
	maxPause = 15 * time.Second
	// maxWindow bounds the partitions beyond Waiting of one node.
	maxWindow = 1024
	// quick is how soon a batch must be done for the window to grow.
	quick = 2 * time.Second
)

// Driver takes the steps of transfers.
type Driver struct {
	o       Options
	Metrics Metrics

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{} // one token when there may be something to do
	slots  chan struct{} // a token for each partition that is worked on

	mu      sync.Mutex
	moves   map[task]*move            // guarded by mu: what is worked on, and what is done and not yet asked for
	away    map[ring.NodeID]time.Time // guarded by mu: since when members cannot be reached
	window  int                       // guarded by mu
	began   time.Time                 // guarded by mu: when the last batch did
	reason  string                    // guarded by mu: why the register did not change
	left    []ring.Partition          // guarded by mu: what is to be dropped
	leftWhy string                    // guarded by mu: why the last of it was not
	rate    rate                      // guarded by mu
	usual   float64                   // guarded by mu: bytes of a partition, on average, of those that were copied last

	// The rest is the goroutine's own.
	fails   int       // changes that failed in a row
	changes time.Time // no change before
}

// New returns a Driver that does nothing until Start.
func New(o Options) *Driver {
	if o.Moves == 0 {
		o.Moves = 16
	}
	if o.Clients == nil {
		o.Clients = func() bool { return false }
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Retry == 0 {
		o.Retry = 200 * time.Millisecond
	}
	if o.Jitter == nil {
		o.Jitter = jitter
	}
	d := &Driver{
		o: o, wake: make(chan struct{}, 1), slots: make(chan struct{}, o.Moves), window: o.Moves,
		moves: make(map[task]*move), away: make(map[ring.NodeID]time.Time),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Parallel returns how many partitions are worked on at a time.
func (d *Driver) Parallel() int { return d.o.Moves }

// Start begins the work.
func (d *Driver) Start() {
	d.wg.Go(d.run)
	d.wg.Go(d.clean)
}

// Close ends the work and waits for it.
func (d *Driver) Close() {
	d.cancel()
	d.wg.Wait()
}

// Wake has the ring looked at now: it has changed, or a node has come back.
func (d *Driver) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run looks at the ring and does what is due.
func (d *Driver) run() {
	defer d.stopAll()
	for d.ctx.Err() == nil {
		if r := d.o.Ring(); r != nil && d.look(r) {
			continue // the ring has changed
		}
		t := time.NewTimer(d.o.Jitter(lookEvery))
		select {
		case <-d.ctx.Done():
			t.Stop()
			return
		case <-d.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// look does what is due by a ring, and reports whether it changed the ring.
func (d *Driver) look(r *ring.Ring) bool {
	s := sight{
		ring: r, self: d.o.Self, away: d.watch(r), patience: d.o.Patience, ready: d.ready,
		clean: func() bool { return d.o.Copies.Clean(r) },
	}
	d.mu.Lock()
	s.window = d.window
	d.rate.of(time.Now(), d.Metrics.Bytes.Load()) // so that who asks once is told how it was of late
	d.mu.Unlock()
	what := decide(&s)
	d.follow(r, &what)
	return d.ask(&what)
}

// watch notes which members can be reached, and returns how long others have been
// away.
func (d *Driver) watch(r *ring.Ring) func(ring.NodeID) time.Duration {
	now := time.Now()
	since := make(map[ring.NodeID]time.Time)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range r.Members {
		id := r.Members[i].ID
		if id == d.o.Self || d.o.Peers.Reachable(id) {
			continue
		}
		since[id] = now
		if before, found := d.away[id]; found {
			since[id] = before
		}
	}
	d.away = since
	return func(id ring.NodeID) time.Duration {
		if at, found := since[id]; found {
			return max(now.Sub(at), 1)
		}
		return 0
	}
}

// ask asks the register for the steps that are due. It reports whether the ring has changed.
func (d *Driver) ask(what *decision) (changed bool) {
	if time.Now().Before(d.changes) {
		return false
	}
	if steps := what.steps; len(steps.Finish)+len(steps.Switch)+len(steps.Begin) > 0 {
		changed = d.change(func(r *ring.Ring) (*ring.Ring, error) { return ring.Advance(r, d.o.Self, steps) })
		if changed && len(steps.Begin) > 0 {
			d.mu.Lock()
			d.began = time.Now()
			d.mu.Unlock()
		}
	}
	if len(what.retreat) > 0 {
		changed = d.change(func(r *ring.Ring) (*ring.Ring, error) { return ring.Retreat(r, what.retreat) }) || changed
	}
	for _, id := range what.retire {
		changed = d.change(func(r *ring.Ring) (*ring.Ring, error) { return ring.Retire(r, id) }) || changed
	}
	if changed && d.o.Clients() {
		d.noChangeFor(calm)
	}
	return changed
}

// noChangeFor has the register left alone for a time, and then looked at.
func (d *Driver) noChangeFor(t time.Duration) {
	d.changes = time.Now().Add(t)
	time.AfterFunc(t, d.Wake)
}

// change asks the register for one change.
func (d *Driver) change(f func(*ring.Ring) (*ring.Ring, error)) bool {
	ctx, cancel := context.WithTimeout(d.ctx, changeWithin)
	defer cancel()
	_, err := d.o.Change(ctx, f)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		d.fails, d.reason = 0, ""
		d.Metrics.Changes.Add(1)
		return true
	case d.ctx.Err() != nil:
		return false
	}
	// A stale step is looked at again soon: the newer ring is on its way.
	d.fails++
	if !errors.Is(err, ring.ErrStale) && !errors.Is(err, ring.ErrPaused) {
		d.reason = err.Error()
		d.Metrics.Failures.Add(1)
	}
	d.noChangeFor(d.pause(d.fails))
	return false
}

// pause returns how long to wait after so many failures.
func (d *Driver) pause(fails int) time.Duration {
	return d.o.Jitter(min(d.o.Retry<<min(fails-1, 10), maxPause))
}

// jitter spreads a time over a half around it.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

// sleep waits; false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
