package coordinator

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// submitWrite brings a client's write to the key's soft primary: the first
// replica of the preference list that can be reached.
func (c *Coordinator) submitWrite(v *view, r *Request) {
	token := ring.TokenOf(r.DB, r.Key)
	c.o.Replica.Expect(token) // mostly this node holds the key, first of all or as a replica
	part := v.ring.PartitionOf(token)
	levels, timeout := c.levels(r.Levels, true)
	if _, possible := newTally(levels.W, &v.places[part]); !possible {
		c.refuse(r, ErrLevel)
		return
	}
	if n := c.Metrics.Writes.Add(1); c.hot.Writes.Due(n) {
		c.hot.Writes.Sample(n, token, part, r.DB, r.Key)
	}
	now := time.Now()
	c.route(r, r.Key, r.Args, route{v: v, token: token, part: part, levels: levels, now: now, deadline: now.Add(timeout)}, ErrNoQuorum)
}

// route is a client's write on its way to a soft primary.
type route struct {
	v        *view
	token    ring.Token
	part     ring.Partition
	levels   Levels
	now      time.Time
	deadline time.Time
	// refused are the members (see memberAt) whose disks take no writes. Nothing
	// was written there, so the write may go on to another; it comes to each once.
	refused uint64
}

// route brings a write to the first replica that can be reached and has not
// refused it; in sloppy mode, when there is none, to the first such fallback. When
// those left are too few, the client gets err. What key and args hold is borrowed
// until route returns.
func (c *Coordinator) route(r *Request, key []byte, args [][]byte, way route, err error) {
	v, part := way.v, way.part
	t, _ := newWriteTally(way.levels.W, &v.places[part])
	gone := way.refused
	all := v.places[part].all()
	var usable uint64
	for {
		var primary int
		var prompt uint64
		usable, prompt = v.reachable(part)
		usable, prompt = usable&^(gone&all), prompt&^gone&all
		if primary, t.bad = c.primary(v, &way, usable, prompt, gone); primary < 0 || t.hopeless() {
			c.refuse(r, err)
			return
		}
		if v.ring.Members[v.memberAt(part, primary)].ID == v.self {
			break
		}
		if c.forward(r, key, args, way, primary) {
			return
		}
		// Its connection has just gone, and nothing was sent: the next one.
		gone |= 1 << uint(primary)
	}
	w := c.writes.Get().(*writeOp)
	w.v, w.op, w.part, w.proto = v, r.Op, part, r.Proto
	w.key = replica.Key{Token: way.token, DB: r.DB, Name: key}
	w.args = append(w.args[:0], args...)
	w.levels, w.tally, w.originPlace = way.levels, t, -1
	w.now, w.deadline, w.refused = way.now, way.deadline, way.refused
	w.req = r
	w.assign(usable)
	if way.refused != 0 {
		v.unsettle(part) // others take this node for the second one
	}
	w.start()
}

// primary returns the member that is to run a write, -1 when there is none, and
// the places that nobody can acknowledge for.
func (c *Coordinator) primary(v *view, way *route, usable, prompt, gone uint64) (member int, bad uint64) {
	place := &v.places[way.part]
	if own := v.own[way.part]; own >= 0 && (c.strained.Load() || c.slowDisk.Load()) {
		prompt &^= 1 << uint(own)
	}
	member, bad = first(usable&place.all(), prompt), place.writers()&^usable
	if bad == 0 || way.levels.Mode != Sloppy {
		return member, bad
	}
	stand := cast{tried: gone >> uint(place.n)}
	filled := v.fill(way.part, bad, &stand, way.levels.W.local())
	if filled := filled & place.all(); member < 0 && filled != 0 {
		member = place.n + int(stand.by[bits.TrailingZeros64(filled)]) - 1
	}
	return member, bad &^ filled
}

// mayGoOn reports whether an error says that a soft primary's disk takes no
// writes, so that nothing was written.
func mayGoOn(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrSlow)
}

// refusesFor is how long after a refusal this node's disk is expected to refuse
// what comes next.
const refusesFor = time.Second

// noteRefusal remembers that this node's store takes no writes, if that is what an
// error says.
func (c *Coordinator) noteRefusal(err error) {
	if err != nil && mayGoOn(err) {
		c.refused.Store(time.Now().UnixNano())
	}
}

// refuses reports whether other replicas had better not count on this one.
func (c *Coordinator) refuses(now time.Time) bool {
	return now.UnixNano()-c.refused.Load() < int64(refusesFor)
}

