package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/consensus"
	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// fleet is some nodes in one ring.
type fleet struct {
	t     testing.TB
	nodes []*Node
	o     []Options
}

func (f *fleet) open(i int) {
	f.t.Helper()
	n, err := Open(f.o[i])
	if err != nil {
		f.t.Fatal(err)
	}
	f.nodes[i] = n
}

func (f *fleet) shut(i int) {
	f.t.Helper()
	if err := f.nodes[i].Shutdown(context.Background()); err != nil {
		f.t.Error(err)
	}
}

func (f *fleet) whole() bool {
	for _, n := range f.nodes {
		if r := n.Ring(); r == nil || len(r.Members) != len(f.nodes) || r.Epoch != f.nodes[0].epoch() {
			return false
		}
		for _, m := range f.nodes {
			if m != n && !n.usable(m.id.Node) {
				return false
			}
		}
	}
	return true
}

// openFleet starts nodes n0, n1, ... that are in one ring and connected. Each keeps its addresses
// when it is opened again.
func openFleet(t testing.TB, size int, disk func(i int) vfs.FS) *fleet {
	f := &fleet{t: t, nodes: make([]*Node, size), o: make([]Options, size)}
	for i := range size {
		f.o[i] = Options{
			Dir: "data", Storage: storage.Options{FS: disk(i), Logger: zerolog.Nop()}, Name: fmt.Sprint("n", i),
			Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: fmt.Sprintf("127.0.0.1:%d", i+1), Partitions: 16,
			BootID: "boot", Ops: map[string]*coordinator.Op{}, Logger: zerolog.Nop(),
		}
		if b, ok := t.(*testing.B); ok {
			f.o[i].Dir = b.TempDir()
		}
		if i > 0 {
			f.o[i].Join = []string{f.o[0].Gossip}
		}
		f.open(i)
		f.o[i].Gossip, f.o[i].RPC = f.nodes[i].gossip.Self().Gossip, f.nodes[i].o.RPC
		t.Cleanup(func() { f.shut(i) })
	}
	for end := time.Now().Add(time.Minute); !f.whole(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("they do not become one ring")
		}
	}
	return f
}

func inMemory(int) vfs.FS { return vfs.NewMem() }

// heavier adds one to what a member weighs, which moves nothing in a ring of so few nodes.
func heavier(id ring.NodeID) func(*ring.Ring) (*ring.Ring, error) {
	return func(r *ring.Ring) (*ring.Ring, error) {
		next, _, err := ring.Replan(r, ring.Weight{ID: id, W: r.Member(id).Weight + 1})
		return next, err
	}
}

