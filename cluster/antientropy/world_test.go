package antientropy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// engine is a store of records, in memory, with the sums that the real one keeps.
type engine struct {
	mu      sync.Mutex
	records map[string][]byte // guarded by mu
	order   []string          // guarded by mu: the keys, sorted, unless dirty
	dirty   bool
	sums    [Leaves]uint64
	blocks  [Leaves / blockLeaves]uint64
	marks   map[ring.Partition][]byte
	lost    [][2][]byte
	inexact map[uint32]bool // guarded by mu: leaves
	reads   atomic.Int64    // of records: what would read blocks
	rebuilt int
}

func newEngine() *engine {
	return &engine{records: map[string][]byte{}, marks: map[ring.Partition][]byte{}, inexact: map[uint32]bool{}}
}

func (e *engine) Get(dst, k []byte) ([]byte, bool, error) {
	e.reads.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	v, ok := e.records[string(k)]
	if !ok && e.isLost(k) {
		return dst, false, errDamaged
	}
	return append(dst, v...), ok, nil
}

var errDamaged = errors.New("damaged")

// isLost reports whether a key may have had a record. The caller holds mu.
func (e *engine) isLost(k []byte) bool {
	return slices.ContainsFunc(e.lost, func(r [2][]byte) bool { return bytes.Compare(k, r[0]) >= 0 && bytes.Compare(k, r[1]) < 0 })
}

func (e *engine) TryGet(dst, k []byte) ([]byte, bool, bool, error) {
	v, ok, err := e.Get(dst, k)
	return v, ok, true, err
}

func (e *engine) Set(k, value []byte, delta uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.records[string(k)]; !ok {
		e.dirty = true
	}
	e.records[string(k)] = bytes.Clone(value)
	e.change(k, delta)
	return nil
}

func (e *engine) change(k []byte, delta uint64) {
	token, _, _, err := key.ParseUser(k)
	if err != nil {
		panic(err)
	}
	l := leafOf(ring.Token(token))
	e.sums[l] ^= delta
	e.blocks[l/blockLeaves] ^= delta
}

func (e *engine) Delete(k []byte, delta uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.records, string(k))
	e.dirty = true
	e.change(k, delta)
	return nil
}

func (e *engine) Apply(c *replica.Change) error {
	if c.Remove {
		return e.Delete(c.Key, c.Delta)
	}
	return e.Set(c.Key, c.Value, c.Delta)
}

func (e *engine) Scan(lower, upper []byte, fn func(k, v []byte) bool) error {
	e.reads.Add(1)
	e.mu.Lock()
	for _, r := range e.lost {
		if bytes.Compare(lower, r[1]) < 0 && bytes.Compare(r[0], upper) < 0 {
			e.mu.Unlock()
			return errDamaged
		}
	}
	if e.dirty {
		e.order, e.dirty = slices.Sorted(maps.Keys(e.records)), false
	}
	order := e.order
	e.mu.Unlock()
	i, _ := slices.BinarySearch(order, string(lower))
	for ; i < len(order) && order[i] < string(upper); i++ {
		e.mu.Lock()
		v, ok := e.records[order[i]]
		e.mu.Unlock()
		if ok && !fn([]byte(order[i]), v) {
			break
		}
	}
	return nil
}

// side is the rest of Store that the engine gives; the replica gives the other half.
type side struct {
	*replica.Replica
	*engine
}

func (s side) AppendSums(dst []uint64, lo, hi uint32) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.sums[lo:hi]...)
}

func (s side) Sum(lo, hi uint32) (x uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := lo; l < hi; {
		if l%blockLeaves == 0 && hi-l >= blockLeaves {
			x ^= s.blocks[l/blockLeaves]
			l += blockLeaves
			continue
		}
		x ^= s.sums[l]
		l++
	}
	return x
}

// blockLeaves is how many leaves have a sum of their own besides, for Sum.
const blockLeaves = 4096

// resum makes sums and blocks those of the records. The caller holds mu, or nobody
// else is there.
func (e *engine) resum(lo, hi uint32) {
	clear(e.sums[lo:hi])
	for k, v := range e.records {
		token, _, _, _ := key.ParseUser([]byte(k))
		if l := leafOf(ring.Token(token)); l >= lo && l < hi {
			e.sums[l] ^= replica.Sum([]byte(k), v)
		}
	}
	e.reblock()
}

// reblock makes the blocks those of the sums.
func (e *engine) reblock() {
	clear(e.blocks[:])
	for l, s := range e.sums {
		e.blocks[l/blockLeaves] ^= s
	}
}

// len returns how many records there are.
func (e *engine) len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.records)
}

// at returns the record of a key, nil for none.
func (e *engine) at(name string) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Clone(e.records[string(engineKey(name))])
}

