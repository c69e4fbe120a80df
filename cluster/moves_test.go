package cluster

import (
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

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/cluster/transfer"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// flock is a cluster whose membership changes while clients write.
type flock struct {
	t        *testing.T
	set, get *coordinator.Op

	mu    sync.Mutex
	nodes []*Node           // guarded by mu: those that clients use
	acked map[string]string // guarded by mu
	all   int               // nodes ever opened
	dcs   []string          // data centres of nodes, in turn; none for one

	next   [4]int // by client: its next write
	writes atomic.Int64
	failed atomic.Int64
	stop   chan struct{}
	done   sync.WaitGroup
}

func newFlock(t *testing.T) *flock {
	f := &flock{
		t: t, acked: make(map[string]string),
		set: &coordinator.Op{Name: "set", Write: true, Depends: coordinator.Never, Run: func(c *coordinator.Call) { c.Put(c.Args[0], 0) }},
		get: &coordinator.Op{Name: "get", Run: func(c *coordinator.Call) {
			c.Out = append(c.Out, c.Value...)
		}},
	}
	return f
}

// add opens a node, which joins if it is not the first.
func (f *flock) add() *Node {
	f.t.Helper()
	f.all++
	o := Options{
		Dir: "data", Storage: storage.Options{FS: vfs.NewMem(), Logger: zerolog.Nop(), MemtableSize: 1 << 20}, Name: fmt.Sprintf("n%d", f.all),
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: fmt.Sprintf("127.0.0.1:%d", f.all), Partitions: 16, BootID: "boot", Logger: zerolog.Nop(),
		Replication: Replication{N: 3, WriteTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second},
		Ops:         map[string]*coordinator.Op{"set": f.set, "get": f.get},
	}
	if len(f.dcs) > 0 {
		o.DC = f.dcs[f.all%len(f.dcs)]
	}
	if len(f.nodes) > 0 {
		o.Join = []string{f.nodes[0].gossip.Self().Gossip}
	}
	n, err := Open(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	select {
	case <-n.Joined():
	case <-time.After(time.Minute):
		f.t.Fatal("the node was not taken in")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = append(f.nodes, n)
	return n
}

// forget has clients use a node no more.
func (f *flock) forget(n *Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = slices.DeleteFunc(slices.Clone(f.nodes), func(m *Node) bool { return m == n })
}

func (f *flock) at(i int) *Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[i%len(f.nodes)]
}

// write writes keys of its own through all nodes in turn.
func (f *flock) write(client, i int) {
	key, value := fmt.Sprintf("%d:%d", client, i%500), fmt.Sprintf("%d:%d", client, i)
	err := f.at(i).Do(f.t.Context(), &coordinator.Request{
		Op: f.set, Key: []byte(key), Args: [][]byte{[]byte(value)}, Levels: coordinator.Levels{Mode: coordinator.Strict},
	})
	if f.writes.Add(1); err != nil {
		f.failed.Add(1)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked[key] = value
}

// begin starts clients.
func (f *flock) begin() {
	f.stop = make(chan struct{})
	for c := range f.next {
		f.done.Go(func() {
			for ; ; f.next[c]++ {
				select {
				case <-f.stop:
					return
				case <-time.After(time.Millisecond): // the rest of the tests wants to run, too
					f.write(c, f.next[c])
				}
			}
		})
	}
}

// end ends them, and checks that what was acknowledged last is read at every node.
func (f *flock) end() {
	f.t.Helper()
	close(f.stop)
	f.done.Wait()
	for key, value := range maps.Clone(f.acked) {
		for _, n := range f.nodes {
			r := coordinator.Request{Op: f.get, Key: []byte(key), Args: [][]byte{[]byte("get")}, Levels: coordinator.Levels{Mode: coordinator.Strict}}
			err := n.Do(f.t.Context(), &r)
			for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				err = n.Do(f.t.Context(), &r) // where little is run, nodes seem away for a while
			}
			if err != nil {
				f.t.Errorf("%s at %s: %v", key, n.o.Name, err)
			} else if got := string(r.Out); got != value && !f.later(got, value) {
				f.t.Errorf("%s is %q at %s, acknowledged was %q", key, got, n.o.Name, value)
			}
		}
	}
}

// later reports whether a value is of a later write of the same client, one whose
// outcome nobody knew.
func (f *flock) later(got, value string) bool {
	var a, b, c, d int
	if _, err := fmt.Sscanf(got+" "+value, "%d:%d %d:%d", &a, &b, &c, &d); err != nil {
		return false
	}
	return a == c && b > d
}

// rest waits until nothing moves, and every node holds what the ring gives it.
func (f *flock) rest(members int) *ring.Ring {
	f.t.Helper()
	why := ""
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if why = f.unrest(members); why == "" {
			return f.nodes[0].Ring()
		}
		if time.Now().After(end) {
			for _, n := range f.nodes {
				f.t.Logf("%s: epoch %d, %+v", n.o.Name, n.epoch(), n.Transfers())
			}
			f.t.Fatalf("it does not come to rest: %s", why)
		}
	}
}

func (f *flock) unrest(members int) string {
	for _, n := range f.nodes {
		r := n.Ring()
		switch {
		case r.Epoch != f.nodes[0].epoch():
			return n.o.Name + " has another ring"
		case len(r.Transfers) > 0:
			return fmt.Sprintf("%d transfers, the first %+v", len(r.Transfers), r.Transfers[0])
		case len(r.Members) != members:
			return fmt.Sprintf("%d members", len(r.Members))
		}
		for p := range ring.Partition(r.Q) {
			if n.leftOver(r, p) {
				return fmt.Sprintf("%s has partition %d", n.o.Name, p)
			}
			if len(r.Replicas(p)) != min(members, r.N) {
				return fmt.Sprintf("partition %d has %d replicas", p, len(r.Replicas(p)))
			}
		}
	}
	return ""
}

func (f *flock) replan(at *Node, c ring.Change) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	if _, err := at.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) {
		next, _, err := ring.Replan(r, c)
		return next, err
	}); err != nil {
		f.t.Fatal(err)
	}
}

