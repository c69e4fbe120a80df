package coordinator

import (
	"testing"

	"github.com/rs/zerolog"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// oneRecord is a store of one record, which allocates nothing.
type oneRecord struct{ key, value []byte }

func (s *oneRecord) Get(dst, key []byte) ([]byte, bool, error) {
	if string(key) != string(s.key) {
		return dst, false, nil
	}
	return append(dst, s.value...), true, nil
}

func (s *oneRecord) TryGet(dst, key []byte) ([]byte, bool, bool, error) {
	v, ok, err := s.Get(dst, key)
	return v, ok, true, err
}

func (s *oneRecord) Set(key, value []byte, _ uint64) error {
	s.key, s.value = append(s.key[:0], key...), append(s.value[:0], value...)
	return nil
}

func (s *oneRecord) Apply(*replica.Change) error                             { return nil }
func (s *oneRecord) Delete([]byte, uint64) error                             { return nil }
func (s *oneRecord) Scan([]byte, []byte, func(key, value []byte) bool) error { return nil }

// wires are three nodes whose messages are encoded, and decoded when the sender is done.
type wires struct {
	nodes [3]*wired
	queue []byte // from, to, message, again and again
	spare []byte
}

type wired struct {
	*Coordinator
	id   ring.NodeID
	all  *wires
	done bool
}

func (n *wired) Complete(*Request) { n.done = true }

func (n *wired) Send(to ring.NodeID, m *wire.Message) error {
	n.all.queue = wire.Append(append(n.all.queue, byte(n.id), byte(to)), m)
	return nil
}

func (w *wires) hand(b *testing.B, queue []byte, m *wire.Message) []byte {
	n, err := m.Decode(queue[2:])
	if err != nil {
		b.Fatal(err)
	}
	w.nodes[queue[1]-1].Receive(ring.NodeID(queue[0]), m)
	return queue[2+n:]
}

// settle delivers messages until there are none.
func (w *wires) settle(b *testing.B, m *wire.Message) {
	for len(w.queue) > 0 {
		queue := w.queue
		w.queue = w.spare[:0]
		w.spare = queue
		for len(queue) > 0 {
			queue = w.hand(b, queue, m)
		}
	}
}

func newWires(b *testing.B) *wires {
	w := &wires{}
	var members []ring.Member
	for i := range w.nodes {
		id := ring.NodeID(i + 1)
		members = append(members, ring.Member{ID: id, Incarnation: uint64(id), Name: id.String(), DC: "east", Rack: "r", Weight: 1, RPC: "x:1", Gossip: "x:2", Client: "x:3"})
	}
	r, _, err := ring.Build(nil, members, ring.Options{ClusterID: 1, ClusterName: "test", Partitions: 16, N: 3})
	if err != nil {
		b.Fatal(err)
	}
	for i, m := range members {
		n := &wired{id: m.ID, all: w}
		rep := replica.New(&oneRecord{}, replica.Options{Workers: 1})
		n.Coordinator = New(Options{
			Self: m.ID, Incarnation: version.Incarnation(m.Incarnation), Clock: hlc.New(hlc.Options{}), Replica: rep, Transport: n,
			Ops: testOps(), Defaults: Levels{R: Quorum, W: Quorum, Mode: Sloppy}, Logger: zerolog.Nop(),
		})
		b.Cleanup(func() { n.Coordinator.Close(); rep.Close() })
		for _, other := range members {
			n.SetReach(other.ID, Up)
		}
		n.SetRing(r, true)
		w.nodes[i] = n
	}
	return w
}

// BenchmarkRequests runs requests of three replicas at each node, the soft primary
// first, with all that the others do for them.
func BenchmarkRequests(b *testing.B) {
	for _, op := range []string{"set", "get"} {
		for place, role := range []string{"primary", "second", "third"} {
			b.Run(op+"/"+role, func(b *testing.B) {
				w := newWires(b)
				v := w.nodes[0].view.Load()
				key, value := []byte("k"), make([]byte, 100)
				id := v.ring.Replicas(v.ring.PartitionOf(ring.TokenOf(0, key)))[place]
				n := w.nodes[id-1]
				r := &Request{Owner: n, Key: key, Args: [][]byte{[]byte("set"), key, value}}
				var m wire.Message
				run := func(op string) {
					n.done = false
					r.Op = n.o.Ops[op]
					n.Submit(r)
					w.settle(b, &m)
					if !n.done || r.Err != nil {
						b.Fatal(r.Err)
					}
				}
				run("set")
				b.ReportAllocs()
				for b.Loop() {
					run(op)
				}
			})
		}
	}
}
