package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
)

const (
	worldPartitions = 16
	worldKeys       = 8 // of a partition
	worldReplicas   = 3
)

var errAway = errors.New("cannot be reached")

// world is a register, nodes with their drivers and their data, and clients. Its seed
// names a schedule: whatever waits waits until a nanosecond that hardly anything else
// waits for, and how long follows from the seed, from who waits and from when. What
// runs at one moment is run by one processor, nearly always in the same order.
type world struct {
	t    *testing.T
	seed uint64
	mu   sync.Mutex

	random *rand.Rand   // guarded by mu
	newest *ring.Ring   // guarded by mu: what the register holds
	nodes  []*node      // guarded by mu
	cut    map[int]bool // guarded by mu: nodes that reach nobody
	acked  map[int]int  // guarded by mu: the version of each key that was acknowledged last
	writes int          // guarded by mu: versions given out
	lag    int          // milliseconds that rings take at most to reach a node by gossip
	wg     sync.WaitGroup
	stop   chan struct{} // closed when clients end
	serves atomic.Bool   // whether nodes say that they have clients
}

// node is one of them: what it holds survives a crash, its driver does not.
type node struct {
	w      *world
	id     ring.NodeID
	alive  bool
	ring   *ring.Ring
	since  []ring.Epoch // by partition: the first epoch by which it is served as now
	data   []map[int]int
	unsure []bool // partitions that are to be filled
	mute   []bool // partitions of which no reads are answered
	// passed is, by partition, the versions that it has dropped itself: whoever was to
	// hold those then has them, or has passed them on in turn.
	passed  []map[int]int
	driver  *Driver
	changes []time.Time // of the register, by its driver
	// jitters counts what its driver's goroutines spread.
	jitters atomic.Uint64
}

func newWorld(t *testing.T, seed uint64, n int) *world {
	w := &world{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), cut: map[int]bool{}, acked: map[int]int{}, stop: make(chan struct{}), lag: 100 + 1000*int(seed%5)}
	var members []ring.Member
	for i := range n {
		members = append(members, memberOf(i))
	}
	r, _, err := ring.Build(nil, members, ring.Options{ClusterID: 1, Partitions: worldPartitions, N: worldReplicas})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest = r
	for range n {
		w.add()
	}
	return w
}

func memberOf(i int) ring.Member {
	return ring.Member{ID: ring.NodeID(i + 1), Name: fmt.Sprint("n", i+1), Weight: 1, DC: "dc", Rack: fmt.Sprint("r", i)}
}

// add makes one more node.
func (w *world) add() *node {
	n := &node{w: w, id: ring.NodeID(len(w.nodes) + 1), data: make([]map[int]int, worldPartitions), passed: make([]map[int]int, worldPartitions), unsure: make([]bool, worldPartitions), mute: make([]bool, worldPartitions), since: make([]ring.Epoch, worldPartitions)}
	for p := range n.data {
		n.data[p], n.passed[p] = map[int]int{}, map[int]int{}
	}
	w.nodes = append(w.nodes, n)
	n.open()
	return n
}

// at returns the node with an id.
func (w *world) at(id ring.NodeID) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[id-1]
}

func (n *node) open() {
	n.alive = true
	n.adopt(n.w.newest)
	n.driver = New(Options{
		Self: n.id, Ring: n.current, Change: n.change, Peers: n, Copies: copies{n},
		Moves: 4, Clients: n.w.serves.Load, Patience: 2 * time.Second, Retry: 50 * time.Millisecond, Logger: zerolog.Nop(),
		Jitter: func(d time.Duration) time.Duration {
			return d*3/4 + n.w.spread(d/2, uint64(n.id), n.jitters.Add(1))
		},
	})
	n.driver.Start()
	d := n.driver
	n.w.wg.Go(func() { // gossip
		for d.ctx.Err() == nil {
			n.w.pause(n.w.lag, uint64(n.id))
			n.w.mu.Lock()
			if n.w.reaches(n.id, 0) {
				n.adopt(n.w.newest)
			}
			n.w.mu.Unlock()
			d.Wake()
		}
	})
}

// crash ends a node's process. It waits for it without the lock.
func (n *node) crash() {
	n.w.mu.Lock()
	n.alive = false
	d := n.driver
	n.w.mu.Unlock()
	d.Close()
}