// goOn brings a write that this node's disk refused to the next replica. The
// client gets err when there is none.
func (w *writeOp) goOn(err error) {
	way := route{
		v: w.v, token: w.key.Token, part: w.part, levels: w.levels, now: time.Now(), deadline: w.deadline,
		refused: w.refused,
	}
	own := int(w.v.own[w.part])
	if own < 0 {
		own = w.v.places[w.part].n + w.v.fallbackAt(w.part, w.v.self)
	}
	way.refused |= 1 << uint(own)
	w.c.route(w.req, w.key.Name, w.args, way, err)
	w.c.putWrite(w)
}

// acceptWrite runs a write that another node forwarded: this node is the soft
// primary in the eyes of that one, which is all that is asked of it; as a fallback
// it has to be told so.
func (c *Coordinator) acceptWrite(v *view, from ring.NodeID, m *wire.Message) {
	part := v.ring.PartitionOf(m.Token)
	own := int(v.own[part])
	op := c.o.Ops[string(m.Op)]
	w := c.writes.Get().(*writeOp)
	w.v, w.op, w.part, w.proto = v, op, part, m.Proto
	w.key = replica.Key{Token: m.Token, DB: m.DB, Name: m.Key}
	w.args = append(w.args[:0], m.Args...)
	w.levels = Levels{W: Level(m.W), R: Level(m.R), Mode: Mode(m.Mode), Timeout: m.Timeout}.Or(c.Defaults())
	w.now = time.Now()
	w.deadline = w.now.Add(m.Timeout)
	w.req, w.origin, w.originID, w.originPlace = nil, from, m.ID, -1
	// Its client has given up, and may have written something else since. Clocks
	// may differ by MaxAhead without anybody's notice.
	if m.Timeout > 0 && c.o.Clock.Age(hlc.Timestamp(m.Now), w.now) > m.Timeout+hlc.DefaultMaxAhead {
		c.answerStatus(w, wire.Expired, "")
		return
	}
	if op == nil || !op.Write {
		c.answerStatus(w, wire.NotReplica, fmt.Sprintf("operation %q of partition %d", m.Op, part))
		return
	}
	if own < 0 && (m.Flags&wire.StandIn == 0 || v.fallbackAt(part, v.self) < 0) {
		c.answerStatus(w, c.misplaced(v, m), fmt.Sprintf("operation %q of partition %d", m.Op, part))
		return
	}
	place := v.places[part]
	if w.levels.W == LocalOne || w.levels.W == LocalQuorum {
		place = v.placementFor(part, from)
	}
	t, possible := newWriteTally(w.levels.W, &place)
	usable, _ := v.reachable(part)
	t.bad = place.writers() &^ w.assign(usable)
	if !possible || t.hopeless() {
		c.answerStatus(w, wire.NoQuorum, "")
		return
	}
	w.tally = t
	// The node that forwarded the write is often a replica itself. If its
	// acknowledgement and ours suffice, it needs no further word from us.
	if place := v.placeOf(part, from); place >= 0 && w.own >= 0 && m.Flags&wire.Refuses == 0 && t.metBy(1<<uint(place)|1<<uint(w.own)) {
		w.originPlace = place
	}
	// Whoever stands before us in the preference list may still be acting.
	if own >= 0 && first(usable, usable) != own {
		v.unsettle(part)
	}
	w.start()
}

// answerWrite sends the outcome of a forwarded write to where it came from.
func (c *Coordinator) answerWrite(w *writeOp, err error) {
	m := wire.Message{Kind: wire.WriteReply, ID: w.originID, Body: w.call.Out}
	if err != nil {
		m.Status, m.Body = statusOf(err), []byte(err.Error())
	}
	// When it cannot be sent the connection is gone, and the other side knows.
	_ = c.send(w.origin, w.v, &m)
}

// answerStatus refuses a forwarded write that did not begin.
func (c *Coordinator) answerStatus(w *writeOp, s wire.Status, text string) {
	m := wire.Message{Kind: wire.WriteReply, ID: w.originID, Status: s, Body: []byte(text)}
	_ = c.send(w.origin, w.v, &m)
	c.putWrite(w)
}

