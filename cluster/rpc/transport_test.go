package rpc_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/rpc/rpctest"
	"kvstore/cluster/wire"
)

func TestNewRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := &rpctest.Recorder{}
	for name, c := range map[string]struct {
		o    rpc.Options
		want string
	}{
		"address in use": {rpc.Options{Self: 1, Handler: h, Listen: l.Addr().String()}, l.Addr().String()},
		"no id":          {rpc.Options{Handler: h, Listen: "127.0.0.1:0"}, "id"},
		"no handler":     {rpc.Options{Self: 1, Listen: "127.0.0.1:0"}, "handler"},
		"no address":     {rpc.Options{Self: 1, Handler: h}, "address"},
		"small packets":  {rpc.Options{Self: 1, Handler: h, Listen: "127.0.0.1:0", PacketLimit: 1}, "packet limit"},
		"short silence":  {rpc.Options{Self: 1, Handler: h, Listen: "127.0.0.1:0", Silence: time.Millisecond}, "silence"},
	} {
		if tr, err := rpc.New(c.o); err == nil {
			t.Errorf("%s: started", name)
			tr.Close()
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// gate is a handler that receives nothing until it is opened.
type gate struct {
	rpctest.Recorder
	open chan struct{}
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	g.OnReceive = func(ring.NodeID, *wire.Message) { <-g.open }
	return g
}

// TestOverload fills a link whose other end reads nothing: what waits is bounded, and all that was taken arrives, in order.
func TestOverload(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rpc.Options)
		body   int
		limit  int // of messages that can be taken
	}{
		"in bytes":    {func(o *rpc.Options) { o.MaxPendingBytes = 1 << 20 }, 100 << 10, 200},
		"in messages": {func(o *rpc.Options) { o.MaxPendingMessages = 100 }, 100 << 10, 400},
	} {
		t.Run(name, func(t *testing.T) {
			forms(t, func(t *testing.T, with func(*rpc.Options)) {
				overload(t, func(o *rpc.Options) { with(o); c.change(o) }, c.body, c.limit)
			})
		})
	}
}

func overload(t *testing.T, change func(*rpc.Options), size, limit int) {
	var a rpctest.Recorder
	b := newGate()
	ta, tb := start(t, 1, &a, change), start(t, 2, b, change)
	acquaint(ta, tb)
	await(t, "both to be up", func() bool { return ta.Connected(2) && tb.Connected(1) })
	taken := 0
	var err error
	body := make([]byte, size)
	for err == nil && taken < 10*limit {
		if err = ta.Send(2, rpc.Foreground, &wire.Message{Kind: wire.WriteReply, ID: uint64(taken), Body: body}); err == nil {
			taken++
			ta.Flush()
		}
	}
	if !errors.Is(err, rpc.ErrOverloaded) || taken > limit {
		t.Errorf("%d messages taken, then %v", taken, err)
	}
	if err := ta.Send(2, rpc.Bulk, ping(1)); err != nil { // a peer that is up can be sent to in every class
		t.Errorf("the other class is held up too: %v", err)
	}
	ta.Flush()
	close(b.open)
	// The message of the other class comes whenever something flushes it.
	bodies := func() []rpctest.Event {
		return slices.DeleteFunc(b.Events("receive"), func(e rpctest.Event) bool { return e.Body == "" })
	}
	await(t, "all messages", func() bool { return len(bodies()) == taken })
	for i, e := range bodies() {
		if e.ID != uint64(i) || len(e.Body) != size {
			t.Fatalf("message %d at place %d", e.ID, i)
		}
	}
}

func TestLargeMessages(t *testing.T) { forms(t, largeMessages) }

func largeMessages(t *testing.T, with func(*rpc.Options)) {
	var a, b rpctest.Recorder
	ta, _ := pairOf(t, &a, &b, func(o *rpc.Options) { with(o); o.MaxPendingBytes, o.PacketLimit = 1<<20, 1<<20 })
	big := strings.Repeat("large ", 1<<20)
	for i, body := range []string{"small", big, "small again"} {
		await(t, "room", func() bool {
			err := ta.Send(2, rpc.Foreground, &wire.Message{Kind: wire.WriteReply, ID: uint64(i), Body: []byte(body)})
			if err != nil && !errors.Is(err, rpc.ErrOverloaded) {
				t.Fatal(err)
			}
			return err == nil
		})
		ta.Flush()
	}
	await(t, "all messages", func() bool { return len(b.Events("receive")) == 3 })
	if got := b.Events("receive"); got[1].Body != big || got[2].Body != "small again" {
		t.Error("arrived changed")
	}
	if err := ta.Send(2, rpc.Foreground, &wire.Message{Kind: wire.WriteReply, Body: make([]byte, wire.MaxMessage)}); !errors.Is(err, rpc.ErrTooLarge) {
		t.Errorf("a message over the limit: %v", err)
	}
}

