package coordinator

import (
	"bytes"
	"errors"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// Receive takes a message of another node. m is valid during the call only.
func (c *Coordinator) Receive(from ring.NodeID, m *wire.Message) {
	if err := c.o.Clock.Observe(hlc.Timestamp(m.Now)); err != nil {
		c.clockAhead(from, m, err)
		return
	}
	switch m.Kind {
	case wire.ReplicateAck, wire.WriteReply, wire.ReadReply:
		if m.Status == wire.Refused {
			c.o.ClockApart(from, false) // the only reason for which requests are
		}
		if v := c.view.Load(); m.Status == wire.WrongEpoch && v != nil && m.Epoch > v.epoch {
			c.o.NewerRing(from, m.Epoch)
		}
		if w := c.pending.find(m.ID); w != nil {
			w.receive(m.ID, from, m)
		}
		return
	}
	if m.Flags&wire.Relay != 0 && m.Target != 0 && m.Kind == wire.Replicate {
		from = m.Target // whoever has passed it on
	}
	v := c.view.Load()
	if v == nil {
		c.reject(from, m, wire.NotReplica, "")
		return
	}
	if m.Epoch != v.epoch && c.wrongEpoch(v, from, m) {
		c.reject(from, m, wire.WrongEpoch, "")
		return
	}
	c.Metrics.Served.Add(1)
	switch m.Kind {
	case wire.Write:
		c.acceptWrite(v, from, m)
	case wire.Replicate:
		c.acceptReplicate(v, from, m)
	case wire.Read:
		c.acceptRead(v, from, m)
	}
}

// wrongEpoch reports whether a request was made by an older ring than this node's and
// is misplaced therefore, because the partition has changed since. One made by a newer
// ring is served, if this node keeps the partition by its own: see DESIGN.md. So is
// an object that nobody counts.
func (c *Coordinator) wrongEpoch(v *view, from ring.NodeID, m *wire.Message) bool {
	if m.Epoch > v.epoch {
		c.o.NewerRing(from, m.Epoch)
		return false
	}
	p := v.ring.PartitionOf(m.Token)
	return v.since[p] > m.Epoch && (m.Kind != wire.Replicate || m.Flags&wire.NoAck == 0 || !v.takes(p))
}

// misplaced is how a request for a partition that this node does not keep is refused:
// one by another ring may be right there, and comes again.
func (c *Coordinator) misplaced(v *view, m *wire.Message) wire.Status {
	if m.Epoch != v.epoch {
		return wire.WrongEpoch
	}
	return wire.NotReplica
}

// clockAhead refuses a message of a node whose clock is too far ahead: taking
// its timestamps would move ours there for good.
func (c *Coordinator) clockAhead(from ring.NodeID, m *wire.Message, err error) {
	c.o.ClockApart(from, true)
	if c.Metrics.ClocksAhead.Add(1)%1024 == 1 {
		c.o.Logger.Warn().Stringer("node", from).Err(err).Msg("a node's clock is too far ahead, its messages are refused")
	}
	switch m.Kind {
	case wire.Write, wire.Replicate, wire.Read:
		c.reject(from, m, wire.Refused, err.Error())
	default:
		if w := c.pending.find(m.ID); w != nil {
			w.lost(m.ID, from)
		}
	}
}

// reject answers a request with a status and nothing else.
func (c *Coordinator) reject(from ring.NodeID, m *wire.Message, s wire.Status, text string) {
	kind := wire.WriteReply
	switch m.Kind {
	case wire.Replicate:
		if m.Flags&wire.NoAck != 0 {
			return
		}
		kind = wire.ReplicateAck
	case wire.Read:
		kind = wire.ReadReply
	}
	reply := wire.Message{Kind: kind, ID: m.ID, Status: s, Body: []byte(text), Now: int64(c.o.Clock.Last())}
	if v := c.view.Load(); v != nil {
		reply.Epoch = v.epoch
	}
	_ = c.o.Transport.Send(from, &reply)
}

// mergeTask is an object another node sent, to be merged into what this node
// holds, as a replica or in place of one. However long it had to wait for the disk, it is merged: it may be of a
// write that was acknowledged without this node.
type mergeTask struct {
	c        *Coordinator
	v        *view
	from     ring.NodeID
	id       uint64
	flags    wire.Flags
	key      replica.Key
	object   []byte
	origin   uint64
	body     []byte
	kept     bool
	mem      []byte
	stale    bool
	healed   bool         // the own copy was damaged and the others were asked
	msg      wire.Message // the answer; here, because it would escape to the heap
	enc      []byte       // what is held after the merge, when stale
	target   ring.NodeID  // the replica this node stands in for; 0 when it is one itself
	finished func(error)  // who asked at this node; else nil
	hinted   bool         // it was kept for this node for as long as may be
}

// acceptReplicate merges an object of another node.
func (c *Coordinator) acceptReplicate(v *view, from ring.NodeID, m *wire.Message) {
	// Who stands in must be one who may by its own ring, too: a node that leaves, and is about
	// to end because nothing is left there, is none any more.
	if p := v.ring.PartitionOf(m.Token); v.own[p] < 0 && !v.takes(p) && (m.Flags&wire.StandIn == 0 || v.fallbackAt(p, v.self) < 0) {
		c.reject(from, m, c.misplaced(v, m), "")
		return
	}
	t := c.merges.Get().(*mergeTask)
	t.v, t.from, t.id, t.flags = v, from, m.ID, m.Flags
	t.key = replica.Key{Token: m.Token, DB: m.DB, Name: m.Key}
	t.object, t.origin, t.body = m.Object, m.Origin, m.Body
	t.kept, t.stale, t.healed, t.finished, t.target = false, false, false, nil, m.Target
	if m.Flags&wire.Relay == 0 {
		c.o.Replica.Do(t)
		return
	}
	k := t.key
	t.target = 0
	c.o.Replica.Do(t)
	if len(m.Relay) > 0 {
		c.passOn(from, k, m)
	}
}

// Merge merges an object that another node has kept for this one, and calls done, which
// must not block. What this node had of it before, and has no more, is not stored again:
// see replica.Outlived. What it is given is borrowed until done.
func (c *Coordinator) Merge(k replica.Key, object []byte, done func(error)) {
	if c.crowded() {
		done(ErrOverloaded)
		return
	}
	t := c.merges.Get().(*mergeTask)
	t.v, t.key, t.object, t.flags = c.view.Load(), k, object, wire.Repair
	t.origin, t.body, t.target = 0, nil, 0
	t.kept, t.stale, t.healed, t.finished, t.hinted = true, false, false, done, true
	c.o.Replica.Do(t)
}

// Key implements replica.Task.
func (t *mergeTask) Key() replica.Key { return t.key }

// Size implements replica.Sizer.
func (t *mergeTask) Size() int { return len(t.key.Name) + len(t.object) + len(t.body) }

// Keep implements replica.Task.
func (t *mergeTask) Keep() {
	if t.kept {
		return
	}
	t.kept = true
	parts := [2][]byte{t.object, t.body}
	t.mem, t.key.Name, _ = keep(t.mem, t.key.Name, parts[:])
	t.object, t.body = parts[0], parts[1]
}

// Apply implements replica.Task. Who stands in for another keeps a hint of it, and
// takes nothing without.
func (t *mergeTask) Apply(s *replica.Scratch) ([]byte, error) {
	if v := t.c.view.Load(); v != t.v && t.moved(v) {
		return nil, errMoved
	}
	write, err := t.merge(s)
	if err == nil && t.target != 0 && !s.Other.Empty() {
		var ok bool
		if s.Beside, ok = t.c.o.Hints.Add(s.Beside, t.target, t.key, len(t.object)); !ok {
			return nil, ErrOverloaded
		}
	}
	return write, err
}

// moved reports whether the object has waited until this node's acknowledgement would
// count for something else than its sender means.
func (t *mergeTask) moved(v *view) bool {
	p := v.ring.PartitionOf(t.key.Token)
	return t.finished == nil && v.changed(p, t.v) && (t.flags&wire.NoAck == 0 || !v.takes(p))
}

// merge returns what is to be stored, nil for nothing.
func (t *mergeTask) merge(s *replica.Scratch) ([]byte, error) {
	if err := s.Other.Decode(t.object); err != nil {
		return nil, err
	}
	part := t.c.o.Replica.Forget(t.key.DB, &s.Other)
	if t.hinted && t.c.o.Replica.Outlived(t.key, &s.Other, &s.Object) {
		return nil, nil
	}
	if s.Other.Empty() || s.Object.Empty() && t.c.o.Replica.Gone(t.key, &s.Other) {
		return nil, nil
	}
	switch {
	case s.Object.Empty(), s.Other.Covers(&s.Object):
		if bytes.Equal(s.Stored(), t.object) {
			return nil, nil
		}
		if !part {
			return t.object, nil
		}
		s.Buf = s.Other.Append(s.Buf[:0])
		return s.Buf, nil
	case s.Object.Covers(&s.Other):
		// A repair may have brought the object before its writer did; what
		// stands beside it is unseen by the writer all the same.
		if t.flags&Covering != 0 && standsBeside(&s.Object, &s.Other) {
			t.stale = true
			t.enc = append(t.enc[:0], record(s)...)
		}
		return nil, nil
	}
	version.Merge(&s.Merged, &s.Object, &s.Other)
	s.Buf = s.Merged.Append(s.Buf[:0])
	if t.flags&Covering != 0 {
		t.stale = true
		t.enc = append(t.enc[:0], s.Buf...)
	}
	return s.Buf, nil
}

// standsBeside reports whether held, which covers sent, has siblings beside the
// newest of sent that its writer has not seen. Where that one was replaced already,
// by the only sibling there is, whoever wrote this has seen it. Of several siblings
// one has, and those of the same node have; that the others are older than what has
// been acknowledged cannot be known.
func standsBeside(held, sent *version.Object) bool {
	newest := sent.Newest()
	if newest == nil {
		return false
	}
	replaced := !held.Has(newest.Dot)
	if replaced && len(held.Siblings) < 2 {
		return false
	}
	for i := range held.Siblings {
		dot := held.Siblings[i].Dot
		later := replaced && dot.Node == newest.Dot.Node && dot.Time > newest.Dot.Time
		if !later && !sent.Has(dot) && !sent.Context.Covers(dot) {
			return true
		}
	}
	return false
}

// Done implements replica.Task: it acknowledges, and completes the client's
// request when this node had forwarded it.
func (t *mergeTask) Done(err error) {
	c := t.c
	if isDamage(err) && !t.healed {
		t.heal(err)
		return
	}
	c.noteRefusal(err)
	if t.target == 0 && t.finished == nil && errors.Is(err, replica.ErrBusy) {
		c.Metrics.Missed.Add(1)
		c.o.Missed(t.v.ring.PartitionOf(t.key.Token))
	}
	if err == errMoved {
		t.v = c.view.Load() // the answer tells of it
	} else if err != nil && t.target != 0 {
		c.o.Hints.Undo(t.target)
	}
	if t.finished != nil {
		t.finished(err)
		c.putMerge(t)
		return
	}
	if t.flags&wire.NoAck == 0 {
		m := &t.msg
		*m = wire.Message{Kind: wire.ReplicateAck, ID: t.id}
		switch {
		case err != nil:
			err = storeError(err)
			m.Status, m.Body = statusOf(err), []byte(err.Error())
		case t.stale:
			m.Status, m.Object = wire.Stale, t.enc
		default:
			m.Flags = t.flags & wire.Later
		}
		_ = c.send(t.from, t.v, m)
	}
	if t.origin != 0 && err == nil && !t.stale {
		if f, ok := c.pending.find(t.origin).(*forwardOp); ok && f.take(t.origin) {
			f.complete(t.body, nil)
		}
	}
	c.putMerge(t)
}

func (c *Coordinator) putMerge(t *mergeTask) {
	if cap(t.mem) > maxKept || cap(t.enc) > maxKept {
		return
	}
	t.v, t.object, t.body, t.key.Name, t.finished, t.hinted = nil, nil, nil, nil, nil, false
	t.msg = wire.Message{}
	c.merges.Put(t)
}

// answerTask reads a key for another node.
type answerTask struct {
	c      *Coordinator
	v      *view
	from   ring.NodeID
	id     uint64
	digest uint64
	flags  wire.Flags
	key    replica.Key
	kept   bool
	mem    []byte
	msg    wire.Message // the answer; here, because it would escape to the heap

	timeout  time.Duration
	deadline time.Time // once it waits, zero for none
}

// acceptRead answers a read of another node.
func (c *Coordinator) acceptRead(v *view, from ring.NodeID, m *wire.Message) {
	part := v.ring.PartitionOf(m.Token)
	if v.own[part] < 0 && m.Flags&wire.StandIn == 0 {
		c.reject(from, m, c.misplaced(v, m), "")
		return
	}
	if lacks := v.states[part].lacks.Load(); lacks != 0 {
		status := wire.NoQuorum
		if lacks == lacksLatest && !v.moveOf(part).filling {
			status = wire.WrongEpoch // in a moment
		}
		c.reject(from, m, status, "")
		return
	}
	t := c.answers.Get().(*answerTask)
	t.v, t.from, t.id, t.digest, t.flags, t.kept = v, from, m.ID, m.Digest, m.Flags, false
	t.key = replica.Key{Token: m.Token, DB: m.DB, Name: m.Key}
	t.timeout, t.deadline = m.Timeout, time.Time{}
	c.o.Replica.Read(t)
}

// Key implements replica.Reader.
func (t *answerTask) Key() replica.Key { return t.key }

// Keep implements replica.Reader.
func (t *answerTask) Keep() {
	if !t.kept {
		t.kept = true
		t.mem, t.key.Name, _ = keep(t.mem, t.key.Name, nil)
		if t.timeout > 0 {
			t.deadline = time.Now().Add(t.timeout)
		}
	}
}

// Late implements replica.Reader.
func (t *answerTask) Late() bool { return !t.deadline.IsZero() && time.Now().After(t.deadline) }

// Loaded implements replica.Reader.
func (t *answerTask) Loaded(s *replica.Scratch, err error) {
	c := t.c
	m := &t.msg
	*m = wire.Message{Kind: wire.ReadReply, ID: t.id}
	v := c.view.Load()
	switch {
	case v != t.v && v.changed(v.ring.PartitionOf(t.key.Token), t.v):
		m.Status = wire.WrongEpoch // this copy may not be one to be read any more
		t.v = v
	case err != nil:
		err = storeError(err)
		m.Status, m.Body = statusOf(err), []byte(err.Error())
		if errors.Is(err, ErrCorrupt) {
			c.Metrics.CorruptReads.Add(1)
			c.healAfter(t.v, t.key)
		}
	case s.Object.Empty():
		m.Status = wire.Absent
	default:
		object := record(s)
		m.Digest = version.DigestOf(object)
		if m.Digest == t.digest {
			m.Status = wire.Same
		} else if t.flags&wire.DigestOnly == 0 {
			m.Object = object
		}
	}
	_ = c.send(t.from, t.v, m)
	t.msg = wire.Message{}
	t.v = nil
	c.answers.Put(t)
}

// record returns the encoding of the object that was read, as stored when it is
// whole.
func record(s *replica.Scratch) []byte {
	if stored := s.Stored(); len(stored) > 0 {
		return stored
	}
	s.Buf = s.Object.Append(s.Buf[:0])
	return s.Buf
}
