package coordinator

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// memory is a replica's store in a map.
type memory struct {
	mu      sync.Mutex
	records map[string][]byte // guarded by mu
	refuse  error             // guarded by mu: what Set says
	noHints bool              // guarded by mu: there is no room for hints
	cold    bool              // guarded by mu: TryGet needs the disk
	gate    chan struct{}     // guarded by mu: when set, Get waits until it is closed
}

func (m *memory) Get(dst, key []byte) ([]byte, bool, error) {
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.records[string(key)]
	return append(dst, v...), ok, nil
}

func (m *memory) TryGet(dst, key []byte) ([]byte, bool, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cold {
		return dst, false, false, nil
	}
	v, ok := m.records[string(key)]
	return append(dst, v...), ok, true, nil
}

func (m *memory) Set(key, value []byte, _ uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return m.refuse
	}
	m.records[string(key)] = slices.Clone(value)
	return nil
}

func (m *memory) Apply(c *replica.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return m.refuse
	}
	for _, r := range append(c.Beside, replica.Record{Key: c.Key, Value: c.Value}) {
		switch {
		case r.Value != nil:
			m.records[string(r.Key)] = slices.Clone(r.Value)
		case c.Remove || string(r.Key) != string(c.Key):
			delete(m.records, string(r.Key))
		}
	}
	return nil
}

func (m *memory) Delete(key []byte, _ uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, string(key))
	return nil
}

func (m *memory) Scan([]byte, []byte, func(key, value []byte) bool) error { return nil }

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = err
}

// talk is three nodes whose messages the test delivers one by one.
type talk struct {
	t     *testing.T
	ring  *ring.Ring
	nodes map[ring.NodeID]*talker
	mu    sync.Mutex
	queue []envelope // guarded by mu
	// behind are nodes that have heard of a newer ring, each with the node that has it.
	behind [][2]ring.NodeID // guarded by mu
}

type envelope struct {
	from, to ring.NodeID
	kind     wire.Kind
	bytes    []byte
}

type talker struct {
	*Coordinator
	id     ring.NodeID
	talk   *talk
	store  *memory
	onSend func(m *wire.Message) error
	closed sync.Once
}

var errTestFull = errors.New("queue full")

func (n *talker) Send(to ring.NodeID, m *wire.Message) error {
	if n.onSend != nil {
		if err := n.onSend(m); err != nil {
			return err
		}
	}
	n.talk.mu.Lock()
	defer n.talk.mu.Unlock()
	n.talk.queue = append(n.talk.queue, envelope{n.id, to, m.Kind, wire.Append(nil, m)})
	return nil
}

func (n *talker) stop() { n.closed.Do(n.Coordinator.Close) }

// testOps are the operations of the conversations.
func testOps() map[string]*Op {
	set := &Op{Name: "set", Write: true, Depends: Never, Run: func(c *Call) {
		c.Put(c.Args[2], 0)
		c.Out = append(c.Out, "OK"...)
	}}
	setnx := &Op{Name: "setnx", Write: true, Run: func(c *Call) {
		if c.Exists {
			c.Out = append(c.Out, '0')
			return
		}
		c.Put(c.Args[2], 0)
		c.Out = append(c.Out, '1')
	}}
	setxx := &Op{Name: "setxx", Write: true, Run: func(c *Call) {
		if !c.Exists {
			c.Out = append(c.Out, '0')
			return
		}
		c.Put(c.Args[2], 0)
		c.Out = append(c.Out, '1')
	}}
	get := &Op{Name: "get", Run: func(c *Call) { c.Out = append(c.Out, c.Value...) }}
	add := &Op{Name: "append", Write: true, Run: func(c *Call) { c.Put(slices.Concat(c.Value, c.Args[2]), 0) }}
	return map[string]*Op{"set": set, "setnx": setnx, "setxx": setxx, "get": get, "append": add}
}

// newTalk starts n settled nodes, all replicas of everything; three are one data
// centre.
func newTalk(t *testing.T, n int, more ...func(*Options)) *talk { return newTalkOf(t, n, n, more...) }

