package server

import (
	"hash/maphash"
	"strconv"
	"sync/atomic"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
	"kvstore/server/command"
)

const overloadedReply = "-" + resp.ErrTextOverloaded + "\r\n"

// dispatch begins one command. It returns false, having done nothing, if the
// command must wait for one that is parked.
func (s *session) dispatch(args [][]byte) bool {
	cmd, text := s.server.table.Resolve(nil, args)
	if cmd == nil {
		s.begin(nil)
		s.reject(text)
		return true
	}
	if cmd.Flags&command.NoAuth == 0 && !s.Authenticated && s.server.env.Password() != "" {
		s.begin(cmd)
		s.server.stats.Commands[cmd.Index()].Rejected.Add(1)
		s.reject([]byte("-" + resp.ErrTextNoAuth + "\r\n"))
		return true
	}
	if cmd.Local == nil && s.server.full() {
		s.begin(cmd)
		s.server.stats.Commands[cmd.Index()].Rejected.Add(1)
		s.reject([]byte(overloadedReply))
		return true
	}
	if cmd.Rewrite != nil {
		return s.rewrite(cmd, args)
	}
	return s.run(cmd, args, s.Levels)
}

// run takes the branch of the command's running half.
func (s *session) run(cmd *command.Command, args [][]byte, levels coordinator.Levels) bool {
	switch {
	case cmd.Op != nil:
		return s.runOp(cmd, args, levels)
	case cmd.Local != nil:
		s.runLocal(cmd, args, levels)
		return true
	case cmd.Scatter != nil:
		return s.runScatter(cmd, args, levels)
	}
	return s.runWait(cmd, args, levels)
}

// rewrite runs the command that another one stands for, at its levels.
func (s *session) rewrite(cmd *command.Command, args [][]byte) bool {
	c := &command.Ctx{Session: &s.Session, Env: s.server.env, Args: args, Levels: s.Levels}
	inner, levels, ok := cmd.Rewrite(c)
	text := c.Out
	if ok {
		if cmd, text = s.server.table.Resolve(nil, inner); cmd != nil {
			return s.run(cmd, inner, levels.Or(s.Levels))
		}
	}
	s.begin(cmd)
	s.reject(text)
	return true
}

// begin counts a command that will be answered.
func (s *session) begin(cmd *command.Command) {
	s.ran++
	s.processed++
	s.LastCommand = cmd
}

// reject answers a command that does not run.
func (s *session) reject(text []byte) {
	s.server.stats.Failure(text)
	if s.muted() {
		return
	}
	if s.pipeline.len() == 0 {
		out := s.output()
		out.b = append(out.b, text...)
		return
	}
	b := s.server.pools.buffer()
	b.b = append(b.b, text...)
	s.pipeline.push(slot{done: true, text: b})
}

// muted reports whether the client wants no reply to the command about to be
// answered, and uses up CLIENT REPLY SKIP.
func (s *session) muted() bool {
	if s.Reply == command.ReplyOn {
		return false
	}
	if s.Reply == command.ReplySkip {
		s.Reply = command.ReplyOn
	}
	return true
}

// runLocal runs a command that never waits. Its reply goes to the output, or
// into a slot behind what is parked.
func (s *session) runLocal(cmd *command.Command, args [][]byte, levels coordinator.Levels) {
	s.begin(cmd)
	began := time.Now()
	parked := s.pipeline.len() > 0
	dst := s.out
	if parked {
		dst = s.server.pools.buffer()
	} else if dst == nil {
		dst = s.output()
	}
	from, skipping := len(dst.b), s.Reply == command.ReplySkip
	c := &s.ctx
	c.Args, c.Levels, c.Out, c.Err = args, levels, dst.b, nil
	cmd.Local(c)
	dst.b = c.Out
	if c.Err != nil {
		dst.b = command.AppendError(dst.b[:from], c.Err)
	}
	c.Args, c.Out = nil, nil
	s.account(cmd, dst.b[from:], time.Since(began))
	if s.replyDropped(skipping) {
		dst.b = dst.b[:from]
	}
	if parked {
		s.pipeline.push(slot{done: true, text: dst})
	}
	if s.Authenticated {
		s.guard.Known()
	}
	if s.Session.Close {
		s.finish()
	}
}

// replyDropped is muted for a Local command, which may itself have changed the
// mode: CLIENT REPLY ON is answered, OFF and SKIP are not.
func (s *session) replyDropped(skipping bool) bool {
	switch s.Reply {
	case command.ReplyOn:
		return false
	case command.ReplySkipNext:
		s.Reply = command.ReplySkip
	case command.ReplySkip:
		if skipping {
			s.Reply = command.ReplyOn
		}
	}
	return true
}

// call is a request on its way. Whoever takes the last of its two holds, the
// dispatcher after Submit or the completer, goes on with it.
type call struct {
	coordinator.Request
	session *session
	cmd     *command.Command
	gather  *gather // the Scatter it is part of
	slot    uint64
	began   time.Time // zero unless this one is timed
	holds   atomic.Int32
}

func newCall() *call {
	c := &call{}
	c.Owner = c
	return c
}

// Complete is called by the coordinator.
func (c *call) Complete(*coordinator.Request) {
	if g := c.gather; g != nil {
		if g.holds.Add(-1) == 0 {
			g.session.post(g)
		}
		return
	}
	if c.holds.Add(-1) == 0 {
		c.session.post(c)
	}
}

