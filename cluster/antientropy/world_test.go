package antientropy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
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

// world is nodes that are all replicas of everything.
type world struct {
	t     *testing.T
	ring  *ring.Ring
	nodes []*node
	moved atomic.Int64
	// clients says that nodes serve some.
	clients atomic.Bool
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
	moving   map[ring.Partition]bool
	handing  bool // hints, of all partitions
}

const partitions = 4

func newWorld(t *testing.T, n int) *world { return newWorldOf(t, n, n) }

// newWorldOf returns a world of n nodes of which so many are replicas of each partition.
func newWorldOf(t *testing.T, n, replicas int) *world {
	w := &world{t: t}
	var members []ring.Member
	for i := range n {
		members = append(members, ring.Member{ID: ring.NodeID(i + 1), Name: fmt.Sprintf("n%d", i+1), Weight: 1, DC: "dc", Rack: fmt.Sprint("r", i)})
	}
	var err error
	w.ring, _, err = ring.Build(nil, members, ring.Options{ClusterID: 1, Partitions: partitions, N: replicas})
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
func (n *node) Clients() bool                              { return n.w.clients.Load() }
func (n *node) Keys(context.Context, ring.Partition) int64 { return 0 }
func (n *node) WriteQuorum(replicas int) int               { return replicas/2 + 1 }
func (n *node) Purging() bool                              { return false }
func (n *node) Moving(p ring.Partition) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.moving[p]
}
func (n *node) Handing(ring.Partition) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.handing
}

// hand says whether a node brings the others hints.
func (n *node) hand(now bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handing = now
}

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