// newTalkOf starts nodes of which each key has some as replicas.
func newTalkOf(t *testing.T, n, replicas int, more ...func(*Options)) *talk {
	k := &talk{t: t, nodes: make(map[ring.NodeID]*talker)}
	var members []ring.Member
	for i := range n {
		id, dc := ring.NodeID(i+1), "east"
		if replicas > 3 && i >= 3 {
			dc = "west"
		}
		members = append(members, ring.Member{ID: id, Incarnation: uint64(i + 1), Name: id.String(), DC: dc, Rack: "r", Weight: 1, RPC: "x:1", Gossip: "x:2", Client: "x:3"})
	}
	r, _, err := ring.Build(nil, members, ring.Options{ClusterID: 1, ClusterName: "test", Partitions: 16, N: replicas})
	if err != nil {
		t.Fatal(err)
	}
	k.ring = r
	for _, m := range members {
		node := &talker{id: m.ID, talk: k, store: &memory{records: make(map[string][]byte)}}
		rep := replica.New(node.store, replica.Options{Workers: 1})
		o := Options{
			Self: m.ID, Incarnation: version.Incarnation(m.Incarnation), Clock: hlc.New(hlc.Options{}), Replica: rep, Transport: node, Hints: hintMap{node.store},
			Ops: testOps(), Defaults: Levels{R: Quorum, W: Quorum, Mode: Strict}, Overloaded: errTestFull, Logger: zerolog.Nop(),
		}
		for _, f := range more {
			f(&o)
		}
		node.Coordinator = New(o)
		t.Cleanup(func() { node.stop(); rep.Close() })
		for _, other := range members {
			node.SetReach(other.ID, Up)
		}
		node.SetRing(r, true)
		k.nodes[m.ID] = node
	}
	return k
}

// roles returns the nodes in the order of the key's preference list.
func (k *talk) roles(key string) (list []*talker) {
	for _, id := range k.ring.Replicas(k.ring.PartitionOf(ring.TokenOf(0, []byte(key)))) {
		list = append(list, k.nodes[id])
	}
	return list
}

// outcome is a client's view of a request.
type outcome struct {
	done chan struct{}
	n    int
	Request
}

func (a *outcome) Complete(*Request) {
	a.n++
	if a.n > 1 {
		panic("a request was completed twice")
	}
	close(a.done)
}

func (a *outcome) finished() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (n *talker) run(op string, args ...string) *outcome { return n.runAt(Levels{}, op, args...) }

func (n *talker) runAt(l Levels, op string, args ...string) *outcome {
	a := &outcome{done: make(chan struct{})}
	a.Op, a.Key, a.Args, a.Owner, a.Levels = n.o.Ops[op], []byte(args[0]), [][]byte{[]byte(op)}, a, l
	for _, s := range args {
		a.Args = append(a.Args, []byte(s))
	}
	n.Submit(&a.Request)
	return a
}

// take removes the first message of a kind between two nodes; a nil node is any.
func (k *talk) take(from, to *talker, kind wire.Kind) (envelope, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, e := range k.queue {
		if (from == nil || e.from == from.id) && (to == nil || e.to == to.id) && (kind == 0 || e.kind == kind) {
			k.queue = slices.Delete(k.queue, i, i+1)
			return e, true
		}
	}
	return envelope{}, false
}

// deliver brings one message, which must be there.
func (k *talk) deliver(from, to *talker, kind wire.Kind) {
	k.t.Helper()
	e, ok := k.take(from, to, kind)
	if !ok {
		k.t.Fatalf("no %v from %v to %v", kind, from.id, to.id)
	}
	k.hand(e)
}

func (k *talk) hand(e envelope) {
	var m wire.Message
	if _, err := m.Decode(e.bytes); err != nil {
		k.t.Fatal(err)
	}
	k.nodes[e.to].Receive(e.from, &m)
}

// deliverAll brings everything until nothing is under way.
func (k *talk) deliverAll() {
	for {
		e, ok := k.take(nil, nil, 0)
		if !ok {
			return
		}
		k.hand(e)
	}
}