// adopt takes over a ring. The caller holds the world's mu.
func (n *node) adopt(r *ring.Ring) {
	if n.ring != nil && !r.NewerThan(n.ring) {
		return
	}
	before := n.ring
	for p := range ring.Partition(worldPartitions) {
		if before == nil || !sameService(before, r, p) {
			n.since[p], n.mute[p] = r.Epoch, falls(r, p, n.id)
		}
		if place, unfilled := r.Unfilled(p); unfilled && r.Replicas(p)[place] == n.id && !before.Holds(p, n.id) {
			n.unsure[p] = true
		}
	}
	n.ring = r
}

// falls reports whether a node has just taken another's place, by a ring.
func falls(r *ring.Ring, p ring.Partition, id ring.NodeID) bool {
	t, _ := r.TransferOf(p)
	place, unfilled := r.Unfilled(p)
	return t.Step == ring.Switched && t.To == id || unfilled && r.Replicas(p)[place] == id
}

func sameService(a, b *ring.Ring, p ring.Partition) bool {
	placeA, partnerA, okA := a.Partner(p)
	placeB, partnerB, okB := b.Partner(p)
	unfilledA, fillsA := a.Unfilled(p)
	unfilledB, fillsB := b.Unfilled(p)
	return slices.Equal(a.Replicas(p), b.Replicas(p)) && placeA == placeB && partnerA == partnerB && okA == okB && unfilledA == unfilledB && fillsA == fillsB
}

func (n *node) current() *ring.Ring {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.ring
}

// reaches reports whether two nodes reach each other; 0 is a majority. The caller
// holds mu.
func (w *world) reaches(a, b ring.NodeID) bool {
	for _, id := range [2]ring.NodeID{a, b} {
		if id != 0 && (int(id) > len(w.nodes) || !w.nodes[id-1].alive || w.cut[int(id)] && a != b) {
			return false
		}
	}
	return true
}

// pause waits up to so many milliseconds. who tells those apart that begin to wait at
// the same moment.
func (w *world) pause(most int, who ...uint64) {
	time.Sleep(w.spread(time.Duration(most)*time.Millisecond, who...))
}

// spread returns a time below most that depends on the seed, on now, and on who asks.
func (w *world) spread(most time.Duration, who ...uint64) time.Duration {
	h := fnv.New64a()
	for _, v := range append([]uint64{w.seed, uint64(time.Now().UnixNano()), uint64(most)}, who...) {
		_ = binary.Write(h, binary.LittleEndian, v) // a hash takes everything
	}
	return time.Duration(rand.New(rand.NewPCG(h.Sum64(), w.seed)).Int64N(int64(most)))
}

// change is the register: one at a time, and sometimes nobody hears how it ended.
func (n *node) change(ctx context.Context, f func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error) {
	w := n.w
	w.pause(20, uint64(n.id))
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.reaches(n.id, 0) || ctx.Err() != nil {
		return nil, errAway
	}
	next, err := w.changed(f)
	if err != nil {
		return nil, err
	}
	if w.random.IntN(10) == 0 {
		return nil, errAway
	}
	n.changes = append(n.changes, time.Now())
	n.adopt(next)
	return next, nil
}

// changed changes the register. The caller holds mu.
func (w *world) changed(f func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error) {
	next, err := f(w.newest)
	if err != nil || next == w.newest {
		return next, err
	}
	if next.Epoch != w.newest.Epoch+1 {
		w.t.Errorf("epoch %d follows %d", next.Epoch, w.newest.Epoch)
	}
	w.newest = next
	return next, nil
}

func (n *node) Reachable(id ring.NodeID) bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.w.reaches(n.id, id)
}

func (n *node) Name(id ring.NodeID) string { return fmt.Sprint("n", id) }

func (n *node) Barrier(_ context.Context, id ring.NodeID, r *ring.Ring, p ring.Partition) (Size, error) {
	n.w.pause(5, uint64(n.id), uint64(id), uint64(p))
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if !n.w.reaches(n.id, id) {
		return Size{}, errAway
	}
	to := n.w.nodes[id-1]
	to.adopt(r)
	return Size{Keys: int64(len(to.data[p])), Bytes: int64(len(to.data[p]))}, nil
}

// copies is a node's data as its driver sees it.
type copies struct{ *node }

