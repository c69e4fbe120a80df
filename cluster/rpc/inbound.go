package rpc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

const (
	// maxStrangers bounds connections that have not proved themselves: ten times the nodes of a large ring restarting at once.
	maxStrangers = 1024
	// keepArgs is the largest array of arguments a reader keeps between batches.
	keepArgs = 4096
)

// inbound is an accepted connection, from a peer or a caller that has proved itself.
type inbound struct {
	id     ring.NodeID
	role   uint8
	conn   net.Conn
	reader *wire.Reader
	reads  atomic.Uint64 // how often something arrived
	done   chan struct{} // closed when the handler will be called no more

	mu     sync.Mutex
	loop   Watched // guarded by mu; nil while a goroutine reads
	closed bool    // guarded by mu
}

// watched says that a loop reads the connection from now on.
func (in *inbound) watched(c Watched) {
	in.mu.Lock()
	in.loop = c
	closed := in.closed
	in.mu.Unlock()
	if closed {
		c.Abort()
	}
}

// close ends the connection; who reads it is to learn of it.
func (in *inbound) close() {
	in.mu.Lock()
	in.closed = true
	loop := in.loop
	in.mu.Unlock()
	if loop != nil {
		loop.Abort()
	} else {
		_ = in.conn.Close()
	}
}

// send sends a few bytes, from within receiveBatch.
func (in *inbound) send(b []byte, within time.Duration) error {
	if in.loop != nil { // set before, on this goroutine
		return in.loop.Send(b)
	}
	if err := in.conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err := in.conn.Write(b)
	return err
}

// accept is the goroutine that takes connections.
func (t *Transport) accept() {
	refusals := t.log.Sample(&zerolog.BurstSampler{Burst: 5, Period: time.Second})
	for {
		conn, err := t.listener.Accept()
		if t.ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil { // out of file descriptors and the like: it may pass
			t.log.Error().Err(err).Msg("accept a peer")
			select {
			case <-time.After(t.o.BackoffMax):
			case <-t.ctx.Done():
			}
			continue
		}
		if t.o.TLS != nil {
			conn = tls.Server(conn, t.o.TLS)
		}
		if !t.admit(conn) {
			_ = conn.Close()
			continue
		}
		t.wg.Go(func() {
			defer t.forget(conn)
			if err := t.serveInbound(conn); err != nil && t.ctx.Err() == nil {
				refusals.Warn().Stringer("from", conn.RemoteAddr()).Err(err).Msg("connection not taken")
			}
		})
	}
}

// admit counts a stranger. False: there are too many, or the transport is closing.
func (t *Transport) admit(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.strangers >= maxStrangers {
		return false
	}
	t.strangers++
	t.conns[conn] = struct{}{}
	return true
}

func (t *Transport) forget(conn net.Conn) {
	t.mu.Lock()
	delete(t.conns, conn)
	t.mu.Unlock()
	_ = conn.Close() // it may be closed already
}

// serveInbound shakes hands and serves the connection to its end. It returns only why a stranger was not taken.
func (t *Transport) serveInbound(conn net.Conn) error {
	in := &inbound{conn: conn, reader: wire.NewReader(conn, strangerLimit, strangerLimit), done: make(chan struct{})}
	h, err := t.shake(in)
	t.mu.Lock()
	t.strangers--
	t.mu.Unlock()
	if err != nil {
		return err
	}
	in.role = h.role
	in.reader.SetLimits(t.o.PacketLimit, wire.MaxMessage)
	defer close(in.done)
	if h.role == roleCaller {
		t.serveCaller(in)
		return nil
	}
	in.id = h.node
	key := acceptedKey{h.node, h.class}
	t.takeOver(key, in)
	defer t.drop(key, in)
	if p := (*t.peers.Load())[in.id]; p != nil {
		p.wakeUp() // who dials us can be dialed
	}
	if t.o.Loops != nil && t.o.TLS == nil {
		err = t.watch(in)
	} else {
		err = t.readMessages(in, nil)
	}
	if err != io.EOF && !isClosed(err) {
		t.log.Warn().Stringer("peer", in.id).Err(err).Msg("connection of peer ended")
	}
	return nil
}

func (t *Transport) shake(in *inbound) (hello, error) {
	if err := in.conn.SetDeadline(time.Now().Add(t.o.HandshakeTimeout)); err != nil {
		return hello{}, fmt.Errorf("set deadline: %w", err)
	}
	h, err := t.receiveGreeting(in.conn, in.reader)
	if err != nil {
		return h, err
	}
	return h, in.conn.SetDeadline(time.Time{})
}

// takeOver makes in the connection of its peer and class. One that was there is closed, and its end awaited: what the
// peer sent on it before comes first.
func (t *Transport) takeOver(key acceptedKey, in *inbound) {
	t.mu.Lock()
	old := t.accepted[key]
	t.accepted[key] = in
	t.mu.Unlock()
	if old != nil {
		old.close()
		<-old.done
	}
	t.news.post(key.id)
}

