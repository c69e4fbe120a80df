package antientropy

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// Store is this node's data. All methods may be called concurrently.
type Store interface {
	// AppendSums appends the sums of leaves, Sum their XOR, of all that is visible.
	// Exact reports whether they can be relied on; Rebuild makes them so.
	AppendSums(dst []uint64, lo, hi uint32) []uint64
	Sum(lo, hi uint32) uint64
	Exact(lo, hi uint32) bool
	Rebuild(ctx context.Context, lo, hi uint32) error
	// Scan calls fn with the records from lower up to, and without, upper, in
	// order, until fn returns false. The slices are valid during the call.
	Scan(lower, upper []byte, fn func(key, value []byte) bool) error
	// Seen, Tidy, Mend, Yield: see replica.Replica.
	Seen(key, value []byte) (seen []byte, ok bool)
	Tidy(key []byte) error
	Mend(records []replica.Record, yields hlc.Timestamp) error
	Yield(key []byte, upTo hlc.Timestamp) (removed bool, err error)
	// Lost returns the ranges of keys, between two, of which damage has cost
	// records; reads and scans of them fail until Refilled.
	Lost(lower, upper []byte) [][2][]byte
	Refilled(lower, upper []byte) error
	// SetDeathHorizon and Collect: see replica.Replica.
	SetDeathHorizon(first, last ring.Slot, h hlc.Timestamp)
	Collect(first, last ring.Slot, pace func(bytes int) bool) (removed int, err error)
	// Marks returns what SaveMarks has stored under a partition, nil for nothing.
	Marks(p ring.Partition) ([]byte, error)
	// SaveMarks stores marks. With sync it returns when they, and everything
	// written before, survive a loss of power as far as the node's policy goes.
	SaveMarks(marks map[ring.Partition][]byte, sync bool) error
}

// Peers are the other nodes.
type Peers interface {
	Connected(id ring.NodeID) bool
	// Ask sends a request to Serve of another node and returns its answer.
	Ask(ctx context.Context, id ring.NodeID, body []byte) ([]byte, error)
	// Name returns a node's name for messages to people.
	Name(id ring.NodeID) string
}

// Requests is what serves clients' requests at this node.
type Requests interface {
	// Doubt counts how often something made it possible that others wrote what
	// this node's copy of a partition lacks. Settle says that the copy lacks
	// nothing, if the count is still the one given.
	Doubt(p ring.Partition) uint32
	Settle(p ring.Partition, doubt uint32)
	// SetFilled says whether this node's copy of a partition may answer reads.
	SetFilled(p ring.Partition, filled bool)
	// Busy reports whether clients need the node's time, Clients whether there are any
	// at all.
	Busy() bool
	Clients() bool
	// Keys returns how many keys this node's copy of a partition has.
	Keys(ctx context.Context, p ring.Partition) int64
	// WriteQuorum is how many of n replicas acknowledge a write by default.
	WriteQuorum(n int) int
	// Unsteady reports whether this node holds writes that replicas of a partition
	// lack (hints), knows of a transfer of it that is under way, or holds records of it
	// that it is to drop.
	Unsteady(p ring.Partition) bool
	// Handing reports whether this node is bringing replicas of a partition the writes
	// that they lack, and gets on with it.
	Handing(p ring.Partition) bool
	// Moving reports whether a transfer of a partition is under way, by this node's
	// ring: then no horizon of it moves.
	Moving(p ring.Partition) bool
	// Purging reports whether much is being removed here, after a flush.
	Purging() bool
}

// Options configure a Keeper.
type Options struct {
	Self     ring.NodeID
	Ring     func() *ring.Ring // nil while there is none
	Now      func() (hlc.Timestamp, error)
	Store    Store
	Peers    Peers
	Requests Requests
	// Period is the time within which every partition is compared; 0 is an hour.
	Period time.Duration
	// Delay is how long the dead are kept at least; 0 is an hour.
	Delay time.Duration
	// Rate bounds what is moved and read, in bytes a second; 0 is 32 MiB.
	Rate int64
	// MoveRate bounds what is moved of partitions that enter or leave this node, in
	// bytes a second; 0 is 256 MiB.
	MoveRate int64
	// Recheck is how long writes under way have to arrive before what differs is
	// taken for a difference; 0 is 250 ms.
	Recheck time.Duration
	Logger  zerolog.Logger
}

// Keeper keeps this node's partitions level with their other replicas.
type Keeper struct {
	o    Options
	pace *pacer
	// movePace is that of copies that enter or leave.
	movePace *pacer
	lane     *lane
	Metrics  Metrics
	refills  refills

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   [wakers]chan struct{} // each holds at most one token

	period, delay atomic.Int64 // nanoseconds

	collecting sync.Mutex // held while horizons move

	mu     sync.Mutex
	parts  []partition                      // guarded by mu; by number, empty while there is no ring
	drifts map[leafRange]int                // guarded by mu: leaves to be summed anew
	job    *Job                             // guarded by mu: the last repair that was asked for
	fills  map[ring.Partition]chan struct{} // guarded by mu: what is being filled now; closed when that ends
}