func TestTwoOperatorsAtOnce(t *testing.T) {
	t.Parallel()
	f := openFleet(t, 3, inMemory)
	before := f.nodes[0].epoch()
	var wg sync.WaitGroup
	for _, n := range f.nodes {
		wg.Go(func() {
			for i := range 3 {
				// A change may find its own effect there, and is one that makes no second of it.
				_, err := n.Change(t.Context(), func(r *ring.Ring) (*ring.Ring, error) {
					next, _, err := ring.Replan(r, ring.Weight{ID: n.id.Node, W: float64(2 + i)})
					return next, err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	soon(t, "all to have the newest ring", func() bool {
		for _, n := range f.nodes {
			if n.epoch() < before+9 {
				return false
			}
		}
		return f.whole()
	})
	for _, m := range f.nodes[1].Ring().Members {
		if m.Weight != 4 {
			t.Errorf("%s weighs %v", m.Name, m.Weight)
		}
	}
}

// Without a majority the ring stays and requests go on. Recovered by force, the cluster goes on
// without those that are lost; who of them comes back is told so, and ends.
func TestTheMajorityIsLost(t *testing.T) {
	t.Parallel()
	f := openFleet(t, 3, inMemory)
	n := f.nodes[0]
	if err := n.Recover(t.Context()); !errors.Is(err, ErrMajority) {
		t.Fatalf("all are there: %v", err)
	}
	f.shut(1)
	f.shut(2)
	_, err := n.Change(t.Context(), heavier(n.id.Node))
	if !errors.Is(err, consensus.ErrNoMajority) || !strings.Contains(err.Error(), "n1") || !strings.Contains(err.Error(), "n2") {
		t.Fatal(err)
	}
	put := &coordinator.Op{Name: "put", Write: true, Depends: coordinator.Never, Run: func(c *coordinator.Call) { c.Put(c.Args[0], 0) }}
	write := func() error {
		return n.Do(t.Context(), &coordinator.Request{Op: put, Key: []byte("k"), Args: [][]byte{{1}}, Levels: coordinator.Levels{W: coordinator.One, Timeout: time.Second}})
	}
	if err := write(); err != nil {
		t.Errorf("a write without the others: %v", err)
	}
	if err := n.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := n.Ring()
	if r.Generation != 1 || len(r.Voters()) != 1 {
		t.Errorf("generation %d with %d voters", r.Generation, len(r.Voters()))
	}
	if _, err := n.Change(t.Context(), heavier(n.id.Node)); err != nil {
		t.Errorf("the ring is frozen as before: %v", err)
	}
	f.open(1)
	if err := ends(t, f.nodes[1], ErrNoPart); !strings.Contains(err.Error(), "n1 was removed from the cluster") {
		t.Error(err)
	}
	if n.rpc.Connected(f.nodes[1].id.Node) {
		t.Error("it was let in")
	}
	f.open(2)
	ends(t, f.nodes[2], ErrNoPart)
}

// A loss of power at all nodes gives all of them new incarnations, and none loses its vote. The ring
// learns of their new lives.
func TestAllLosePower(t *testing.T) {
	t.Parallel()
	disks := []*vfs.Mem{vfs.NewMem(), vfs.NewMem(), vfs.NewMem()}
	f := openFleet(t, 3, func(i int) vfs.FS { return disks[i] })
	for i := range f.nodes {
		f.o[i].Storage.FS, f.o[i].BootID = disks[i].Clone(), "another boot"
		f.shut(i)
	}
	for i := range f.nodes {
		id := f.nodes[i].id
		f.open(i)
		if f.nodes[i].id.Incarnation == id.Incarnation {
			t.Fatal("it is in its old life")
		}
	}
	soon(t, "them to be connected", f.whole)
	if _, err := f.nodes[1].Change(t.Context(), heavier(f.nodes[1].id.Node)); err != nil {
		t.Fatal(err)
	}
	soon(t, "the ring to know their lives", func() bool {
		for _, n := range f.nodes {
			if m := f.nodes[0].Ring().Member(n.id.Node); m.Incarnation != n.id.Incarnation {
				return false
			}
		}
		return f.whole()
	})
}

// A node that is declared dead and lives is told, and ends.
func TestARemovedNodeEnds(t *testing.T) {
	t.Parallel()
	f := openFleet(t, 3, inMemory)
	gone := f.nodes[2].id.Node
	if _, err := f.nodes[0].Change(t.Context(), func(r *ring.Ring) (*ring.Ring, error) {
		next, _, err := ring.Replan(r, ring.Remove{ID: gone})
		return next, err
	}); err != nil {
		t.Fatal(err)
	}
	if err := ends(t, f.nodes[2], ErrNoPart); !strings.Contains(err.Error(), "start it with an empty data directory") {
		t.Error(err)
	}
	if f.nodes[0].rpc.Connected(gone) {
		t.Error("it is still connected")
	}
	f.shut(2)
	f.open(2) // it does not know from its disk
	ends(t, f.nodes[2], ErrNoPart)
}

// What does not fit is refused, and nothing changes.
func TestJoinsThatAreRefused(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	epoch := n.epoch()
	o := aloneOptions(vfs.NewMem())
	o.Name, o.Join, o.Partitions = "beside", []string{n.gossip.Self().Gossip}, 32
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := ends(t, m, ErrRefused); !strings.Contains(err.Error(), "16 partitions") {
		t.Error(err)
	}
	if err := m.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	meta := n.meta()
	meta.NodeID++
	meta.Name, meta.RPC = "other", "127.0.0.1:1"
	body, err := meta.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.serveJoin(t.Context(), 1<<63, methodJoin, body); err == nil || !strings.Contains(err.Error(), "cannot be reached at 127.0.0.1:1") {
		t.Errorf("a node that nobody could speak to: %v", err)
	}
	twin := n.member()
	twin.ID++
	if _, err := n.takeIn(t.Context(), twin, true); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), `named "alone" already`) {
		t.Errorf("a name that is taken: %v", err)
	}
	other, _, err := ring.Build(nil, []ring.Member{n.member()}, ring.Options{ClusterID: 1, ClusterName: "other", Partitions: 16})
	if err != nil {
		t.Fatal(err)
	}
	request := consensus.Request{Kind: consensus.Learn, Ring: other}
	if _, err := n.servePaxos(1<<63, request.Encode()); err == nil {
		t.Error("the ring of another cluster was taken")
	}
	vote := consensus.Request{Kind: consensus.Prepare, Base: consensus.BaseOf(n.Ring()), Ballot: consensus.Ballot{Counter: 9, Node: 9}}
	if _, err := n.servePaxos(1<<63, vote.Encode()); !errors.Is(err, ErrRefused) {
		t.Errorf("who is no member was promised something: %v", err)
	}
	if n.epoch() != epoch {
		t.Errorf("the ring is of epoch %d, and was of %d", n.epoch(), epoch)
	}
}

// A node that waits for commit is a member that holds nothing and has no vote, whatever is stored.
func TestAJoinThatWaits(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	n.replica.MarkHoldsData()
	o := aloneOptions(vfs.NewMem())
	o.Name, o.Join, o.AwaitCommit = "beside", []string{n.gossip.Self().Gossip}, true
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	soon(t, "both to be connected", func() bool { return m.epoch() != 0 && m.epoch() == n.epoch() && m.rpc.Connected(n.id.Node) })
	r := n.Ring()
	if s := r.Member(m.id.Node).State; s != ring.Joining || len(r.Voters()) != 1 || r.EffectiveN() != 1 {
		t.Errorf("it is %v; %d voters, %d replicas", s, len(r.Voters()), r.EffectiveN())
	}
}

// A directory that has a ring and no vote has lost what it promised, unless it is of the release
// before.
func TestALostRegister(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	open := func() *Node {
		n, err := Open(aloneOptions(disk))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	shut := func(n *Node) {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	n := open()
	before := n.id.Incarnation
	shut(n)
	n = open()
	if n.id.Incarnation != before {
		t.Error("another life without a reason")
	}
	shut(n)
	if err := (registerFile{disk, "data"}).remove(); err != nil {
		t.Fatal(err)
	}
	n = open()
	if n.id.Incarnation == before {
		t.Error("it votes in a life whose promises are lost")
	}
	if _, err := n.Change(t.Context(), heavier(n.id.Node)); !errors.Is(err, consensus.ErrNoMajority) {
		t.Errorf("it voted: %v", err)
	}
	if err := n.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := n.Change(t.Context(), heavier(n.id.Node)); err != nil {
		t.Error(err)
	}
	shut(n)
}

// A member that was away while a place was taken learns from the ring whose it is.
func TestTheRingEndsALife(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	r := withAnother(t, n)
	if err := n.adopt(r); err != nil {
		t.Fatal(err)
	}
	id := n.id.Node + 1
	old := rpc.Life{Incarnation: r.Member(id).Incarnation, Since: 10}
	if err := n.admit(id, old, r.Epoch); err != nil {
		t.Fatal(err)
	}
	next, err := ring.Incarnate(r, id, 77, *r.Member(id))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.adopt(next); err != nil {
		t.Fatal(err)
	}
	if err := n.admit(id, old, next.Epoch); !errors.Is(err, rpc.ErrDisplaced) {
		t.Errorf("the old life: %v", err)
	}
	if err := n.admit(id, rpc.Life{Incarnation: 77, Since: 20}, next.Epoch); err != nil {
		t.Errorf("the new one: %v", err)
	}
}

// BenchmarkChange is a change of the register on real disks, over loopback.
func BenchmarkChange(b *testing.B) {
	for _, size := range []int{1, 3, 5} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := openFleet(b, size, func(int) vfs.FS { return vfs.OS{} })
			for b.Loop() {
				if _, err := f.nodes[0].Change(b.Context(), heavier(f.nodes[0].id.Node)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
