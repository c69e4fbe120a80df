package coordinator

import (
	"math/bits"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// standAfter is how long a write that misses acknowledgements waits for a replica
// before a fallback stands in for it: well beyond what a busy node takes, and
// little for a client.
const standAfter = 100 * time.Millisecond

// assign decides who takes the write in place of replicas that are away, and for
// whom this node keeps hints. It returns the places that can acknowledge.
//
// A sloppy write gives every replica that is down a stand-in, while there are
// nodes. A soft primary that is no replica is itself the first of them. For those
// who get none, and in strict mode for all, this node keeps hints: they count for
// nothing.
func (w *writeOp) assign(usable uint64) (can uint64) {
	v, away := w.v, w.v.places[w.part].writers()&^usable
	w.own, w.keeps, w.cast = int(v.own[w.part]), away, cast{}
	if w.own >= 0 && (away == 0 || w.levels.Mode != Sloppy) {
		return usable
	}
	if w.own < 0 {
		w.cast.tried = 1 << uint(v.fallbackAt(w.part, v.self))
		if away != 0 {
			w.own = bits.TrailingZeros64(away)
			away &= away - 1
			usable |= 1 << uint(w.own)
		} else {
			w.keeps |= 1 // a copy that is not this node's own ends with its hint
		}
	}
	filled := v.fill(w.part, away, &w.cast, w.levels.W.local())
	w.c.Metrics.StandIns.Add(uint64(bits.OnesCount64(filled)))
	w.keeps &^= filled
	return usable | filled
}

// keepHints adds the hints this node keeps to what is stored with the object. Those
// there is no room for are the business of comparing replicas; but a copy that is
// none of this node's own is not taken without any.
func (w *writeOp) keepHints(s *replica.Scratch) error {
	kept := false
	for set := w.keeps; set != 0; set &= set - 1 {
		target := w.v.idAt(w.part, bits.TrailingZeros64(set))
		var ok bool
		s.Beside, ok = w.c.o.Hints.Add(s.Beside, target, w.key, len(w.enc))
		kept = kept || ok
	}
	if !kept && w.v.own[w.part] < 0 {
		return ErrOverloaded
	}
	return nil
}

// hintLost takes back what keepHints added: the batch was not stored.
func (w *writeOp) hintLost() {
	for set := w.keeps; set != 0; set &= set - 1 {
		w.c.o.Hints.Undo(w.v.idAt(w.part, bits.TrailingZeros64(set)))
	}
}

// sendAll sends the object to the other replicas that can be reached, and to those
// who stand in for the rest; it reports whether that leaves too few. The caller
// holds mu.
func (w *writeOp) sendAll(noAck bool) (hopeless bool) {
	m := &w.msg
	*m = wire.Message{
		Kind: wire.Replicate, ID: w.id, Timeout: w.left(),
		Token: w.key.Token, DB: w.key.DB, Key: w.key.Name, Object: w.enc,
	}
	if w.call.context == nil && w.call.effect != effectAdd {
		m.Flags |= Covering
	}
	switch {
	case noAck:
		m.Flags |= wire.NoAck
	case w.originPlace >= 0:
		m.Flags |= wire.Later // the client is answered elsewhere
	}
	w.tally.bad, w.leaders = 0, 0
	served := w.tally.ok // this node's own place, and who has it from before
	if w.v.places[w.part].ndcs > 1 {
		served |= w.relay(noAck)
	}
	for i := range w.v.lists[w.part] {
		if served>>uint(i)&1 != 0 {
			continue
		}
		m.Origin, m.Body = 0, nil
		if i == w.originPlace && !noAck {
			m.Origin, m.Body = w.originID, w.call.Out
		}
		if !w.send(i) {
			w.replace(i)
		}
	}
	return w.tally.hopeless() && !noAck
}

// send sends the object to who acts at a place; false when it cannot be reached.
// The caller holds mu.
func (w *writeOp) send(place int) bool {
	m, to := &w.msg, w.v.actor(w.part, place, &w.cast)
	m.Flags &^= wire.StandIn
	if w.cast.by[place] != 0 {
		m.Flags |= wire.StandIn
		m.Target, m.Origin, m.Body = w.v.idAt(w.part, place), 0, nil
	}
	return to.is() != Down && w.c.send(to.id, w.v, m) == nil
}

// replace is called when who acts at a place will not acknowledge: the next
// fallback is asked. Where there is none, or none may be, this node keeps the hint.
// The caller holds mu.
func (w *writeOp) replace(place int) {
	if place == w.originPlace {
		w.originPlace = -1 // it has not answered its client
	}
	if w.standIn(place) {
		return
	}
	bit := uint64(1) << uint(place)
	w.tally.bad |= bit
	if w.keeps&bit == 0 {
		w.keeps |= bit
		w.c.hintLater(w.v.idAt(w.part, place), w.key, len(w.enc))
	}
}

// standIn sends the object to the next fallback that can be reached; false when
// there is none. The caller holds mu.
func (w *writeOp) standIn(place int) bool {
	m := &w.msg
	m.Timeout, m.Now = w.left(), 0
	for w.levels.Mode == Sloppy && w.v.standIn(w.part, place, &w.cast, w.levels.W.local()) {
		if w.send(place) {
			w.c.Metrics.StandIns.Add(1)
			return true
		}
	}
	return false
}

// release gives the id back, so that nothing finds the write any more. The
// caller holds mu.
func (w *writeOp) release() {
	w.c.pending.remove(w.id)
	w.id = 0
}

// receive implements waiter.
func (w *writeOp) receive(id uint64, from ring.NodeID, m *wire.Message) {
	w.mu.Lock()
	place := -1
	if w.id == id && m.Kind == wire.ReplicateAck {
		place = w.v.placeBy(w.part, from, &w.cast)
	}
	if place < 0 {
		w.mu.Unlock()
		return
	}
	bit := uint64(1) << uint(place)
	switch m.Status {
	case wire.OK:
		w.tally.ok |= bit
	case wire.WrongEpoch:
		w.unrelay(place)
		w.outrun(place)
		return
	case wire.Stale:
		w.tally.bad |= bit &^ w.tally.ok
		if place == w.originPlace {
			w.originPlace = -1
		}
		w.hear(m.Object)
	default:
		w.unrelay(place)
		w.refusedBy(place, from)
	}
	w.settle()
}

// refusedBy notes that a node will not acknowledge. The caller holds mu.
func (w *writeOp) refusedBy(place int, node ring.NodeID) {
	if w.tally.ok>>uint(place)&1 == 0 && w.v.actor(w.part, place, &w.cast).id == node {
		w.replace(place)
	}
}

// settle ends the write if its fate is known. The caller holds mu, which settle
// gives up.
func (w *writeOp) settle() {
	met, hopeless := w.tally.met(), w.tally.hopeless()
	if met && w.originPlace >= 0 {
		// The client's node completes the request by itself with its
		// acknowledgement; if that is lost, nobody waits for us any more.
		met = (w.tally.ok|w.tally.bad)>>uint(w.originPlace)&1 != 0
	}
	switch {
	case met:
		w.release()
		w.mu.Unlock()
		w.finish(nil)
	case !hopeless:
		w.mu.Unlock()
	case w.stale && w.originPlace < 0 && !w.final && time.Until(w.deadline) > 0:
		w.again()
	default:
		w.release()
		w.mu.Unlock()
		w.finish(ErrTimeout)
	}
}

// lost implements waiter.
func (w *writeOp) lost(id uint64, node ring.NodeID) {
	w.mu.Lock()
	place := -1
	if w.id == id {
		place = w.v.placeBy(w.part, node, &w.cast)
	}
	if place < 0 {
		w.mu.Unlock()
		return
	}
	w.unrelay(place)
	w.refusedBy(place, node)
	w.settle()
}

// wake implements waiter.
func (w *writeOp) wake(id uint64, why alarm) {
	w.mu.Lock()
	if w.id != id {
		w.mu.Unlock()
		return
	}
	switch why {
	case alarmSilent:
		w.silent()
		return
	case alarmRing:
		w.look()
		return
	}
	w.release()
	met := w.tally.met()
	if met { // only the origin's own acknowledgement is missing: it gets ours
		w.originPlace = -1
	} else {
		for set := w.unanswered(); set != 0; set &= set - 1 {
			w.keepFor(bits.TrailingZeros64(set))
		}
	}
	w.mu.Unlock()
	if met {
		w.finish(nil)
		return
	}
	w.finish(ErrTimeout)
}

// keepFor keeps a hint for a replica that has not answered. The caller holds mu.
func (w *writeOp) keepFor(place int) {
	if bit := uint64(1) << uint(place); w.keeps&bit == 0 && w.cast.by[place] == 0 {
		w.keeps |= bit
		w.c.hintLater(w.v.idAt(w.part, place), w.key, len(w.enc))
	}
}

// unanswered returns the places that nothing was heard of. The caller holds mu.
func (w *writeOp) unanswered() uint64 {
	return w.v.places[w.part].writers() &^ w.tally.ok &^ w.tally.bad
}

// silent is called when acknowledgements are late: first others stand in for who
// owes them, then the silence is told of. The caller holds mu, which silent gives
// up.
func (w *writeOp) silent() {
	first := !w.waited
	w.waited = true
	if first {
		if !w.tally.met() {
			late, sent := w.unanswered(), uint64(0)
			for set := w.leaders; set != 0; set &= set - 1 {
				sent |= w.unrelay(bits.TrailingZeros64(set))
			}
			for set := late &^ sent; set != 0; set &= set - 1 {
				w.standIn(bits.TrailingZeros64(set))
			}
		}
		if left := time.Until(w.deadline); left > silence {
			w.c.alarms.set(w.id, alarmSilent, silence-standAfter)
		}
		w.c.alarms.set(w.id, alarmTimeout, time.Until(w.deadline))
		w.mu.Unlock()
		return
	}
	var ids [maxPlaces + 1]ring.NodeID
	n := 0
	if !w.tally.met() {
		for set := w.unanswered(); set != 0; set &= set - 1 {
			ids[n] = w.v.actor(w.part, bits.TrailingZeros64(set), &w.cast).id
			n++
		}
	}
	c := w.c
	w.mu.Unlock()
	for _, id := range ids[:n] {
		c.timedOut(id)
	}
}

// hintTask keeps a hint of an object that is stored already.
type hintTask struct {
	c      *Coordinator
	target ring.NodeID
	key    replica.Key
	size   int
	added  bool
}

// hintLater keeps a hint for a replica that has not taken an object stored here.
func (c *Coordinator) hintLater(target ring.NodeID, k replica.Key, size int) {
	k.Name = append([]byte(nil), k.Name...)
	c.o.Replica.Do(&hintTask{c: c, target: target, key: k, size: size})
}

// Key implements replica.Task.
func (t *hintTask) Key() replica.Key { return t.key }

// Keep implements replica.Task.
func (t *hintTask) Keep() {}

// Apply implements replica.Task.
func (t *hintTask) Apply(s *replica.Scratch) ([]byte, error) {
	if s.Found {
		s.Beside, t.added = t.c.o.Hints.Add(s.Beside, t.target, t.key, t.size)
	}
	return nil, nil
}

// Done implements replica.Task. A hint that could not be stored is one less; the
// replica will be found behind.
func (t *hintTask) Done(err error) {
	if err != nil && t.added {
		t.c.o.Hints.Undo(t.target)
	}
}