// statusOf is the status an error travels as.
func statusOf(err error) wire.Status {
	switch {
	case err == nil:
		return wire.OK
	case errors.Is(err, errExpired):
		return wire.Expired
	case errors.Is(err, ErrTimeout):
		return wire.Timeout
	case errors.Is(err, ErrNoQuorum):
		return wire.NoQuorum
	case errors.Is(err, ErrOverloaded):
		return wire.Overloaded
	case errors.Is(err, ErrFull):
		return wire.Full
	case errors.Is(err, errMoved):
		return wire.WrongEpoch
	case errors.Is(err, ErrNotReady):
		return wire.NotReplica
	}
	return wire.Failed
}

// RemoteError is the text of an error at another node that has no name here.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// errorOf is the error a status stands for.
func errorOf(m *wire.Message) error {
	switch m.Status {
	case wire.OK, wire.Same, wire.Absent, wire.Stale:
		return nil
	case wire.Timeout, wire.Expired:
		return ErrTimeout
	case wire.NoQuorum:
		return ErrNoQuorum
	case wire.Overloaded:
		return ErrOverloaded
	case wire.Full:
		return ErrFull
	case wire.WrongEpoch, wire.NotReplica:
		return ErrNotReady
	}
	text := string(m.Body)
	if m.Status == wire.Refused {
		return &RemoteError{"another node refuses this one's messages: " + text}
	}
	for _, known := range [...]error{ErrReadOnly, ErrSlow, ErrTooManySiblings, ErrLevel, ErrCorrupt} {
		if len(text) >= len(known.Error()) && text[:len(known.Error())] == known.Error() {
			return known
		}
	}
	return &RemoteError{text}
}

// forwardOp is a client's write under way at another node. While id is set, all of it is
// guarded by mu. Who makes id 0, under mu, has it alone from then on: what comes late for
// that id looks at nothing else, for all of it may be changing for the next use.
type forwardOp struct {
	c   *Coordinator
	mu  sync.Mutex
	id  uint64 // guarded by mu, always
	to  ring.NodeID
	req *Request
	msg wire.Message // what it sends; here, because it would escape to the heap

	way  route
	wait bool   // it was refused, and waits for a ring
	key  []byte // for another replica, with args: nil when there is none
	args [][]byte
	mem  []byte // behind both
}

// forward sends a write to a member. No answer will be an answer of
// unknown outcome: it is never sent twice. It returns false, and leaves the
// request to the caller, when that node cannot be reached.
func (c *Coordinator) forward(r *Request, key []byte, args [][]byte, way route, place int) bool {
	v := way.v
	to := v.ring.Members[v.memberAt(way.part, place)].ID
	f := c.forwards.Get().(*forwardOp)
	f.mu.Lock()
	f.to, f.req, f.way = to, r, way
	f.way.refused |= 1 << uint(place) // if we hear of it again, it is so
	kept := sizeOf(key, args)
	if kept > maxKept {
		kept = 0 // see keep
	}
	id, ok := c.pending.add(f, kept)
	f.id = id
	if !ok {
		f.mu.Unlock()
		c.putForward(f)
		c.refuse(r, ErrOverloaded)
		return true
	}
	m, timeout, l := &f.msg, way.deadline.Sub(way.now), way.levels
	*m = wire.Message{
		Kind: wire.Write, ID: id, Now: int64(c.o.Clock.Present(way.now)), Timeout: timeout, Token: way.token, DB: r.DB, Key: key, Proto: r.Proto,
		R: int16(l.R), W: int16(l.W), Mode: uint8(l.Mode), Args: args, Op: r.Op.name(),
	}
	if v.own[way.part] >= 0 && c.refuses(way.now) {
		m.Flags |= wire.Refuses
	}
	if place >= v.places[way.part].n {
		m.Flags |= wire.StandIn
	}
	// The lock keeps a loss of the connection from completing the request, whose
	// key and arguments are its maker's again then, while they are encoded.
	err := c.send(to, v, m)
	if err != nil {
		c.pending.remove(id)
		f.id = 0
	} else {
		f.keep(key, args)
	}
	f.mu.Unlock()
	switch {
	case err == nil:
		c.Metrics.Forwards.Add(1)
		// The primary's own time runs out first; the rest is for the way.
		c.alarms.set(id, alarmTimeout, timeout+timeout/8)
		if timeout > silence {
			c.alarms.set(id, alarmSilent, silence)
		}
		return true
	case c.sendError(err) == ErrOverloaded:
		c.putForward(f)
		c.refuse(r, ErrOverloaded)
		return true
	}
	c.putForward(f)
	return false
}

