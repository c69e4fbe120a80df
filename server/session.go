package server

import (
	"errors"
	"sync"
	"time"

	"kvstore/resp"
	"kvstore/server/command"
)

// keptInput is how much input may wait behind a command that waits before
// reading stops.
const keptInput = 64 << 10

// session is one client's connection. It belongs to the connection's loop,
// except that while a worker runs a command of it the embedded Session is the
// worker's.
type session struct {
	command.Session
	server *Server
	conn   resp.Conn
	guard  resp.Guard
	ctx    command.Ctx
	args   [][]byte // storage for the arguments of the command being run

	in       *buffer // received and not yet run, but for its first begun bytes; nil when there is nothing
	begun    int     // less than half of it
	out      *buffer // replies in order, not yet handed to conn; nil when there is nothing
	sealed   int     // how much of out may be sent
	whole    int     // how much of out answers all that came in a packet
	held     int     // how much of out waits for the rest of its packet's replies
	pipeline pipeline

	stalled bool // the next command waits for one that is parked, or for the client to read
	crammed int  // and that because so many were parked as may be; else 0
	paused  bool // reading is stopped
	waiting bool // a worker runs a command
	ended   bool // the client sends no more
	ending  bool // no more commands; close when all are answered
	closed  bool

	ran            uint64 // commands begun
	received, sent uint64 // bytes
	processed      int64  // commands not yet added to the server's counters
	counted        int    // bytes of it in Server.buffered

	mu   sync.Mutex
	info command.ClientInfo // guarded by mu; what others see
}

func newSession(server *Server, c resp.Conn, id uint64) *session {
	now := time.Now()
	s := &session{server: server, conn: c}
	s.Session = command.Session{
		ID: id, Addr: c.RemoteAddr().String(), LAddr: c.LocalAddr().String(), Proto: 2,
		Authenticated: server.env.Password() == "", Created: now, LastActive: now,
	}
	s.guard = resp.NewGuard(server.options.Limits, !s.Authenticated)
	s.ctx = command.Ctx{Session: &s.Session, Env: server.env}
	s.publish()
	return s
}

// Receive runs the commands in what was read and keeps what is not whole.
func (s *session) Receive(in []byte) {
	s.received += uint64(len(in))
	s.server.stats.InputBytes.Add(int64(len(in)))
	if s.ending {
		return
	}
	if !s.waiting {
		s.LastActive = time.Now()
	}
	if s.in == nil {
		in = in[s.pump(in):]
		if len(in) == 0 || s.ending {
			return
		}
		s.in = s.server.pools.buffer()
		s.in.b = append(s.in.b, in...)
	} else {
		s.in.b = append(s.in.b, in...)
		s.advance()
	}
	if !s.stalled && s.unbegun() > uncounted && s.server.full() {
		// The rest of the command is not wanted, so there is no command after it.
		s.reject([]byte(overloadedReply))
		s.finish()
		return
	}
	s.throttle()
}

// uncounted is how much each connection may buffer on top of Options.MaxBuffered.
const uncounted = 16 << 10

// advance runs what it can of the input kept.
func (s *session) advance() {
	if s.in == nil || s.ending {
		return
	}
	s.begun += s.pump(s.in.b[s.begun:])
	if s.begun == len(s.in.b) || s.ending {
		s.server.pools.freeBuffer(s.in)
		s.in, s.begun = nil, 0
		return
	}
	// The rest moves only when it is the smaller half: few commands may be taken up
	// each time, and much may wait behind them.
	if 2*s.begun >= len(s.in.b) {
		s.in.b = s.in.b[:copy(s.in.b, s.in.b[s.begun:])]
		s.begun = 0
	}
}

// unbegun is how many bytes wait to be run.
func (s *session) unbegun() int {
	if s.in == nil {
		return 0
	}
	return len(s.in.b) - s.begun
}

// throttle stops reading while input piles up behind a command that waits.
func (s *session) throttle() {
	full := s.stalled && s.unbegun() > keptInput
	if full && !s.paused {
		s.paused = true
		s.conn.Pause()
	} else if s.paused && !s.stalled {
		s.paused = false
		s.conn.Resume()
	}
}

// pump dispatches the commands in until one must wait or none is whole, and
// returns how many bytes it has used.
func (s *session) pump(in []byte) (used int) {
	s.stalled, s.crammed = false, 0
	largest := 0
	for used < len(in) && !s.ending {
		if s.mustWait() {
			s.stalled = true
			if s.full() {
				s.crammed = s.pipeline.len()
			}
			break
		}
		args, n, err := s.guard.Next(in[used:], s.args[:0])
		if err != nil {
			s.reject(resp.AppendProtocolError(nil, err))
			s.finish()
			break
		}
		if n == 0 {
			break
		}
		s.args = args
		largest = max(largest, len(args))
		if len(args) > 0 && !s.dispatch(args) {
			s.stalled = true
			break
		}
		used += n
	}
	s.endPacket()
	s.dropArgs(largest)
	return used
}

// endPacket notes that what is answered or parked until now came before what will
// be read next.
func (s *session) endPacket() {
	if s.pipeline.len() > 0 {
		s.pipeline.at(s.pipeline.tail - 1).last = true
	} else if s.out != nil {
		s.whole = len(s.out.b)
	}
}

// keptArgs is the number of arguments whose storage a session keeps.
const keptArgs = 16

// dropArgs forgets the input that arguments pointed into.
func (s *session) dropArgs(n int) {
	if n > keptArgs {
		s.args = nil
		return
	}
	clear(s.args[:min(n, cap(s.args))])
}