// deliverSome brings what is under way between two nodes.
func (k *talk) deliverSome(from, to *talker) {
	for {
		e, ok := k.take(from, to, 0)
		if !ok {
			return
		}
		k.hand(e)
	}
}

// drop loses one message, which must be there.
func (k *talk) drop(from, to *talker, kind wire.Kind) {
	k.t.Helper()
	if _, ok := k.take(from, to, kind); !ok {
		k.t.Fatalf("no %v from %v to %v", kind, from.id, to.id)
	}
}

// strand leaves a version at one node only, whose writer gave up.
func (k *talk) strand(n *talker, key, value string) {
	k.t.Helper()
	n.runAt(Levels{W: One}, "set", key, value)
	for ok := true; ok; {
		_, ok = k.take(nil, nil, 0)
	}
}

// alone makes n write as if it were the soft primary.
func (k *talk) alone(n *talker, f func()) {
	for id := range k.nodes {
		if id != n.id {
			n.SetReach(id, Down)
		}
	}
	f()
	for id := range k.nodes {
		n.SetReach(id, Up)
	}
}

func (k *talk) get(n *talker, key string) string {
	k.t.Helper()
	a := n.runAt(Levels{R: All}, "get", key)
	k.deliverAll()
	if !a.finished() || a.Err != nil {
		k.t.Fatalf("get: finished %v, error %v", a.finished(), a.Err)
	}
	return string(a.Out)
}

func TestAForwardedRequestIsNotTouchedOnceItIsComplete(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	primary, entry := list[0], list[1]
	lost := make(chan struct{})
	entry.onSend = func(m *wire.Message) error {
		if m.Kind != wire.Write {
			return nil
		}
		// The connection breaks while the write is on its way out.
		go func() { entry.Lost(primary.id); close(lost) }()
		time.Sleep(20 * time.Millisecond)
		return errors.New("unreachable")
	}
	w := entry.run("set", "k", "v")
	<-lost
	k.deliverAll()
	if !w.finished() {
		t.Fatal("never completed")
	}
	if errors.Is(w.Err, ErrTimeout) {
		t.Fatalf("nothing was sent, the client hears: %v", w.Err)
	}
}

func TestAForwardThatCannotBeSentGoesToTheNextReplica(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	third := list[2]
	third.onSend = func(m *wire.Message) error {
		if m.Kind == wire.Write {
			third.onSend = nil
			return errors.New("unreachable")
		}
		return nil
	}
	w := third.run("set", "k", "v")
	k.deliverAll()
	if !w.finished() || w.Err != nil {
		t.Fatalf("two replicas of three were there: %v", w.Err)
	}
}

func TestAReadGoesOnWhenAReplicaCannotBeRepaired(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	a, c := list[0], list[2]
	c.store.fail(ErrFull)
	w := a.run("set", "k", "v")
	k.deliverAll()
	if w.Err != nil {
		t.Fatal(w.Err)
	}
	r := c.run("get", "k")
	k.deliverAll()
	if !r.finished() || r.Err != nil || string(r.Out) != "v" {
		t.Fatalf("a and b hold the value, c's disk is full: finished %v, %q, %v", r.finished(), r.Out, r.Err)
	}
	r = a.run("get", "k")
	k.deliverAll()
	if !r.finished() || r.Err != nil || string(r.Out) != "v" {
		t.Fatalf("finished %v, %q, %v", r.finished(), r.Out, r.Err)
	}
}

func TestAnAlarmOfTheDistantPastRings(t *testing.T) {
	fired := make(chan uint64, 2)
	a := newAlarms(func(id uint64, _ alarm) { fired <- id }, func(uint64) bool { return true }, func() {})
	defer a.close()
	a.set(1, alarmTimeout, -time.Minute)
	select {
	case <-fired:
	case <-time.After(5 * time.Second):
		t.Fatal("it did not ring")
	}
}

func TestAClosedCoordinatorCompletesWhatComesStill(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	entry := list[2]
	entry.stop()
	for _, op := range []string{"set", "setnx", "get"} {
		w := entry.run(op, "k", "v")
		if !w.finished() || w.Err == nil {
			t.Errorf("%s: finished %v, error %v", op, w.finished(), w.Err)
		}
	}
}