// carry takes what from has to to, a key at a time.
func (w *world) carry(ctx context.Context, p ring.Partition, self, from, to *node, moved func(int, int64)) error {
	for k := range worldKeys {
		w.pause(3, uint64(self.id), uint64(p))
		w.mu.Lock()
		if ctx.Err() != nil || !w.reaches(from.id, to.id) || !self.alive {
			w.mu.Unlock()
			return errAway
		}
		if v := from.data[p][k]; v > to.data[p][k] {
			to.data[p][k] = v
			moved(1, 1)
		}
		w.mu.Unlock()
	}
	return nil
}

func (c copies) Enter(ctx context.Context, p ring.Partition, from []ring.NodeID, enough int, moved func(int, int64)) error {
	return c.take(ctx, p, from, enough, moved, func(*node) bool { return true })
}

func (c copies) take(ctx context.Context, p ring.Partition, from []ring.NodeID, enough int, moved func(int, int64), fit func(*node) bool) error {
	if enough == 0 {
		n := len(c.current().Replicas(p))
		enough = min(n-(n/2+1)+1, len(from))
	}
	taken := 0
	for _, id := range from {
		source := c.w.at(id)
		if c.w.carry(ctx, p, c.node, source, c.node, moved) != nil {
			continue
		}
		c.w.mu.Lock()
		if !source.unsure[p] && fit(source) { // compare, and exchange what differs
			for k, v := range source.data[p] {
				c.data[p][k] = max(c.data[p][k], v)
			}
			taken++
		}
		c.w.mu.Unlock()
	}
	if taken < enough {
		return fmt.Errorf("taken from %d of %v", taken, from)
	}
	return nil
}

func (c copies) Fill(ctx context.Context, p ring.Partition, moved func(int, int64)) error {
	list := c.current().Replicas(p)
	others := slices.DeleteFunc(living(c.current(), p), func(id ring.NodeID) bool { return id == c.id })
	if err := c.take(ctx, p, others, min(len(list)-(len(list)/2+1)+1, len(others)), moved, func(*node) bool { return true }); err != nil {
		return err
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.unsure[p] = false
	return nil
}

func (c copies) Give(ctx context.Context, p ring.Partition, to ring.NodeID, moved func(int, int64)) error {
	return c.w.carry(ctx, p, c.node, c.node, c.w.at(to), moved)
}

func (c copies) Serve(p ring.Partition) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.mute[p] = false
}

func (c copies) Left(r *ring.Ring) (ps []ring.Partition) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for p := range ring.Partition(worldPartitions) {
		if !Concerns(r, p, c.id) && len(c.data[p]) > 0 {
			ps = append(ps, p)
		}
	}
	return ps
}

func (c copies) Clean(r *ring.Ring) bool { return len(c.Left(r)) == 0 }

func (c copies) Mark(_ context.Context, p ring.Partition) (uint64, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.mark(p), nil
}

// mark counts versions, which only grow. The caller holds the world's mu.
func (c copies) mark(p ring.Partition) (sum uint64) {
	for _, v := range c.data[p] {
		sum += uint64(v)
	}
	return sum
}

func (c copies) Drop(_ context.Context, r *ring.Ring, p ring.Partition, mark uint64) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.mark(p) != mark {
		return errors.New("something was written")
	}
	if Concerns(c.ring, p, c.id) || !slices.Equal(c.ring.Replicas(p), r.Replicas(p)) {
		return errors.New("the ring has changed")
	}
	// By an older ring a replica may be one that has handed over meanwhile.
	for k, v := range c.data[p] {
		for _, id := range r.Replicas(p) {
			other := c.w.nodes[id-1]
			if have := max(other.data[p][k], other.passed[p][k]); have < v && !isDead(c.w.newest, id) {
				c.w.t.Errorf("node %d drops version %d of key %d of partition %d by epoch %d, and replica %d has %d", c.id, v, k, p, r.Epoch, id, have)
			}
		}
		c.passed[p][k] = max(c.passed[p][k], v)
	}
	c.data[p] = map[int]int{}
	return nil
}

// serve runs a message of an epoch at a node, if both are there and it takes it.
func (w *world) serve(from, to *node, epoch ring.Epoch, p ring.Partition, fn func()) (done bool) {
	w.pause(3)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.reaches(from.id, to.id) || to.since[p] > epoch {
		return false
	}
	fn()
	return true
}