// mustWait reports whether nothing can be dispatched whatever it is.
func (s *session) mustWait() bool {
	return s.waiting || s.full() || s.unread() > s.server.options.OutputPause
}

// full reports whether as many commands are parked as may be. While the cluster is
// busy that is fewer: what waits in the client's socket has cost nothing yet, and what
// is taken up only makes everything later, until some of it has to be refused.
func (s *session) full() bool {
	n := s.pipeline.len()
	return n >= min(busyParked, s.server.options.MaxParked) && (n >= s.server.options.MaxParked || s.server.busy())
}

// unread is how much of the output the client has not taken, with replies that wait
// for those before them.
func (s *session) unread() int {
	n := s.conn.Pending() + s.pipeline.held
	if s.out != nil {
		n += len(s.out.b)
	}
	return n
}

// resume goes on after something that was waited for has happened. The loop
// calls it outside Receive.
func (s *session) resume() {
	if s.closed {
		return
	}
	// A full pipeline goes on when half of it is free: to take up one command after
	// each reply would move the rest of the input each time.
	if s.stalled && !s.mustWait() && (s.crammed == 0 || 2*s.pipeline.len() <= s.crammed) {
		s.advance()
		s.throttle()
	}
	s.finishEnded()
	s.conn.Touch()
}

// Ended goes on with the commands that have come, and with no others.
func (s *session) Ended() {
	s.ended = true
	s.finishEnded()
}

// finishEnded finishes once the last command of a client that sends no more is
// under way. What is left then is less than a command.
func (s *session) finishEnded() {
	if s.ended && !s.stalled && !s.ending {
		s.finish()
	}
}

// finish ends the dispatching of commands. The connection is closed once those
// under way are answered.
func (s *session) finish() {
	s.ending = true
	if s.pipeline.len() == 0 {
		s.conn.Close()
	}
}

// output is where replies go.
func (s *session) output() *buffer {
	if s.out == nil {
		s.out = s.server.pools.buffer()
	}
	return s.out
}

// Seal ends the turn's output. A client that sends many commands at once mostly
// wants the replies to all of them, and those that need other nodes come in twos
// and threes: what is answered waits for the rest of its packet, but not long.
func (s *session) Seal() {
	s.sealed, s.held = 0, 0
	if s.out != nil {
		s.sealed = len(s.out.b)
		if more := s.sealed - s.whole; more > 0 && more <= heldMost && s.mayHold() && s.conn.Hold() {
			s.sealed, s.held = s.whole, more
		}
	}
	if !s.waiting {
		s.publish()
	}
}

// heldMost is how many bytes of replies wait for others, at most.
const heldMost = 16 << 10

// mayHold reports whether the replies that are missing are under way, and nothing
// else waits for those that are there.
func (s *session) mayHold() bool {
	return s.pipeline.undone > 0 && !s.stalled && !s.waiting && !s.ending
}

// Flush sends what was sealed.
func (s *session) Flush() {
	if s.sealed == 0 {
		return
	}
	if int64(s.conn.Pending()) > s.server.tuning.outputLimit.Load() {
		s.server.slow.Add(1)
		s.conn.Abort()
	}
	n := s.sealed
	s.sealed = 0
	s.sent += uint64(n)
	s.server.stats.OutputBytes.Add(int64(n))
	s.conn.Send(s.out.b[:n])
	if s.closed {
		return // Send found the connection gone
	}
	rest := copy(s.out.b, s.out.b[n:])
	s.out.b = s.out.b[:rest]
	s.whole = max(s.whole-n, 0)
	if rest == 0 {
		s.server.pools.freeBuffer(s.out)
		s.out = nil
	} else if rest > s.held {
		s.conn.Touch()
	}
	if s.stalled && !s.mustWait() {
		s.conn.Post((*resumeWork)(s))
	}
}

// resumeWork goes on with the input in the next turn.
type resumeWork session

func (w *resumeWork) Run() { (*session)(w).resume() }

// Drained goes on when the client has read its replies.
func (s *session) Drained() {
	if s.stalled {
		s.resume()
	}
}

// Closed ends the session. Calls under way come back to a closed session and
// are only put away.
func (s *session) Closed(err error) {
	s.closed, s.ending = true, true
	if errors.Is(err, resp.ErrStuck) {
		s.server.slow.Add(1)
	}
	s.publishCounters()
	s.count(0)
	s.pipeline.cancel()
	s.in, s.begun, s.out, s.args = nil, 0, nil, nil
	s.whole, s.held = 0, 0
	s.server.forget(s)
}

// publish shows others the session as it is now.
func (s *session) publish() {
	s.publishCounters()
	s.Commands, s.TotalIn, s.TotalOut = s.ran, s.received, s.sent
	s.QueryBytes = s.unbegun()
	s.OutputBytes = s.unread()
	s.count(s.QueryBytes + s.OutputBytes)
	s.mu.Lock()
	s.info.Session = s.Session
	s.info.Blocked = s.waiting
	s.mu.Unlock()
}

// count adds what the session buffers to what all do. What each may have is left
// out: it is little, and changes in every turn.
func (s *session) count(bytes int) {
	if bytes = max(bytes-uncounted, 0); bytes != s.counted {
		s.server.buffered.Add(int64(bytes - s.counted))
		s.counted = bytes
	}
}

// publishCounters adds up what the turn has counted.
func (s *session) publishCounters() {
	if s.processed > 0 {
		s.server.stats.Processed.Add(s.processed)
		s.processed = 0
	}
}