// drop ends what takeOver began, unless another connection has taken over.
func (t *Transport) drop(key acceptedKey, in *inbound) {
	t.mu.Lock()
	if t.accepted[key] == in {
		delete(t.accepted, key)
		if p := (*t.peers.Load())[key.id]; p != nil && key.class == Foreground {
			p.sending[Foreground].Store(nil) // without it no answers come, so nothing more is asked
		}
	}
	t.mu.Unlock()
	t.news.post(key.id)
}

// lookahead is how many messages are decoded before the first of them is handled.
const lookahead = 8

// batch is room for messages that are handled one after another.
type batch struct {
	messages [lookahead]wire.Message
	tokens   [lookahead]uint64
	ids      [lookahead]uint64
}

// decode takes messages from the front of what has arrived and returns how many, and the rest. Those before one that is
// damaged are good.
func (b *batch) decode(messages []byte) (n int, rest []byte, err error) {
	for n < lookahead && len(messages) > 0 {
		size, err := b.messages[n].Decode(messages)
		if err != nil {
			return n, nil, err
		}
		messages = messages[size:]
		n++
	}
	return n, messages, nil
}

// trim gives up what a batch of unusual size took.
func (b *batch) trim() {
	for i := range b.messages {
		if cap(b.messages[i].Args) > keepArgs {
			b.messages[i].Args = nil
		}
	}
}

// readMessages is the life of a reading goroutine: what has arrived, message by message, and the end of the batch.
func (t *Transport) readMessages(in *inbound, allowed func(wire.Kind) bool) error {
	var b batch
	for {
		if err := in.reader.Fill(); err != nil {
			return err
		}
		in.reads.Add(1)
		n, err := t.receiveBatch(in, &b, allowed)
		if n > 0 {
			t.o.Handler.EndBatch()
		}
		if err != nil {
			return err
		}
		b.trim()
	}
}

// receiveBatch hands on what has arrived whole and returns how many messages the handler got.
func (t *Transport) receiveBatch(in *inbound, b *batch, allowed func(wire.Kind) bool) (n int, err error) {
	for {
		messages, err := in.reader.Next()
		if err != nil || messages == nil {
			return n, err
		}
		for len(messages) > 0 {
			count, rest, damage := b.decode(messages)
			messages = rest
			t.expect(b, count)
			for i := range count {
				got, err := t.receive(in, &b.messages[i], allowed)
				if err != nil {
					return n, err
				}
				n += got
			}
			if damage != nil {
				return n, damage
			}
		}
	}
}

// receive hands on one message, and returns 1 if the handler got it.
func (t *Transport) receive(in *inbound, m *wire.Message, allowed func(wire.Kind) bool) (int, error) {
	switch {
	case m.Kind == wire.Ping:
		return 0, t.answerPing(in, m)
	case m.Kind == wire.Hello, m.Kind == wire.HelloAck, m.Kind == wire.Pong, allowed != nil && !allowed(m.Kind):
		return 0, fmt.Errorf("%v out of place", m.Kind)
	}
	t.o.Handler.Receive(in.id, m)
	return 1, nil
}

// expect tells the handler of the keys that it is about to be asked for.
func (t *Transport) expect(b *batch, count int) {
	if t.expecter == nil {
		return
	}
	tokens, ids := b.tokens[:0], b.ids[:0]
	for i := range count {
		m := &b.messages[i]
		switch {
		case m.Kind.HasKey():
			tokens = append(tokens, uint64(m.Token))
			if m.Origin != 0 { // it answers a request too
				ids = append(ids, m.Origin)
			}
		case m.Kind == wire.ReplicateAck, m.Kind == wire.WriteReply, m.Kind == wire.ReadReply:
			ids = append(ids, m.ID)
		}
	}
	if len(tokens)+len(ids) > 0 {
		t.expecter.Expect(tokens, ids)
	}
}

// answerPing writes at once, from where it is read: nothing else is ever written to a connection that a peer dialed.
func (t *Transport) answerPing(in *inbound, m *wire.Message) error {
	if in.role != rolePeer {
		return errors.New("ping from a caller")
	}
	var b wire.Builder
	b.Add(&wire.Message{Kind: wire.Pong, ID: m.ID, Epoch: t.o.Epoch()})
	return in.send(b.Seal(), t.o.Silence)
}

// sweep is the goroutine that closes accepted connections of peers on which not even a Ping arrives.
func (t *Transport) sweep() {
	seen := make(map[*inbound]uint64)
	tick := time.NewTicker(t.o.Silence)
	defer tick.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-tick.C:
		}
		now := make(map[*inbound]uint64)
		t.mu.Lock()
		for _, in := range t.accepted {
			now[in] = in.reads.Load()
		}
		t.mu.Unlock()
		for in, reads := range now {
			if before, ok := seen[in]; ok && before == reads {
				in.close()
			}
		}
		seen = now
	}
}
