package rpc_test

import (
	"slices"
	"sync"
	"testing"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/rpc/rpctest"
	"kvstore/cluster/wire"
)

// foresight is a handler that notes tokens: those it is to expect, and those it gets.
type foresight struct {
	rpctest.Recorder
	mu             sync.Mutex
	said, received []ring.Token // guarded by mu
}

func (f *foresight) Expect(token ring.Token) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, token)
}

func (f *foresight) Receive(from ring.NodeID, m *wire.Message) {
	f.mu.Lock()
	f.received = append(f.received, m.Token)
	f.mu.Unlock()
	f.Recorder.Receive(from, m)
}

// TestExpect: of messages that come together each but the first is told of before the one in front of it is received.
func TestExpect(t *testing.T) { forms(t, expect) }

func expect(t *testing.T, with func(*rpc.Options)) {
	var a rpctest.Recorder
	b := &foresight{}
	ta, tb := start(t, 1, &a, with), start(t, 2, b, with)
	acquaint(ta, tb)
	await(t, "both to be up", func() bool { return ta.Connected(2) && tb.Connected(1) })
	for token := range ring.Token(5) {
		kind := wire.Replicate
		if token == 2 {
			kind = wire.WriteReply // which has no token
		}
		if err := ta.Send(2, rpc.Foreground, &wire.Message{Kind: kind, Token: token + 10}); err != nil {
			t.Fatal(err)
		}
	}
	ta.Flush()
	b.Await(t, "all", func() bool { return len(b.Events("receive")) == 5 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if want := []ring.Token{10, 11, 0, 13, 14}; !slices.Equal(b.received, want) {
		t.Errorf("received %v", b.received)
	}
	if want := []ring.Token{11, 13, 14}; !slices.Equal(b.said, want) {
		t.Errorf("was told of %v", b.said)
	}
}
