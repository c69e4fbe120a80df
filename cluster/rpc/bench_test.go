package rpc_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
)

// counter is a handler that counts, and answers when it has a transport.
type counter struct {
	answer   atomic.Pointer[rpc.Transport]
	reply    wire.Message
	received atomic.Int64
	arrived  chan struct{} // of capacity 1: something was received
}

func newCounter() *counter { return &counter{arrived: make(chan struct{}, 1)} }

func (c *counter) Receive(from ring.NodeID, m *wire.Message) {
	c.received.Add(1)
	if t := c.answer.Load(); t != nil {
		c.reply = wire.Message{Kind: wire.ReplicateAck, ID: m.ID}
		if err := t.Send(from, rpc.Foreground, &c.reply); err != nil {
			panic(err)
		}
	}
}

func (c *counter) EndBatch() {
	if t := c.answer.Load(); t != nil {
		t.Flush()
	}
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

func (c *counter) PeerUp(ring.NodeID)          {}
func (c *counter) PeerDown(ring.NodeID, error) {}

// awaitCount waits until n have been received.
func (c *counter) awaitCount(n int64) {
	for c.received.Load() < n {
		<-c.arrived
	}
}

func benchPair(b *testing.B) (ta, tb *rpc.Transport, ca, cb *counter) {
	ca, cb = newCounter(), newCounter()
	ta, tb = start(b, 1, ca, nil), start(b, 2, cb, nil)
	acquaint(ta, tb)
	await(b, "both to be up", func() bool { return ta.Connected(2) && tb.Connected(1) })
	return ta, tb, ca, cb
}

func benchMessage() *wire.Message {
	return &wire.Message{Kind: wire.Replicate, ID: 1 << 30, Now: 1 << 57, Epoch: 3, Timeout: time.Second, Token: 1 << 60,
		Key: []byte("key:000000123456"), Object: make([]byte, 64+28)}
}

func BenchmarkOneWay(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			ta, _, _, cb := benchPair(b)
			m := benchMessage()
			sent := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				if err := ta.Send(2, rpc.Foreground, m); err != nil {
					b.Fatal(err)
				}
				if sent++; sent%int64(batch) == 0 {
					ta.Flush()
				}
				if sent%65536 == 0 { // stay within the bounds
					ta.Flush()
					cb.awaitCount(sent - 32768)
				}
			}
			ta.Flush()
			cb.awaitCount(sent)
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			ta, tb, ca, cb := benchPair(b)
			cb.answer.Store(tb)
			m := benchMessage()
			sent := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				if err := ta.Send(2, rpc.Foreground, m); err != nil {
					b.Fatal(err)
				}
				if sent++; sent%int64(batch) == 0 {
					ta.Flush()
					ca.awaitCount(sent)
				}
			}
			ta.Flush()
			ca.awaitCount(sent)
		})
	}
}
