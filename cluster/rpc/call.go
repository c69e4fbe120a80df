package rpc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// IsCaller reports whether an id that Receive was given may be one made up for a caller.
func IsCaller(id ring.NodeID) bool { return id&callerBit != 0 }

// Call asks one Control request of whoever listens at addr, over a connection made for it, and returns the answer, which the
// caller owns. It needs no cluster. ctx bounds it, and its time left is the message's Timeout if that has none.
func (t *Transport) Call(ctx context.Context, addr string, m *wire.Message) (*wire.Message, error) {
	if m.Kind != wire.Control {
		return nil, fmt.Errorf("call with a %v, only a control can be called", m.Kind)
	}
	conn, r, _, err := t.dial(ctx, addr, hello{role: roleCaller})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r.SetLimits(t.o.PacketLimit, wire.MaxMessage)
	interrupt := func() { _ = conn.SetDeadline(time.Unix(1, 0)) }
	defer context.AfterFunc(ctx, interrupt)()
	defer context.AfterFunc(t.ctx, interrupt)()
	asked := *m
	if deadline, ok := ctx.Deadline(); ok && asked.Timeout == 0 {
		asked.Timeout = max(time.Until(deadline), 1)
	}
	if err := sendOne(conn, &asked); err != nil {
		return nil, t.callError(ctx, addr, err)
	}
	reply, err := receiveOne(r, wire.ControlReply)
	if err != nil {
		return nil, t.callError(ctx, addr, err)
	}
	reply.Body = slices.Clone(reply.Body)
	return &reply, nil
}

// callError prefers the reason for which the call was interrupted.
func (t *Transport) callError(ctx context.Context, addr string, err error) error {
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case t.ctx.Err() != nil:
		err = ErrClosed
	}
	return fmt.Errorf("call %s: %w", addr, err)
}

// serveCaller serves an accepted connection of a caller: requests come in, answers go out by Send and Flush like any message.
func (t *Transport) serveCaller(in *inbound) {
	l := newLink(in.conn, &t.o)
	t.mu.Lock()
	for in.id == 0 || t.callers[in.id] != nil || (*t.peers.Load())[in.id] != nil {
		t.lastID++
		in.id = callerBit | ring.NodeID(t.lastID)
	}
	t.callers[in.id] = l
	t.mu.Unlock()
	t.addLink(l)
	var wg sync.WaitGroup
	wg.Go(l.writer)
	err := t.readMessages(in, func(k wire.Kind) bool { return k == wire.Control })
	l.fail(err)
	wg.Wait()
	t.removeLink(l)
	t.mu.Lock()
	delete(t.callers, in.id)
	t.mu.Unlock()
	t.log.Debug().Stringer("from", in.conn.RemoteAddr()).Err(err).Msg("caller left")
}