// image is a copy of a disk.
type image struct {
	records map[string][]byte
	marks   map[ring.Partition][]byte
}

func (e *engine) image() image {
	e.mu.Lock()
	defer e.mu.Unlock()
	return image{maps.Clone(e.records), maps.Clone(e.marks)}
}

// restore puts an image back. No node runs on the engine.
func (e *engine) restore(i image) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.records, e.marks, e.dirty = maps.Clone(i.records), maps.Clone(i.marks), true
	e.resum(0, Leaves)
}

func (s side) Exact(lo, hi uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.inexact {
		if l >= lo && l < hi {
			return false
		}
	}
	return true
}

func (s side) Rebuild(_ context.Context, lo, hi uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.lost {
		first, last := leafRange{lo, hi}.tokens().bounds()
		if bytes.Compare(r[0], last) < 0 && bytes.Compare(first, r[1]) < 0 {
			return errDamaged
		}
	}
	s.rebuilt += int(hi - lo)
	s.resum(lo, hi)
	maps.DeleteFunc(s.inexact, func(l uint32, _ bool) bool { return l >= lo && l < hi })
	return nil
}

func (s side) Lost(lower, upper []byte) (out [][2][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.lost {
		if bytes.Compare(r[0], upper) < 0 && bytes.Compare(lower, r[1]) < 0 {
			out = append(out, r)
		}
	}
	return out
}

func (s side) Refilled(lower, upper []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = slices.DeleteFunc(s.lost, func(r [2][]byte) bool { return bytes.Compare(lower, r[0]) <= 0 && bytes.Compare(r[1], upper) <= 0 })
	return nil
}

func (s side) Marks(p ring.Partition) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marks[p], nil
}

func (s side) SaveMarks(marks map[ring.Partition][]byte, _ bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.marks, marks)
	return nil
}

// world is nodes that are all replicas of everything.
type world struct {
	t     *testing.T
	ring  *ring.Ring
	nodes []*node
	moved atomic.Int64
	// meet, when set, is called with each request before it is served.
	meet func(from, to *node, op byte)
}

// node is one of them. It plays its own requests.
type node struct {
	w       *world
	id      ring.NodeID
	engine  *engine
	replica *replica.Replica
	keeper  *Keeper
	clock   *hlc.Clock
	down    atomic.Bool

	mu       sync.Mutex
	doubts   uint32
	settled  map[ring.Partition]uint32
	unfilled map[ring.Partition]bool
	hints    map[ring.Partition]bool
}

const partitions = 4

func newWorld(t *testing.T, n int) *world {
	w := &world{t: t}
	var members []ring.Member
	for i := range n {
		members = append(members, ring.Member{ID: ring.NodeID(i + 1), Name: fmt.Sprintf("n%d", i+1), Weight: 1, DC: "dc", Rack: fmt.Sprint("r", i)})
	}
	var err error
	w.ring, _, err = ring.Build(nil, members, ring.Options{ClusterID: 1, Partitions: partitions, N: n})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		w.nodes = append(w.nodes, &node{w: w, id: ring.NodeID(i + 1), engine: newEngine()})
		w.nodes[i].open(false)
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.close()
		}
	})
	return w
}

// open begins a life of a node.
func (n *node) open(emptied bool) {
	n.mu.Lock()
	n.settled, n.unfilled = map[ring.Partition]uint32{}, map[ring.Partition]bool{}
	if n.hints == nil {
		n.hints = map[ring.Partition]bool{}
	}
	n.mu.Unlock()
	n.clock = hlc.New(hlc.Options{Now: time.Now, Reserve: func(hlc.Timestamp) error { return nil }})
	n.replica = replica.New(n.engine, replica.Options{Workers: 1, Corrupt: func(err error) bool { return errors.Is(err, errDamaged) }})
	n.keeper = New(Options{
		Self: n.id, Ring: func() *ring.Ring { return n.w.ring }, Now: n.clock.Now,
		Store: side{n.replica, n.engine}, Peers: n, Requests: n, Logger: zerolog.Nop(),
	})
	if err := n.keeper.Load(emptied); err != nil {
		n.w.t.Fatal(err)
	}
}

func (n *node) close() {
	n.keeper.Close()
	n.replica.Close()
}

func (n *node) Connected(id ring.NodeID) bool {
	return !n.down.Load() && !n.w.nodes[id-1].down.Load()
}
func (n *node) Name(id ring.NodeID) string { return fmt.Sprintf("n%d", id) }

