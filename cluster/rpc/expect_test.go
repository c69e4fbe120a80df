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

// foresight is a handler that notes what it is to expect, and what it gets.
type foresight struct {
	rpctest.Recorder
	mu          sync.Mutex
	tokens, ids []uint64 // guarded by mu: what is to be expected
	due         int      // guarded by mu: how much of it has not come
	received    []uint64 // guarded by mu: tokens
	surprised   bool     // guarded by mu: something came that was not expected
}

func (f *foresight) Expect(tokens, ids []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens, f.ids = append(f.tokens, tokens...), append(f.ids, ids...)
	f.due += len(tokens) + len(ids)
}

func (f *foresight) Receive(from ring.NodeID, m *wire.Message) {
	f.mu.Lock()
	f.received = append(f.received, uint64(m.Token))
	if f.due--; m.Origin != 0 {
		f.due--
	}
	f.surprised = f.surprised || f.due < 0
	f.mu.Unlock()
	f.Recorder.Receive(from, m)
}

// TestExpect: what comes together is told of before it is received, keys by their tokens and answers by their ids.
func TestExpect(t *testing.T) { forms(t, expect) }

func expect(t *testing.T, with func(*rpc.Options)) {
	const sent = 20 // more than are told of at once
	var a rpctest.Recorder
	b := &foresight{}
	ta, tb := start(t, 1, &a, with), start(t, 2, b, with)
	acquaint(ta, tb)
	await(t, "both to be up", func() bool { return ta.Connected(2) && tb.Connected(1) })
	var received, tokens, ids []uint64
	for i := range uint64(sent) {
		m := wire.Message{Kind: wire.Replicate, ID: i + 100, Token: ring.Token(i + 10)}
		switch i % 4 {
		case 1:
			m.Origin = i + 200
			ids = append(ids, m.Origin)
		case 2:
			m = wire.Message{Kind: wire.WriteReply, ID: i + 100}
			ids = append(ids, m.ID)
		case 3:
			m = wire.Message{Kind: wire.Read, ID: i + 100, Token: ring.Token(i + 10)}
		}
		if m.Token != 0 {
			tokens = append(tokens, uint64(m.Token))
		}
		received = append(received, uint64(m.Token))
		if err := ta.Send(2, rpc.Foreground, &m); err != nil {
			t.Fatal(err)
		}
	}
	ta.Flush()
	b.Await(t, "all", func() bool { return len(b.Events("receive")) == sent })
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.received, received) {
		t.Errorf("received %v", b.received)
	}
	if !slices.Equal(b.tokens, tokens) || !slices.Equal(b.ids, ids) {
		t.Errorf("was told of the tokens %v and the ids %v", b.tokens, b.ids)
	}
	if b.surprised || b.due != 0 {
		t.Errorf("something came before it was told of: %v; %d did not come", b.surprised, b.due)
	}
}