// post brings work to the session's loop when the completer's batch is over, if
// the cluster tells of that, else at once.
func (s *session) post(w resp.Work) {
	if s.server.batched {
		s.conn.PostIn(&s.server.batch, w)
	} else {
		s.conn.Post(w)
	}
}

// Run brings a parked call back to its session.
func (c *call) Run() {
	s := c.session
	if s.closed {
		s.server.pools.freeCall(c)
		return
	}
	s.answered(c.slot)
}

// timedOne in so many requests is timed, and stands for the others in the
// counters: reading the clock twice costs as much as looking up the command.
const timedOne = 16

// prepare fills in a call for one key.
func (s *session) prepare(cmd *command.Command, op *coordinator.Op, key []byte, args [][]byte, levels coordinator.Levels) *call {
	c := s.server.pools.call()
	c.session, c.cmd = s, cmd
	c.Op, c.Key, c.Args = op, key, args
	c.DB, c.Proto, c.Levels = s.DB, s.Proto, levels
	c.Out = c.Out[:0]
	return c
}

// runOp submits an operation on one key.
func (s *session) runOp(cmd *command.Command, args [][]byte, levels coordinator.Levels) bool {
	key := args[cmd.FirstKey]
	if s.pipeline.undone > 0 && s.pipeline.conflicts(s.hash(key), cmd.Op.Write) {
		return false
	}
	s.begin(cmd)
	if s.server.options.Redirect != nil && s.redirected(args, 1, cmd.FirstKey, 1) {
		return true
	}
	c := s.prepare(cmd, cmd.Op, key, args, levels)
	c.began = time.Time{}
	if s.ran%timedOne == 0 {
		c.began = time.Now()
	}
	c.holds.Store(2)
	s.server.cluster.Submit(&c.Request)
	mute := s.Reply != command.ReplyOn && s.muted()
	if c.holds.Add(-1) > 0 {
		kind := slotRead
		if cmd.Op.Write {
			kind = slotWrite
		}
		c.slot = s.pipeline.push(slot{kind: kind, hash: s.hash(key), mute: mute, call: c})
		return true
	}
	if s.pipeline.len() > 0 {
		s.pipeline.push(slot{done: true, mute: mute, call: c})
		return true
	}
	s.answer(c, mute)
	return true
}

// answer appends a finished call's reply to the output.
func (s *session) answer(c *call, mute bool) {
	out := s.output()
	from := len(out.b)
	if c.Err != nil {
		out.b = command.AppendError(out.b, c.Err)
	} else {
		out.b = append(out.b, c.Out...)
	}
	var took time.Duration
	if !c.began.IsZero() {
		took = timedOne * time.Since(c.began)
	}
	s.account(c.cmd, out.b[from:], took)
	if mute {
		out.b = out.b[:from]
	}
	s.server.pools.freeCall(c)
}

// account counts a finished command.
func (s *session) account(cmd *command.Command, reply []byte, took time.Duration) {
	n := &s.server.stats.Commands[cmd.Index()]
	n.Calls.Add(1)
	if took > 0 {
		n.Nanos.Add(int64(took))
	}
	if len(reply) == 0 {
		return
	}
	switch {
	case reply[0] == '-':
		n.Failed.Add(1)
		s.server.stats.Failure(reply)
	case cmd.Op != nil && cmd.Flags&command.ReadOnly != 0:
		if reply[0] == '_' || len(reply) > 1 && reply[0] == '$' && reply[1] == '-' {
			s.server.stats.Misses.Add(1)
		} else {
			s.server.stats.Hits.Add(1)
		}
	}
}

// crossSlot is what Redis says of keys that it cannot send a client to one node for.
const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n"

// redirected answers MOVED for keys that are served elsewhere, or CROSSSLOT when they
// are of several slots and not all served here. The command after ASKING is served.
func (s *session) redirected(args [][]byte, n, first, step int) bool {
	if s.Asking {
		s.Asking = false
		return false
	}
	slot, addr, several := 0, "", false
	for i := range n {
		at, to := s.server.options.Redirect(args[first+i*step])
		several = several || i > 0 && at != slot
		if slot = at; addr == "" {
			addr = to
		}
	}
	switch {
	case addr == "":
		return false
	case several:
		s.reject([]byte(crossSlot))
	default:
		text := strconv.AppendInt([]byte("-MOVED "), int64(slot), 10)
		text = append(append(text, ' '), addr...)
		s.reject(append(text, '\r', '\n'))
	}
	return true
}

// hash tells keys of a connection apart; it is never allKeys.
func (s *session) hash(key []byte) uint64 {
	return maphash.Bytes(s.server.seed, key)<<8 | uint64(s.DB)<<1 | 1
}

// answered is told by a slot's command that its reply is there.
func (s *session) answered(at uint64) {
	s.pipeline.finish(at)
	for {
		done, ok := s.pipeline.pop()
		if !ok {
			break
		}
		s.emit(&done)
		if done.last && s.out != nil {
			s.whole = len(s.out.b)
		}
	}
	if s.ending && s.pipeline.len() == 0 {
		s.conn.Close()
		return
	}
	s.resume()
}

// emit appends the reply of a slot whose turn has come.
func (s *session) emit(done *slot) {
	switch {
	case done.call != nil:
		s.answer(done.call, done.mute)
	case done.gather != nil:
		s.answerGather(done.gather, done.mute)
	case done.job != nil:
		s.answerJob(done.job, done.mute)
	case done.text != nil:
		out := s.output()
		out.b = append(out.b, done.text.b...)
		s.server.pools.freeBuffer(done.text)
	}
}
