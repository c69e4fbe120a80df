package server

import (
	"sync/atomic"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/server/command"
)

// gather is a Scatter command on its way: one call per key and one reply.
type gather struct {
	session *session
	cmd     *command.Command
	parts   []*coordinator.Request
	calls   []*call
	proto   uint8
	slot    uint64
	began   time.Time
	holds   atomic.Int64 // one per part, and one of the dispatcher
}

// Run brings a parked gather back to its session.
func (g *gather) Run() {
	if g.session.closed {
		g.free()
		return
	}
	g.session.answered(g.slot)
}

// runScatter submits an operation for each key of a command.
func (s *session) runScatter(cmd *command.Command, args [][]byte, levels coordinator.Levels) bool {
	if s.pipeline.undone > 0 && s.pipeline.conflicts(allKeys, cmd.Scatter.Op.Write) {
		return false
	}
	s.begin(cmd)
	n, first, step := cmd.Keys(args)
	if s.server.options.Redirect != nil && s.redirected(args, n, first, step) {
		return true
	}
	g := &gather{session: s, cmd: cmd, proto: s.Proto, began: time.Now()}
	g.parts = make([]*coordinator.Request, n)
	g.calls = make([]*call, n)
	g.holds.Store(int64(n) + 1)
	for i := range n {
		key, part := cmd.Scatter.Part(cmd, args, i)
		c := s.prepare(cmd, cmd.Scatter.Op, key, part, levels)
		c.gather = g
		g.parts[i], g.calls[i] = &c.Request, c
		s.server.cluster.Submit(&c.Request)
	}
	mute := s.Reply != command.ReplyOn && s.muted()
	if g.holds.Add(-1) > 0 {
		kind := slotRead
		if cmd.Scatter.Op.Write {
			kind = slotWrite
		}
		g.slot = s.pipeline.push(slot{kind: kind, hash: allKeys, mute: mute, gather: g})
		return true
	}
	if s.pipeline.len() > 0 {
		s.pipeline.push(slot{done: true, mute: mute, gather: g})
		return true
	}
	s.answerGather(g, mute)
	return true
}

// answerGather appends the one reply.
func (s *session) answerGather(g *gather, mute bool) {
	out := s.output()
	from := len(out.b)
	out.b = g.cmd.Scatter.Gather(out.b, g.proto, g.parts)
	s.account(g.cmd, out.b[from:], time.Since(g.began))
	if mute {
		out.b = out.b[:from]
	}
	g.free()
}

func (g *gather) free() {
	for _, c := range g.calls {
		g.session.server.pools.freeCall(c)
	}
	g.calls, g.parts = nil, nil
}
