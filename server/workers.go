package server

import (
	"context"
	"sync"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/server/command"
)

// workers run commands that may block.
type workers struct {
	ctx  context.Context // what commands get; ends with the server
	stop context.CancelFunc
	jobs chan *job // from sessions' loops; never closed
	wg   sync.WaitGroup
}

func newWorkers(ctx context.Context, n, queue int) *workers {
	w := &workers{jobs: make(chan *job, queue)}
	w.ctx, w.stop = context.WithCancel(ctx)
	for range n {
		w.wg.Go(w.run)
	}
	return w
}

func (w *workers) run() {
	for {
		select {
		case j := <-w.jobs:
			j.do()
		case <-w.ctx.Done():
			return
		}
	}
}

// close interrupts what runs and waits for it.
func (w *workers) close() {
	w.stop()
	w.wg.Wait()
}

// job is one Wait command.
type job struct {
	session *session
	cmd     *command.Command
	context context.Context // of this command only: it is handed over with it
	cancel  context.CancelFunc
	ctx     command.Ctx
	slot    uint64
	began   time.Time
}

// do runs the command on a worker and sends it back to its loop.
func (j *job) do() {
	if j.context.Err() == nil {
		j.cmd.Wait(j.context, &j.ctx)
	}
	j.cancel()
	j.session.conn.Post(j)
}

// Run brings the answer back to the session.
func (j *job) Run() {
	s := j.session
	s.server.blocked.Add(-1)
	s.waiting = false
	if s.closed {
		return
	}
	s.answered(j.slot)
	if s.Authenticated {
		s.guard.Known()
	}
}

// runWait hands a command to a worker once everything before it is complete.
func (s *session) runWait(cmd *command.Command, args [][]byte, levels coordinator.Levels) bool {
	if s.pipeline.undone > 0 {
		return false
	}
	s.begin(cmd)
	if n, first, step := cmd.Keys(args); n > 0 && s.server.options.Redirect != nil && s.redirected(args, n, first, step) {
		return true
	}
	j := &job{session: s, cmd: cmd, began: time.Now()}
	j.context, j.cancel = context.WithCancel(s.server.workers.ctx)
	j.ctx = command.Ctx{Session: &s.Session, Env: s.server.env, Args: copyArgs(args), Levels: levels}
	mute := s.Reply != command.ReplyOn && s.muted()
	s.publish()
	// From here on the session's settings are the worker's.
	s.waiting = true
	j.slot = s.pipeline.tail
	select {
	case s.server.workers.jobs <- j:
	default:
		j.cancel()
		s.waiting = false
		s.server.stats.Commands[cmd.Index()].Rejected.Add(1)
		s.reject([]byte(overloadedReply))
		return true
	}
	s.pipeline.push(slot{kind: slotWorker, mute: mute, job: j})
	s.server.blocked.Add(1)
	s.mu.Lock()
	s.info.Blocked = true
	s.mu.Unlock()
	return true
}

// answerJob appends the reply of a Wait command.
func (s *session) answerJob(j *job, mute bool) {
	out := s.output()
	from := len(out.b)
	if j.ctx.Err != nil {
		out.b = command.AppendError(out.b, j.ctx.Err)
	} else {
		out.b = append(out.b, j.ctx.Out...)
	}
	s.account(j.cmd, out.b[from:], time.Since(j.began))
	if mute {
		out.b = out.b[:from]
	}
	if s.Session.Close {
		s.finish()
	}
}

// copyArgs copies arguments that will outlive the input they are in.
func copyArgs(args [][]byte) [][]byte {
	total := 0
	for _, a := range args {
		total += len(a)
	}
	room := make([]byte, 0, total)
	copied := make([][]byte, len(args))
	for i, a := range args {
		begin := len(room)
		room = append(room, a...)
		copied[i] = room[begin:len(room):len(room)]
	}
	return copied
}
