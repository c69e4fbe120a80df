package coordinator

import (
	"sync"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// reader takes the outcome of a read that is part of something larger. o is
// valid during the call.
type reader interface {
	readDone(o *version.Object, err error)
	// need says which replicas of the partition have to be read, by a ring: a level
	// that comes near it, and who.
	need(v *view) (Level, tally)
}

// readOp is a read at its coordinator.
type readOp struct {
	c *Coordinator

	mu       sync.Mutex
	id       uint64 // guarded by mu; 0 when it waits for nothing
	tally    tally  // guarded by mu: who answered
	asked    uint64 // guarded by mu
	level    tally  // guarded by mu: who holds the merged object, once repairing
	repair   bool   // guarded by mu: merged is known, acknowledgements are awaited
	spent    uint64 // guarded by mu: who answered and could not be repaired
	failure  error  // guarded by mu: the first answer that was an error
	outdated bool   // guarded by mu: a node that could answer works by another ring
	stuck    bool   // guarded by mu: it waits for that
	damaged  bool   // guarded by mu: the own copy cannot be read
	others   bool   // the own copy is known to be damaged and is not asked
	answered [maxPlaces]answer
	saw      []byte // an object that is merged with the answers, of next; empty for none

	v        *view
	part     ring.Partition
	levels   Levels
	mode     Mode
	local    bool // only nodes of the replicas' own data centres stand in
	cast     cast // guarded by mu: who is asked for whom
	own      int  // the place this node's copy answers for, -1 for none
	turn     turn // whose turn it is, of a hot key
	key      replica.Key
	args     [][]byte
	kept     bool
	mem      []byte
	began    time.Time
	deadline time.Time
	blocking bool // repairs come before the answer
	fresh    tally

	req  *Request // the client's request, or
	next reader   // who else asked

	call   Call
	msg    wire.Message // what it sends; here, because it would escape to the heap
	merged version.Object
	result *version.Object // what next gets
	enc    []byte
}

// maxPlaces bounds a replica set; see ring.MaxReplicas.
const maxPlaces = ring.MaxReplicas

// answer is one replica's object, encoded; empty when it holds nothing.
type answer struct {
	object []byte
}

// submitRead begins a client's read.
func (c *Coordinator) submitRead(v *view, r *Request) {
	token := ring.TokenOf(r.DB, r.Key)
	part := v.ring.PartitionOf(token)
	levels, timeout := c.levels(r.Levels, false)
	t, possible := newTally(levels.R, &v.places[part])
	if !possible {
		c.refuse(r, ErrLevel)
		return
	}
	if n := c.Metrics.Reads.Add(1); c.hot.Reads.Due(n) {
		c.hot.Reads.Sample(n, token, part, r.DB, r.Key)
	}
	key := replica.Key{Token: token, DB: r.DB, Name: r.Key}
	if own := v.own[part]; own >= 0 && v.states[part].lacks.Load() == 0 && t.metBy(1<<uint(own)) && c.readHere(v, part, r, key) {
		return
	}
	op := c.reads.Get().(*readOp)
	op.req, op.next = r, nil
	op.args = append(op.args[:0], r.Args...)
	op.start(v, part, key, t, levels, timeout)
}

// start begins to ask: this node's own copy first.
func (o *readOp) start(v *view, part ring.Partition, key replica.Key, t tally, l Levels, timeout time.Duration) {
	o.v, o.part, o.key, o.kept = v, part, key, false
	o.began = time.Now()
	o.deadline = o.began.Add(timeout)
	o.mu.Lock()
	o.tally, o.asked, o.repair, o.failure, o.spent, o.damaged = t, 0, false, nil, 0, false
	o.levels, o.outdated, o.stuck = l, false, false
	o.fresh = t
	place := &v.places[part]
	o.blocking = place.overlap(l.R, l.W)
	o.assign(place, l)
	o.spread(place, l)
	if o.tally.hopeless() {
		if o.outdated && time.Until(o.deadline) > 0 {
			if o.wait() {
				o.awaitRing()
			}
			return
		}
		o.mu.Unlock()
		o.finish(ErrNoQuorum)
		return
	}
	own := o.own
	// A write reads its own copy in any case: what that has and the others lack is brought to them.
	if own >= 0 && (t.groups[0].members>>uint(own)&1 != 0 || t.n > 1 || o.next != nil) {
		o.asked = 1 << uint(own)
		o.readOwn(own)
		return
	}
	o.ask()
}

// Keep copies the key and the arguments, once the read has to wait.
func (o *readOp) Keep() {
	if !o.kept {
		o.kept = true
		o.mem, o.key.Name, o.args = keep(o.mem, o.key.Name, o.args)
	}
}

// take notes the own copy. The caller holds mu.
func (o *readOp) take(own int, s *replica.Scratch) {
	a := &o.answered[own]
	a.object = a.object[:0]
	if !s.Object.Empty() {
		a.object = append(a.object, record(s)...)
	}
	o.tally.ok |= 1 << uint(own)
}

// fail notes that a replica will not answer. The caller holds mu.
func (o *readOp) fail(place int, err error) {
	o.tally.bad |= 1 << uint(place)
	if o.failure == nil {
		o.failure = err
	}
}

// wait makes the read one that waits, if it does not yet: it can be found, and
// is woken. False: too many wait, and the read is over. The caller holds mu, which
// wait gives up when it returns false.
func (o *readOp) wait() bool {
	o.Keep()
	if o.id != 0 {
		return true
	}
	id, ok := uint64(0), false
	if size := sizeOf(o.key.Name, o.args); o.next == nil {
		id, ok = o.c.pending.add(o, size)
	} else { // it is part of something that has begun
		id, ok = o.c.pending.must(o, size)
	}
	if !ok {
		o.mu.Unlock()
		o.finish(ErrOverloaded)
		return false
	}
	o.id = id
	o.c.alarms.set(id, alarmTimeout, time.Until(o.deadline))
	o.c.alarms.set(id, alarmHedge, o.hedgeAfter())
	if time.Until(o.deadline) > silence {
		o.c.alarms.set(id, alarmSilent, silence)
	}
	return true
}

// ask asks as many more replicas as the level misses. The caller holds mu, which
// ask gives up.
func (o *readOp) ask() {
	if !o.wait() {
		return
	}
	for {
		more, from := o.tally.missing(o.asked)
		if more == 0 {
			o.mu.Unlock()
			return
		}
		place := o.choose(from)
		switch {
		case place >= 0 && o.v.actor(o.part, place, &o.cast).id == o.v.self:
			o.asked |= 1 << uint(place)
			o.own = place
			o.readOwn(place)
			return
		case place >= 0:
			o.send(place)
			continue
		case o.replaceBad():
			continue
		}
		break
	}
	if o.outdated {
		o.awaitRing()
		return
	}
	err := o.failure
	if err == nil {
		err = ErrNoQuorum
	}
	o.release()
	o.mu.Unlock()
	o.finish(err)
}

// send asks one replica. The caller holds mu.
func (o *readOp) send(place int) {
	bit := uint64(1) << uint(place)
	o.asked |= bit
	m := &o.msg
	*m = wire.Message{
		Kind: wire.Read, ID: o.id, Timeout: time.Until(o.deadline),
		Token: o.key.Token, DB: o.key.DB, Key: o.key.Name,
	}
	if own := o.own; own >= 0 && o.tally.ok>>uint(own)&1 != 0 && len(o.answered[own].object) > 0 {
		m.Digest = version.DigestOf(o.answered[own].object)
	}
	if o.cast.by[place] != 0 {
		m.Flags |= wire.StandIn
		o.c.Metrics.ReadStandIns.Add(1)
	}
	if o.c.send(o.v.actor(o.part, place, &o.cast).id, o.v, m) != nil {
		o.tally.bad |= bit
	}
}

// release gives the id back. The caller holds mu.
func (o *readOp) release() {
	if o.id != 0 {
		o.c.pending.remove(o.id)
		o.id = 0
	}
}

// receive implements waiter.
func (o *readOp) receive(id uint64, from ring.NodeID, m *wire.Message) {
	o.mu.Lock()
	place, acts := -1, false
	if o.id == id {
		if place = o.v.placeBy(o.part, from, &o.cast); place >= 0 {
			acts = o.v.actor(o.part, place, &o.cast).id == from
		}
	}
	switch {
	case place < 0:
		o.mu.Unlock()
	case m.Kind == wire.ReadReply && !o.repair:
		if o.tally.ok>>uint(place)&1 != 0 || !acts && errorOf(m) != nil {
			o.mu.Unlock() // another has answered in its place, or may still
			return
		}
		if !acts {
			o.cast.by[place] = 0 // so it is the replica itself, late
		}
		c, took := o.c, time.Since(o.began)
		o.answer(place, m)
		c.o.Answered(from, took)
	case m.Kind == wire.ReplicateAck && o.repair:
		o.repaired(place, m)
	default:
		o.mu.Unlock()
	}
}

// answer notes a replica's answer. The caller holds mu, which answer gives up.
func (o *readOp) answer(place int, m *wire.Message) {
	a := &o.answered[place]
	switch m.Status {
	case wire.Same:
		a.object = append(a.object[:0], o.answered[o.own].object...)
	case wire.Absent:
		a.object = a.object[:0]
	case wire.OK:
		a.object = append(a.object[:0], m.Object...)
		o.c.pending.grow(o.id, len(m.Object))
	case wire.WrongEpoch:
		o.outrun(place)
		o.ask()
		return
	default:
		o.fail(place, errorOf(m))
		o.ask()
		return
	}
	o.tally.ok |= 1 << uint(place)
	if !o.tally.met() {
		o.ask()
		return
	}
	o.conclude()
}

// conclude merges the answers, brings level what was behind and answers. The
// caller holds mu, which conclude gives up.
func (o *readOp) conclude() {
	behind, err := o.merge()
	if err != nil {
		o.release()
		o.mu.Unlock()
		o.finish(err)
		return
	}
	if o.next == nil {
		behind &^= o.cast.stoodIn() // whose replicas may have it
	}
	if behind != 0 {
		o.repairAll(behind)
		return
	}
	o.release()
	o.mu.Unlock()
	o.run(&o.merged, nil)
	o.finish(nil)
}

// run runs the operation on the object.
func (o *readOp) run(object *version.Object, buf []byte) {
	if o.next != nil {
		o.result = object
		return
	}
	c := &o.call
	c.Reset()
	now := time.Now().UnixMilli()
	value := object.Value(now, buf)
	c.Args, c.Key, c.DB, c.Proto, c.Now = o.args, o.key.Name, o.key.DB, o.req.Proto, now
	c.ClusterID, c.Object = o.v.ring.ClusterID, object
	c.Exists, c.Value, c.Deadline, c.Counter = value.Exists, value.Data, value.Deadline, value.Counter
	o.req.Out = o.req.Out[:0]
	c.Out = o.req.Out
	o.req.Op.Run(c)
	o.req.Out = c.Out
	c.Out = nil
}

// lost implements waiter.
func (o *readOp) lost(id uint64, node ring.NodeID) {
	o.mu.Lock()
	place := -1
	if o.id == id {
		place = o.v.placeBy(o.part, node, &o.cast)
	}
	if place < 0 || o.v.actor(o.part, place, &o.cast).id != node {
		o.mu.Unlock()
		return
	}
	bit := uint64(1) << uint(place)
	switch {
	case o.repair:
		if o.level.ok&bit == 0 {
			o.level.bad |= bit
		}
		o.settleRepair()
	case o.asked&bit != 0 && o.tally.ok&bit == 0:
		o.tally.bad |= bit
		o.ask()
	default:
		o.mu.Unlock()
	}
}

// wake implements waiter.
func (o *readOp) wake(id uint64, why alarm) {
	o.mu.Lock()
	if o.id != id {
		o.mu.Unlock()
		return
	}
	switch why {
	case alarmHedge:
		o.hedge()
		return
	case alarmSilent:
		o.giveUp()
		return
	case alarmRing:
		if o.stuck {
			o.restart()
		} else {
			o.mu.Unlock()
		}
		return
	}
	o.release()
	o.mu.Unlock()
	o.finish(ErrTimeout)
}

// finish answers whoever asked and gives the read back. No lock is held.
func (o *readOp) finish(err error) {
	c := o.c
	if err == nil && o.damaged {
		o.healOwn()
	}
	if o.next != nil {
		o.next.readDone(o.result, err)
		c.putRead(o)
		return
	}
	r := o.req
	c.Metrics.count(err)
	r.Err = err
	if err != nil {
		r.Out = r.Out[:0]
	}
	c.putRead(o)
	r.Owner.Complete(r)
}

// putRead gives a read back for its next use.
func (c *Coordinator) putRead(o *readOp) {
	o.mu.Lock()
	o.release()
	large := cap(o.mem) > maxKept || cap(o.enc) > maxKept
	for i := range o.answered {
		large = large || cap(o.answered[i].object) > maxKept
	}
	o.req, o.next, o.v, o.result, o.saw = nil, nil, nil, nil, nil
	o.others, o.damaged = false, false
	o.merged.Reset()
	o.call.Reset()
	o.mu.Unlock()
	if !large {
		c.reads.Put(o)
	}
}