// The goroutines that can be woken.
const (
	wakeRounds = iota
	wakeFill
	wakeCollect
	wakeRebuild
	wakers
)

// Metrics count the work. All but Filling only grow.
type Metrics struct {
	Rounds     atomic.Uint64 // that ended equal among all replicas
	Incomplete atomic.Uint64 // that did not
	Keys       atomic.Uint64 // compared
	Differing  atomic.Uint64
	Moved      atomic.Uint64 // bytes of messages
	Collected  atomic.Uint64 // tombstones and expired keys removed
	Rebuilt    atomic.Uint64 // leaves summed anew
	Filled     atomic.Uint64 // partitions filled
	Filling    atomic.Int64  // partitions being filled
}

// New returns a Keeper that does nothing until Start.
func New(o Options) *Keeper {
	if o.Rate == 0 {
		o.Rate = 32 << 20
	}
	if o.MoveRate == 0 {
		o.MoveRate = 256 << 20
	}
	if o.Recheck == 0 {
		o.Recheck = 250 * time.Millisecond
	}
	k := &Keeper{o: o, drifts: make(map[leafRange]int), fills: make(map[ring.Partition]chan struct{})}
	k.SetTimes(o.Period, o.Delay)
	k.pace, k.movePace = newPacer(o.Rate, o.Requests.Busy), newPacer(o.MoveRate, o.Requests.Busy)
	k.lane = newLane(o.Requests.Clients, o.Requests.Busy)
	k.ctx, k.cancel = context.WithCancel(context.Background())
	for i := range k.wake {
		k.wake[i] = make(chan struct{}, 1)
	}
	return k
}

// SetTimes changes Period and Delay; 0 is the default.
func (k *Keeper) SetTimes(period, delay time.Duration) {
	if period == 0 {
		period = time.Hour
	}
	if delay == 0 {
		delay = time.Hour
	}
	k.period.Store(int64(period))
	k.delay.Store(int64(delay))
	k.rouse(wakeRounds)
}

// SetRate changes Rate.
func (k *Keeper) SetRate(rate int64) { k.pace.setFull(rate) }

// SetMoveRate changes MoveRate.
func (k *Keeper) SetMoveRate(rate int64) { k.movePace.setFull(rate) }

// MoveRate returns it.
func (k *Keeper) MoveRate() int64 { return k.movePace.most() }

// Start begins the work. Load comes before.
func (k *Keeper) Start() {
	k.wg.Go(k.runRounds)
	k.wg.Go(k.runFill)
	k.wg.Go(k.runCollect)
	k.wg.Go(k.runRebuild)
}

// Close ends the work and waits for it.
func (k *Keeper) Close() {
	k.cancel()
	k.wg.Wait()
}

// rouse wakes a goroutine.
func (k *Keeper) rouse(which int) {
	select {
	case k.wake[which] <- struct{}{}:
	default:
	}
}

// rest waits until it is woken or the time is over, about; false at the end.
func (k *Keeper) rest(which int, d time.Duration) bool {
	t := time.NewTimer(jitter(d))
	defer t.Stop()
	select {
	case <-k.ctx.Done():
		return false
	case <-k.wake[which]:
	case <-t.C:
	}
	return k.ctx.Err() == nil
}

// jitter spreads a time over a quarter around it, so that nodes that started
// together do not work together.
func jitter(d time.Duration) time.Duration {
	if d < 8 {
		return d
	}
	return d - d/8 + rand.N(d/4)
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

// runRebuild sums anew what cannot be relied on, a leaf range at a time.
func (k *Keeper) runRebuild() {
	for k.rest(wakeRebuild, 5*time.Second) {
		k.mu.Lock()
		pending := make([]leafRange, 0, len(k.drifts))
		for r := range k.drifts {
			pending = append(pending, r)
		}
		clear(k.drifts)
		k.mu.Unlock()
		if r := k.o.Ring(); r != nil {
			for p := range r.Q {
				if l := leavesOf(r.Q, ring.Partition(p)); concerns(r, ring.Partition(p), k.o.Self) && !k.o.Store.Exact(l.lo, l.hi) {
					pending = append(pending, l)
				}
			}
		}
		for _, l := range pending {
			if err := k.o.Store.Rebuild(k.ctx, l.lo, l.hi); err != nil {
				if k.ctx.Err() == nil {
					k.o.Logger.Error().Err(err).Msg("sums cannot be made anew")
				}
				break
			}
			k.Metrics.Rebuilt.Add(uint64(l.hi - l.lo))
		}
	}
}

// drifted has the sums of a leaf made anew.
func (k *Keeper) drifted(l leafRange) {
	k.mu.Lock()
	k.drifts[l]++
	k.mu.Unlock()
	k.rouse(wakeRebuild)
}