func (n *node) Ask(ctx context.Context, id ring.NodeID, body []byte) ([]byte, error) {
	to := n.w.nodes[id-1]
	if !n.Connected(id) {
		return nil, errUnreachable
	}
	if n.w.meet != nil {
		n.w.meet(n, to, body[0])
	}
	if !n.Connected(id) {
		return nil, errUnreachable
	}
	if err := to.clock.Observe(n.clock.Last()); err != nil {
		return nil, err
	}
	answer, err := to.keeper.Serve(ctx, n.id, bytes.Clone(body))
	n.w.moved.Add(int64(len(body) + len(answer)))
	return bytes.Clone(answer), err
}

func (n *node) Doubt(ring.Partition) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.doubts
}

func (n *node) Settle(p ring.Partition, doubt uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if doubt == n.doubts {
		n.settled[p]++
	}
}

func (n *node) SetFilled(p ring.Partition, filled bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unfilled[p] = !filled
}

func (n *node) answers() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, u := range n.unfilled {
		if u {
			return false
		}
	}
	return true
}

func (n *node) Busy() bool                                 { return false }
func (n *node) Keys(context.Context, ring.Partition) int64 { return 0 }
func (n *node) WriteQuorum(replicas int) int               { return replicas/2 + 1 }
func (n *node) Purging() bool                              { return false }
func (n *node) Unsteady(p ring.Partition) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hints[p]
}

// write is a write at one replica, or at several that got the same.
type write struct {
	n    *node
	key  replica.Key
	sib  version.Sibling
	made []byte
	done chan error
}

func (w *write) Key() replica.Key { return w.key }
func (w *write) Keep()            {}
func (w *write) Done(err error)   { w.done <- err }

func (w *write) Apply(s *replica.Scratch) ([]byte, error) {
	at, err := w.n.clock.After(s.Object.Context.Newest())
	if err != nil {
		return nil, err
	}
	if _, err := s.Object.Update(version.Dot{Node: version.Incarnation(w.n.id), Time: at}, nil, w.sib); err != nil {
		return nil, err
	}
	w.made = s.Object.Append(nil)
	return w.made, nil
}

// put writes at the first of some nodes and brings the object to the others.
func (w *world) put(name string, s version.Sibling, at ...int) {
	w.t.Helper()
	k := replica.Key{Token: ring.TokenOf(0, []byte(name)), Name: []byte(name)}
	t := &write{n: w.nodes[at[0]], key: k, sib: s, done: make(chan error, 1)}
	w.nodes[at[0]].replica.Do(t)
	if err := <-t.done; err != nil {
		w.t.Fatal(err)
	}
	for _, i := range at[1:] {
		w.bring(name, t.made, i)
	}
}

func (w *world) bring(name string, object []byte, at int) {
	w.t.Helper()
	rec := replica.Record{Key: engineKey(name), Value: object}
	if err := w.nodes[at].replica.Mend([]replica.Record{rec}, 0); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) set(name, value string, at ...int) {
	w.t.Helper()
	w.put(name, version.Sibling{Kind: version.String, Value: []byte(value)}, at...)
}

func (w *world) del(name string, at ...int) {
	w.t.Helper()
	w.put(name, version.Sibling{Kind: version.Tombstone}, at...)
}

func engineKey(name string) []byte {
	return key.AppendUser(nil, uint64(ring.TokenOf(0, []byte(name))), 0, []byte(name))
}

// get returns what a node's readers see, "-" for nothing.
func (n *node) get(name string) string {
	s, _, err := n.replica.TryRead(replica.Key{Token: ring.TokenOf(0, []byte(name)), Name: []byte(name)})
	defer n.replica.Release(s)
	if err != nil {
		return err.Error()
	}
	v := s.Object.Value(time.Now().UnixMilli(), nil)
	if !v.Exists {
		return "-"
	}
	return string(v.Data)
}

// all are the partitions.
func all() (ps []ring.Partition) {
	for p := range partitions {
		ps = append(ps, ring.Partition(p))
	}
	return ps
}

// round runs a round at a node and sums up.
func (w *world) round(at int) (t Tally) {
	t.Complete = true
	for _, one := range w.nodes[at].keeper.Round(w.t.Context(), all()) {
		t.add(&one)
		t.Complete = t.Complete && one.Complete
		if t.Reason == "" {
			t.Reason = one.Reason
		}
	}
	return t
}

// level checks that all nodes hold the same records, and sums that are theirs.
func (w *world) level() {
	w.t.Helper()
	first := w.nodes[0].engine.image().records
	for _, n := range w.nodes {
		n.engine.mu.Lock()
		held := n.engine.sums
		n.engine.resum(0, Leaves)
		same := held == n.engine.sums
		n.engine.mu.Unlock()
		if !same {
			w.t.Errorf("the sums of %v are not those of its records", n.id)
		}
		if have := n.engine.image().records; !maps.EqualFunc(have, first, bytes.Equal) {
			w.t.Errorf("%v holds %d records, other ones than the %d of the first", n.id, len(have), len(first))
		}
	}
}
