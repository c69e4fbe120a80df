// Package rpctest is the contract of a transport between nodes, as tests that every implementation passes: the one over TCP and
// the simulator's.
//
// An implementation's test calls Run with a Maker. Each test makes nodes of its own, so that none sees another's traffic.
package rpctest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
)

// Transport is what the contract is about.
type Transport interface {
	Send(to ring.NodeID, class rpc.Class, m *wire.Message) error
	Flush()
	Connected(ring.NodeID) bool
}

// Hooks are what a node gives its transport.
type Hooks struct {
	Handler     rpc.Handler
	BeforeFlush func() error
}

// Nodes are transports that know each other as peers; node i has the id i+1.
type Nodes struct {
	Transports []Transport
	// Cut breaks what connects two nodes, by number, so that each sees one loss. It comes back by itself.
	Cut func(a, b int)
}

// Maker makes as many nodes as it gets hooks, and ends them with the test. It need not wait until they are connected.
type Maker func(t *testing.T, hooks []Hooks) Nodes

// patience bounds each wait for an event that must come.
const patience = 20 * time.Second

// Run runs the contract.
func Run(t *testing.T, newNodes Maker) {
	t.Run("messages arrive whole and in order", func(t *testing.T) { order(t, newNodes) })
	t.Run("concurrent senders keep their order", func(t *testing.T) { concurrent(t, newNodes) })
	t.Run("nothing leaves before flush", func(t *testing.T) { flush(t, newNodes) })
	t.Run("the commit comes before the bytes", func(t *testing.T) { commit(t, newNodes) })
	t.Run("answers from within a batch", func(t *testing.T) { answers(t, newNodes) })
	t.Run("strangers are unreachable", func(t *testing.T) { unreachable(t, newNodes) })
	t.Run("up and down alternate", func(t *testing.T) { updown(t, newNodes) })
}

// ID is the id of node i.
func ID(i int) ring.NodeID { return ring.NodeID(i + 1) }

// Recorder is a Handler that keeps what it is told. Its methods may be called concurrently.
type Recorder struct {
	// OnReceive and OnEndBatch, if set, run inside the call of the same name.
	OnReceive  func(from ring.NodeID, m *wire.Message)
	OnEndBatch func()

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something is added; closer: the recorder
	events  []Event
}

// Event is one call of a handler.
type Event struct {
	What string // "receive", "end", "up", "down"
	Node ring.NodeID
	ID   uint64
	Body string
}

func (r *Recorder) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Receive implements rpc.Handler.
func (r *Recorder) Receive(from ring.NodeID, m *wire.Message) {
	r.add(Event{What: "receive", Node: from, ID: m.ID, Body: string(m.Body)})
	if r.OnReceive != nil {
		r.OnReceive(from, m)
	}
}

// EndBatch implements rpc.Handler.
func (r *Recorder) EndBatch() {
	r.add(Event{What: "end"})
	if r.OnEndBatch != nil {
		r.OnEndBatch()
	}
}

// PeerUp implements rpc.Handler.
func (r *Recorder) PeerUp(id ring.NodeID) { r.add(Event{What: "up", Node: id}) }

// PeerDown implements rpc.Handler.
func (r *Recorder) PeerDown(id ring.NodeID, _ error) { r.add(Event{What: "down", Node: id}) }

// Events returns those of one sort so far.
func (r *Recorder) Events(what string) (out []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.What == what {
			out = append(out, e)
		}
	}
	return out
}

// Await waits until ok, which it asks after each event.
func (r *Recorder) Await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// two makes two nodes and waits until both are up.
func two(t *testing.T, newNodes Maker, a, b *Recorder, beforeFlush func() error) Nodes {
	t.Helper()
	n := newNodes(t, []Hooks{{a, beforeFlush}, {b, nil}})
	a.Await(t, "the second node to be up", func() bool { return len(a.Events("up")) > 0 })
	b.Await(t, "the first node to be up", func() bool { return len(b.Events("up")) > 0 })
	if !n.Transports[0].Connected(ID(1)) || !n.Transports[1].Connected(ID(0)) {
		t.Fatal("up, but not connected")
	}
	return n
}

func order(t *testing.T, newNodes Maker) {
	var a, b Recorder
	n := two(t, newNodes, &a, &b, nil)
	const messages = 5000
	body := make([]byte, 0, 64)
	m := wire.Message{Kind: wire.WriteReply}
	for i := range messages {
		body = fmt.Appendf(body[:0], "body %d", i)
		m.ID, m.Body = uint64(i), body
		if err := n.Transports[0].Send(ID(1), rpc.Foreground, &m); err != nil {
			t.Fatal(err)
		}
		clear(body) // what was sent is a copy
		if i%7 == 0 || i == messages-1 {
			n.Transports[0].Flush()
		}
	}
	b.Await(t, "all messages", func() bool { return len(b.Events("receive")) == messages })
	for i, e := range b.Events("receive") {
		if e.ID != uint64(i) || e.Body != fmt.Sprintf("body %d", i) || e.Node != ID(0) {
			t.Fatalf("at place %d: %+v", i, e)
		}
	}
}