// A ring with data grows, shrinks, and replaces a dead node, while clients write: every
// write that was acknowledged is read afterwards, and what has left is dropped.
func TestARingMovesUnderWrites(t *testing.T) {
	t.Parallel()
	f := newFlock(t)
	first := f.add()
	f.add()
	f.add()
	f.rest(3)
	f.begin()
	soon(t, "some writes", func() bool { return f.writes.Load() > 1000 })

	fourth := f.add()
	r := f.rest(4)
	if held := holdings(r, fourth.id.Node); held < 10 {
		t.Errorf("the fourth node holds %d of 48 replicas", held)
	}
	f.end()

	f.begin()
	f.forget(first) // its clients are told to use others
	f.replan(fourth, ring.Decommission{ID: first.id.Node})
	f.rest(3)
	if err := <-first.Refused(); !errors.Is(err, ErrNoPart) || !errors.Is(err, ErrLeft) {
		t.Error("it was not told that it has left")
	}
	if err := first.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	f.end()

	fifth := f.add()
	f.rest(4)
	dead := f.nodes[0]
	f.begin()
	f.forget(dead)
	if err := dead.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	f.replan(fifth, ring.Remove{ID: dead.id.Node})
	f.rest(3)
	f.end()
	t.Logf("%d writes, %d without success", f.writes.Load(), f.failed.Load())
	if f.failed.Load()*20 > f.writes.Load() {
		t.Errorf("%d of %d writes failed", f.failed.Load(), f.writes.Load())
	}
}

func holdings(r *ring.Ring, id ring.NodeID) (n int) {
	for p := range ring.Partition(r.Q) {
		if transfer.Concerns(r, p, id) {
			n++
		}
	}
	return n
}