// keep copies the command if another replica could take it. Large ones are not
// worth it: a full disk is rare, and then said. The caller holds mu.
func (f *forwardOp) keep(key []byte, args [][]byte) {
	f.key, f.args = nil, f.args[:0]
	place := &f.way.v.places[f.way.part]
	t, _ := newTally(f.way.levels.W, place)
	moving := f.way.v.moving()
	if t.bad = f.way.refused & place.all(); t.hopeless() && f.way.levels.Mode != Sloppy && !moving {
		return
	}
	if moving || sizeOf(key, args) <= maxKept {
		f.mem, f.key, f.args = keep(f.mem, key, append(f.args, args...))
	}
}

// take makes the caller the one who completes the request; false if somebody
// else did.
func (f *forwardOp) take(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.id != id {
		return false
	}
	f.c.pending.remove(id)
	f.id = 0
	return true
}

// complete ends the request of a forward that was taken.
func (f *forwardOp) complete(out []byte, err error) {
	c, r := f.c, f.req
	r.Out, r.Err = append(r.Out[:0], out...), err
	c.Metrics.count(err)
	c.putForward(f)
	r.Owner.Complete(r)
}

// putForward gives a forward that nothing finds any more back for its next use.
func (c *Coordinator) putForward(f *forwardOp) {
	f.req, f.msg, f.way, f.key, f.wait = nil, wire.Message{}, route{}, nil, false
	if cap(f.mem) <= maxKept {
		c.forwards.Put(f)
	}
}

// receive implements waiter: the primary's answer.
func (f *forwardOp) receive(id uint64, _ ring.NodeID, m *wire.Message) {
	if m.Status == wire.WrongEpoch && m.Kind == wire.WriteReply && f.misplaced(id) {
		return
	}
	if m.Kind != wire.WriteReply || !f.take(id) {
		return
	}
	err := errorOf(m)
	f.way.now = time.Now()
	if !mayGoOn(err) || f.key == nil || !f.way.now.Before(f.way.deadline) {
		f.complete(m.Body, err)
		return
	}
	f.c.route(f.req, f.key, f.args, f.way, err)
	f.c.putForward(f)
}

// lost implements waiter.
func (f *forwardOp) lost(id uint64, node ring.NodeID) {
	f.mu.Lock()
	ours := f.id == id && f.to == node && !f.wait
	f.mu.Unlock()
	if ours && f.take(id) {
		f.complete(nil, ErrTimeout)
	}
}

// misplaced keeps a write that was refused for its ring, and was not run, until it may
// come to its soft primary; false if its command is not kept, or another has ended it.
func (f *forwardOp) misplaced(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.id != id || f.key == nil {
		return false
	}
	f.wait = true
	wait := ringWait
	if f.c.view.Load() != f.way.v {
		wait = 0
	}
	f.c.alarms.set(id, alarmRing, wait)
	return true
}

// goOn brings a write that waited for a ring to its soft primary.
func (f *forwardOp) goOn(id uint64) {
	f.mu.Lock()
	waits := f.id == id && f.wait
	f.mu.Unlock()
	if !waits || !f.take(id) {
		return
	}
	f.way.v, f.way.refused, f.way.now = f.c.view.Load(), 0, time.Now()
	f.c.Metrics.Rerouted.Add(1)
	f.c.route(f.req, f.key, f.args, f.way, ErrNoQuorum)
	f.c.putForward(f)
}

// wake implements waiter.
func (f *forwardOp) wake(id uint64, why alarm) {
	if why == alarmRing {
		f.goOn(id)
		return
	}
	if why == alarmSilent {
		f.mu.Lock()
		if f.id != id || f.wait {
			f.mu.Unlock()
			return
		}
		to, deadline := f.to, f.way.deadline
		f.mu.Unlock()
		if f.c.timedOut(to) < mute {
			// As long as it lasts: few clients make few requests, and all of them
			// may be waiting for that node.
			f.c.alarms.set(id, alarmSilent, silenceAgain)
			// Nor is there any sense in waiting for its word that time is over.
			f.c.alarms.set(id, alarmTimeout, time.Until(deadline))
			return
		}
		if f.take(id) {
			f.c.Metrics.Mute.Add(1)
			f.complete(nil, ErrTimeout)
		}
		return
	}
	if f.take(id) {
		c, to := f.c, f.to
		if f.wait {
			f.complete(nil, ErrNotReady) // nothing was done
			return
		}
		f.complete(nil, ErrTimeout)
		c.timedOut(to)
	}
}