// TestLaterMessages: what may wait leaves with what may not, in order, or when there is enough of it; by itself it does not.
func TestLaterMessages(t *testing.T) {
	var a, b rpctest.Recorder
	ta, _ := pairOf(t, &a, &b, func(o *rpc.Options) { o.PingEvery, o.Silence = time.Hour, 5*time.Hour })
	send := func(id uint64, f wire.Flags) {
		t.Helper()
		if err := ta.Send(2, rpc.Foreground, &wire.Message{Kind: wire.ReplicateAck, ID: id, Flags: f}); err != nil {
			t.Fatal(err)
		}
		ta.Flush()
	}
	send(1, wire.Later)
	send(2, wire.Later)
	if got := b.Events("receive"); len(got) != 0 {
		t.Errorf("%d messages left though they could wait", len(got))
	}
	send(3, 0)
	b.Await(t, "all three", func() bool { return len(b.Events("receive")) == 3 })
	for id := range uint64(200) {
		send(id, wire.Later)
	}
	b.Await(t, "most of many", func() bool { return len(b.Events("receive")) > 3+100 })
}

// TestCommitFails: nothing of what waited may leave, and the peer is down, until a commit succeeds again.
func TestCommitFails(t *testing.T) {
	var a, b rpctest.Recorder
	var broken atomic.Bool
	ta := start(t, 1, &a, func(o *rpc.Options) {
		o.BeforeFlush = func() error {
			if broken.Load() {
				return errors.New("disk on fire")
			}
			return nil
		}
	})
	tb := start(t, 2, &b, nil)
	acquaint(ta, tb)
	a.Await(t, "the peer to be up", func() bool { return len(a.Events("up")) == 1 })
	broken.Store(true)
	if err := ta.Send(2, rpc.Foreground, ping(1)); err != nil {
		t.Fatal(err)
	}
	ta.Flush()
	a.Await(t, "the peer to be down", func() bool { return len(a.Events("down")) == 1 })
	if err := ta.Send(2, rpc.Foreground, ping(2)); !errors.Is(err, rpc.ErrUnreachable) {
		t.Errorf("sending to a peer that is down: %v", err)
	}
	broken.Store(false)
	await(t, "the peer to be up again", func() bool { return ta.Send(2, rpc.Foreground, ping(3)) == nil })
	ta.Flush()
	b.Await(t, "what was sent after", func() bool { return len(b.Events("receive")) > 0 })
	if got := b.Events("receive"); got[0].ID != 3 {
		t.Errorf("what no log holds arrived: %+v", got)
	}
}

// TestSilentPeer connects to a listener that shakes hands through a proxy and then freezes.
func TestSilentPeer(t *testing.T) { forms(t, silentPeer) }

func silentPeer(t *testing.T, with func(*rpc.Options)) {
	var a, b rpctest.Recorder
	quick := func(o *rpc.Options) {
		with(o)
		o.PingEvery, o.Silence, o.HandshakeTimeout = 100*time.Millisecond, 2*time.Second, 2*time.Second
	}
	ta, tb := start(t, 1, &a, quick), start(t, 2, &b, quick)
	p := newProxy(t, tb.Addr().String())
	ta.SetPeers([]rpc.Peer{{ID: 2, Addr: p.addr()}})
	tb.SetPeers([]rpc.Peer{{ID: 1, Addr: ta.Addr().String()}})
	a.Await(t, "the peer to be up", func() bool { return len(a.Events("up")) == 1 })
	await(t, "a round trip", func() bool { return ta.RTT(2) > 0 })
	p.frozen.Store(true)
	a.Await(t, "the dialer to notice", func() bool { return len(a.Events("down")) == 1 })
	b.Await(t, "the acceptor to notice", func() bool { return len(b.Events("down")) == 1 })
	p.frozen.Store(false)
	ta.Kick(2)
	a.Await(t, "the peer to be up again", func() bool { return len(a.Events("up")) == 2 })
}

func TestPeersComeAndGo(t *testing.T) { forms(t, peersComeAndGo) }

func peersComeAndGo(t *testing.T, with func(*rpc.Options)) {
	var a, b, c rpctest.Recorder
	ta, tb := pairOf(t, &a, &b, with)
	tc := start(t, 3, &c, with)
	acquaint(ta, tb, tc)
	a.Await(t, "the third node", func() bool { return len(a.Events("up")) == 2 })
	// Node 2 is removed: it is down for node 1, and node 3 stays.
	ta.SetPeers([]rpc.Peer{{ID: 3, Addr: tc.Addr().String()}})
	a.Await(t, "the removed node to be down", func() bool { return len(a.Events("down")) == 1 })
	if got := a.Events("down")[0].Node; got != 2 || ta.Connected(2) || !ta.Connected(3) {
		t.Errorf("node %v went down", got)
	}
	// Node 3 restarts with another address.
	if err := tc.Close(); err != nil {
		t.Fatal(err)
	}
	a.Await(t, "node 3 to be down", func() bool { return len(a.Events("down")) == 2 })
	var c2 rpctest.Recorder
	tc = start(t, 3, &c2, with)
	acquaint(ta, tb, tc)
	a.Await(t, "node 3 to be up", func() bool { return len(a.Events("up")) >= 4 && ta.Connected(3) && ta.Connected(2) })
}

func TestCloseTwice(t *testing.T) {
	var a, b rpctest.Recorder
	ta, _ := pairOf(t, &a, &b, nil)
	for range 2 {
		if err := ta.Close(); err != nil {
			t.Error(err)
		}
	}
	ta.SetPeers([]rpc.Peer{{ID: 2, Addr: "127.0.0.1:1"}})
	if ta.Connected(2) {
		t.Error("closed, but connected")
	}
}
