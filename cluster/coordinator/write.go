package coordinator

import (
	"sync"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// Covering marks a Replicate whose writer meant to replace everything. A
// replica that holds something the writer had not seen answers Stale.
const Covering = wire.Covering

// writeOp is a write at the key's soft primary: it runs the operation under the
// key's lock, sends the object to the other replicas and counts their answers.
//
// A replica that held a value the object does not cover answers Stale, with that
// value, which is no acknowledgement. When the others do not suffice, a write that
// replaces whatever is there is mended (see mend), and another runs again on both.
// It does not run again where a later write has replaced its effect: what it
// would make now would come after that one.
type writeOp struct {
	c *Coordinator

	mu    sync.Mutex
	id    uint64 // guarded by mu; 0 when it waits for nothing
	tally tally  // guarded by mu

	v        *view
	op       *Op
	key      replica.Key
	args     [][]byte
	proto    uint8
	levels   Levels
	now      time.Time // when it began
	deadline time.Time
	part     ring.Partition
	kept     bool
	stale    bool   // guarded by mu: a replica held what this write had not seen
	beaten   bool   // a concurrent write has a later timestamp and remains
	read     bool   // seen is what a quorum held
	settled  bool   // a run without effect may be answered
	confirms bool   // the read under way is to confirm the last run's reply
	passed   bool   // a later write has replaced this one's effect
	healed   bool   // the own copy was damaged and the others were asked
	wrote    bool   // an earlier run's effect is stored, here and maybe elsewhere
	refused  uint64 // members whose disks refused it before it came here
	waited   bool   // guarded by mu: standAfter is over
	renewed  bool   // guarded by mu: it is counted by a later ring than it began with
	final    bool   // guarded by mu: its client may have its reply, so it does not run again
	behind   uint64 // guarded by mu: places whose nodes have another ring
	leaders  uint64 // guarded by mu: places whose nodes pass the object on; see relay
	others   []byte // whom to
	mem      []byte // the key and arguments once kept

	own   int    // the place this node's copy counts for, its own or another's; -1 for none
	keeps uint64 // guarded by mu once it waits: places for which this node keeps hints
	cast  cast   // guarded by mu once it waits: who acts for whom

	req      *Request    // the local client's request, or
	origin   ring.NodeID // the node that forwarded it
	originID uint64
	// originPlace is the origin's place if its own acknowledgement completes
	// the client's request there, else -1.
	originPlace int

	call   Call
	msg    wire.Message   // what it sends; here, because it would escape to the heap
	enc    []byte         // the object as it was stored
	dot    version.Dot    // the last event of this write
	seen   version.Object // what other replicas held; merged before the operation runs
	heard  version.Object // guarded by mu: what stale replicas hold, merged
	stored bool           // the last run had an effect
}

// start begins a write at this node. What it borrows is kept once it has to wait.
func (w *writeOp) start() {
	if w.c.crowded() {
		w.finish(ErrOverloaded)
		return
	}
	// A fallback has seen only what came while others were away.
	foreign := w.v.own[w.part] < 0
	if (foreign || w.v.places[w.part].n > 1 && w.v.states[w.part].unsettled.Load()) && w.depends() {
		w.Keep()
		w.c.readFirst(w)
		return
	}
	w.c.o.Replica.Do(w)
}

// Key implements replica.Task.
func (w *writeOp) Key() replica.Key { return w.key }

// Size implements replica.Sizer.
func (w *writeOp) Size() int { return sizeOf(w.key.Name, w.args) }

// Keep implements replica.Task: it copies the key and the arguments.
func (w *writeOp) Keep() {
	if w.kept {
		return
	}
	w.kept = true
	w.mem, w.key.Name, w.args = keep(w.mem, w.key.Name, w.args)
}

// sizeOf is what keep copies.
func sizeOf(key []byte, args [][]byte) (size int) {
	size = len(key)
	for _, a := range args {
		size += len(a)
	}
	return size
}

// keep copies a key and arguments into mem, which it grows, and returns all
// three. The array behind args is reused.
func keep(mem, key []byte, args [][]byte) ([]byte, []byte, [][]byte) {
	size := sizeOf(key, args)
	if cap(mem) < size {
		mem = make([]byte, 0, size)
	}
	mem = append(mem[:0], key...)
	key = mem[:len(key):len(key)]
	for i, a := range args {
		from := len(mem)
		mem = append(mem, a...)
		args[i] = mem[from:len(mem):len(mem)]
	}
	return mem, key, args
}

// Apply implements replica.Task: it runs the operation and makes the event.
func (w *writeOp) Apply(s *replica.Scratch) ([]byte, error) {
	if w.kept && time.Now().After(w.deadline) { // it may have waited for the disk
		return nil, errExpired
	}
	if v := w.c.view.Load(); v != w.v && v.changed(w.part, w.v) {
		return nil, errMoved
	}
	o := &s.Object
	merged := false
	if !w.seen.Empty() {
		w.c.o.Replica.Forget(w.key.DB, &w.seen)
		if !o.Covers(&w.seen) {
			version.Merge(&s.Merged, o, &w.seen)
			o, merged = &s.Merged, true
		}
	}
	if w.wrote {
		if w.passed = !o.Has(w.dot); w.passed || !w.depends() {
			w.mend(o) // its reply stands
			w.enc = o.Append(w.enc[:0])
			return w.enc, w.keepHints(s)
		}
		o.Drop(w.dot) // the operation sees what was there without it
	}
	now := w.now.UnixMilli()
	c := &w.call
	c.Reset()
	c.Args, c.Key, c.DB, c.Proto, c.Now = w.args, w.key.Name, w.key.DB, w.proto, now
	c.ClusterID, c.MaxValue, c.Object = w.v.ring.ClusterID, w.c.o.MaxValue, o
	value := o.Value(now, s.Buf[:0])
	c.Exists, c.Value, c.Deadline, c.Counter = value.Exists, value.Data, value.Deadline, value.Counter
	w.op.Run(c)
	if c.effect == effectNone && !w.wrote {
		w.enc = w.enc[:0]
		if !o.Empty() {
			w.enc = o.Append(w.enc)
		}
		w.settled = w.read && w.seen.Covers(o)
		if merged {
			return w.enc, w.keepHints(s)
		}
		return nil, nil
	}
	if err := w.event(o); err != nil {
		return nil, err
	}
	if w.op.After != nil {
		c.Object = o
		w.op.After(c)
	}
	w.enc = o.Append(w.enc[:0])
	w.stored = true
	if w.keeps != 0 {
		return w.enc, w.keepHints(s)
	}
	return w.enc, nil
}

// Done implements replica.Task: it sends what was stored to the others.
func (w *writeOp) Done(err error) {
	if isDamage(err) && !w.healed {
		w.heal()
		return
	}
	if err == errMoved {
		w.moved()
		return
	}
	if err != nil {
		w.hintLost()
		err = storeError(err)
		if w.c.noteRefusal(err); w.wrote {
			err = ErrTimeout // the run before was stored and sent
		}
		w.finish(err)
		return
	}
	if len(w.v.lists[w.part]) == 1 && w.own == 0 && w.v.own[w.part] == 0 {
		w.finish(nil)
		return
	}
	if !w.stored {
		w.confirm()
		return
	}
	w.wrote = true
	if w.beaten {
		w.finish(ErrTimeout)
		return
	}
	w.mu.Lock()
	w.stale, w.waited = false, false
	w.heard.Reset()
	w.tally.ok = 0
	if w.own >= 0 {
		w.tally.ok = 1 << uint(w.own)
	}
	w.spread()
}

// spread sends the object that is stored here to the others, and counts. The caller
// holds mu, which spread gives up.
func (w *writeOp) spread() {
	done := w.tally.met()
	if done {
		w.originPlace = -1 // nobody acknowledges, so it waits for our answer
	} else {
		w.Keep() // for a second run
		id, ok := w.c.pending.must(w, w.Size()+len(w.enc))
		if !ok {
			w.mu.Unlock()
			w.finish(ErrTimeout)
			return
		}
		w.id = id
	}
	hopeless := w.sendAll(done)
	switch {
	case hopeless:
		w.release()
	case !done:
		if left := w.left(); left > standAfter {
			w.c.alarms.set(w.id, alarmSilent, standAfter) // which sets the other
		} else {
			w.c.alarms.set(w.id, alarmTimeout, left)
		}
	}
	w.mu.Unlock() // from here on the answers may have ended it, unless it ends here
	switch {
	case done:
		w.finish(nil)
	case hopeless:
		w.finish(ErrTimeout)
	}
}

// left is the time left for the write. In the first run that is all of it, which
// spares a look at the clock.
func (w *writeOp) left() time.Duration {
	if w.seen.Empty() && !w.read && !w.renewed {
		return w.deadline.Sub(w.now)
	}
	return time.Until(w.deadline)
}

// finish answers whoever asked and gives the write back. No lock is held.
func (w *writeOp) finish(err error) {
	c := w.c
	if w.req != nil && mayGoOn(err) {
		w.goOn(err)
		return
	}
	c.Metrics.count(err)
	if r := w.req; r != nil {
		r.Err = err
		r.Out = append(r.Out[:0], w.call.Out...)
		c.putWrite(w)
		r.Owner.Complete(r)
		return
	}
	if w.originPlace < 0 || err != nil || !w.stored {
		c.answerWrite(w, err)
	}
	c.putWrite(w)
}

// putWrite gives a write back for its next use.
func (c *Coordinator) putWrite(w *writeOp) {
	if cap(w.mem) > maxKept || cap(w.enc) > maxKept || cap(w.call.Out) > maxKept {
		return
	}
	w.mu.Lock()
	w.id, w.req, w.v, w.op, w.refused, w.keeps = 0, nil, nil, nil, 0, 0
	w.kept, w.stored, w.read, w.settled, w.confirms = false, false, false, false, false
	w.passed, w.wrote, w.stale, w.beaten = false, false, false, false
	w.healed, w.renewed, w.final, w.behind, w.leaders = false, false, false, 0, 0
	w.enc = w.enc[:0]
	w.seen.Reset()
	w.call.Reset()
	w.mu.Unlock()
	c.writes.Put(w)
}
