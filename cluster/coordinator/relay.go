package coordinator

import (
	"encoding/binary"
	"math/bits"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// relay sends the object once to each other data centre in which several replicas
// answer promptly: to one of them, the leader, which passes it on to the rest. They
// acknowledge to this node. It returns the places that are served so. The caller holds
// mu.
//
// A leader that refuses or is lost has passed nothing on, as far as this node knows, and
// one that is late may not have: the rest get the object directly then (unrelay). A
// leader that cannot reach one of the rest keeps a hint for it.
func (w *writeOp) relay(noAck bool) (served uint64) {
	m, place := &w.msg, &w.v.places[w.part]
	for _, group := range place.dcs[:min(place.ndcs, maxGroups-1)] { // the last may be several
		if group &= w.prompt() &^ w.tally.ok; group&place.local != 0 || bits.OnesCount64(group) < 2 {
			continue
		}
		leader := bits.TrailingZeros64(group)
		if w.originPlace >= 0 && group>>uint(w.originPlace)&1 != 0 && !noAck {
			leader = w.originPlace
			m.Origin, m.Body = w.originID, w.call.Out
		}
		w.others = w.others[:0]
		for set := group &^ (1 << uint(leader)); set != 0; set &= set - 1 {
			w.others = binary.LittleEndian.AppendUint64(w.others, uint64(w.v.idAt(w.part, bits.TrailingZeros64(set))))
		}
		m.Flags |= wire.Relay
		m.Target, m.Relay = 0, w.others
		if w.send(leader) {
			served |= group
			w.leaders |= 1 << uint(leader)
		}
		m.Flags &^= wire.Relay
		m.Relay, m.Origin, m.Body = nil, 0, nil
	}
	return served
}

// prompt returns the places at which replicas act themselves and answer promptly. The
// caller holds mu.
func (w *writeOp) prompt() uint64 {
	_, prompt := w.v.reachable(w.part)
	return prompt &^ w.cast.stoodIn()
}

// unrelay sends the object to those that a leader was to pass it on to and that have
// not answered. It returns their places. The caller holds mu.
func (w *writeOp) unrelay(leader int) (sent uint64) {
	if w.leaders>>uint(leader)&1 == 0 {
		return 0
	}
	w.leaders &^= 1 << uint(leader)
	m, place := &w.msg, &w.v.places[w.part]
	m.Timeout, m.Now, m.Origin, m.Body = w.left(), 0, 0, nil
	for _, group := range place.dcs[:place.ndcs] {
		if group>>uint(leader)&1 == 0 {
			continue
		}
		for set := group &^ (1 << uint(leader)) & w.unanswered(); set != 0; set &= set - 1 {
			next := bits.TrailingZeros64(set)
			if sent |= 1 << uint(next); !w.send(next) {
				w.replace(next)
			}
		}
	}
	w.c.Metrics.Unrelayed.Add(uint64(bits.OnesCount64(sent)))
	return sent
}

// passOn sends an object on to other replicas of this node's data centre, who
// acknowledge to home. m is this call's: it is changed.
func (c *Coordinator) passOn(home ring.NodeID, k replica.Key, m *wire.Message) {
	ids := m.Relay
	m.Target, m.Relay, m.Origin, m.Body = home, nil, 0, nil
	m.Now = int64(c.o.Clock.Last())
	for ; len(ids) >= 8; ids = ids[8:] {
		id := ring.NodeID(binary.LittleEndian.Uint64(ids))
		if c.ReachOf(id) == Down || c.o.Transport.Send(id, m) != nil {
			c.hintLater(id, k, len(m.Object))
			continue
		}
		c.Metrics.Relayed.Add(1)
	}
}