func concurrent(t *testing.T, newNodes Maker) {
	var a, b Recorder
	n := two(t, newNodes, &a, &b, nil)
	const senders, each = 8, 1000
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				m := wire.Message{Kind: wire.WriteReply, ID: uint64(s)<<32 | uint64(i)}
				if err := n.Transports[0].Send(ID(1), rpc.Foreground, &m); err != nil {
					t.Error(err)
				}
				n.Transports[0].Flush()
			}
		})
	}
	wg.Wait()
	b.Await(t, "all messages", func() bool { return len(b.Events("receive")) == senders*each })
	next := make(map[uint64]uint64)
	for _, e := range b.Events("receive") {
		if s := e.ID >> 32; e.ID&0xffffffff != next[s] {
			t.Fatalf("sender %d: message %d where %d was due", s, e.ID&0xffffffff, next[s])
		}
		next[e.ID>>32]++
	}
}

func flush(t *testing.T, newNodes Maker) {
	var a, b Recorder
	var commits sync.Map // of nothing: only present once a flush took the message
	held := make(chan struct{})
	n := two(t, newNodes, &a, &b, func() error {
		if _, ok := commits.Load("armed"); ok {
			<-held
		}
		return nil
	})
	commits.Store("armed", true)
	if err := n.Transports[0].Send(ID(1), rpc.Foreground, &wire.Message{Kind: wire.WriteReply, ID: 1}); err != nil {
		t.Fatal(err)
	}
	// What travels the other way meanwhile arrives; the message, whose commit is held, does not.
	if err := n.Transports[1].Send(ID(0), rpc.Foreground, &wire.Message{Kind: wire.WriteReply, ID: 2}); err != nil {
		t.Fatal(err)
	}
	n.Transports[1].Flush()
	a.Await(t, "the other node's message", func() bool { return len(a.Events("receive")) == 1 })
	if got := b.Events("receive"); len(got) != 0 {
		t.Fatalf("arrived before its flush: %+v", got)
	}
	close(held)
	n.Transports[0].Flush()
	b.Await(t, "the message", func() bool { return len(b.Events("receive")) == 1 })
}

func commit(t *testing.T, newNodes Maker) {
	var mu sync.Mutex
	applied, committed := 0, 0
	var a, b Recorder
	b.OnReceive = func(_ ring.NodeID, m *wire.Message) {
		mu.Lock()
		defer mu.Unlock()
		if int(m.ID) > committed {
			t.Errorf("message about write %d arrived when %d were committed", m.ID, committed)
		}
	}
	n := two(t, newNodes, &a, &b, func() error {
		mu.Lock()
		defer mu.Unlock()
		committed = applied
		return nil
	})
	const writers, each = 4, 500
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				mu.Lock()
				applied++
				id := applied
				mu.Unlock()
				if err := n.Transports[0].Send(ID(1), rpc.Foreground, &wire.Message{Kind: wire.Replicate, ID: uint64(id)}); err != nil {
					t.Error(err)
				}
				n.Transports[0].Flush()
			}
		})
	}
	wg.Wait()
	b.Await(t, "all messages", func() bool { return len(b.Events("receive")) == writers*each })
}

func answers(t *testing.T, newNodes Maker) {
	var a, b Recorder
	var server Transport
	ready := make(chan struct{})
	b.OnReceive = func(from ring.NodeID, m *wire.Message) {
		<-ready
		if err := server.Send(from, rpc.Foreground, &wire.Message{Kind: wire.ReadReply, ID: m.ID}); err != nil {
			t.Error(err)
		}
	}
	b.OnEndBatch = func() { server.Flush() }
	n := two(t, newNodes, &a, &b, nil)
	server = n.Transports[1]
	close(ready)
	for i := range 100 {
		if err := n.Transports[0].Send(ID(1), rpc.Foreground, &wire.Message{Kind: wire.Read, ID: uint64(i)}); err != nil {
			t.Fatal(err)
		}
		n.Transports[0].Flush()
	}
	a.Await(t, "all answers", func() bool { return len(a.Events("receive")) == 100 })
	b.Await(t, "the end of a batch", func() bool { return len(b.Events("end")) > 0 })
}

func unreachable(t *testing.T, newNodes Maker) {
	var a, b Recorder
	n := two(t, newNodes, &a, &b, nil)
	err := n.Transports[0].Send(99, rpc.Foreground, &wire.Message{Kind: wire.Read})
	if !errors.Is(err, rpc.ErrUnreachable) || n.Transports[0].Connected(99) {
		t.Errorf("sending to a stranger: %v", err)
	}
}

func updown(t *testing.T, newNodes Maker) {
	var a, b Recorder
	n := two(t, newNodes, &a, &b, nil)
	for i := range 3 {
		n.Cut(0, 1)
		for _, r := range []*Recorder{&a, &b} {
			r.Await(t, "the peer to be up again", func() bool { return len(r.Events("up")) >= i+2 })
		}
	}
	for name, r := range map[string]*Recorder{"first": &a, "second": &b} {
		r.mu.Lock()
		up := false
		for _, e := range r.events {
			if e.What == "up" || e.What == "down" {
				if up == (e.What == "up") {
					t.Errorf("%s node: %s twice", name, e.What)
				}
				up = e.What == "up"
			}
		}
		r.mu.Unlock()
	}
	if err := n.Transports[0].Send(ID(1), rpc.Foreground, &wire.Message{Kind: wire.WriteReply, ID: 77}); err != nil {
		t.Fatal(err)
	}
	n.Transports[0].Flush()
	b.Await(t, "a message over the new connection", func() bool { return len(b.Events("receive")) == 1 })
}
