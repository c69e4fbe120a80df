package cluster

import (
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// events is the node as the transport and gossip see it.
type events Node

// Receive implements rpc.Handler. Event loops call it, so nothing in it may wait:
// what reads the disk is parked, what takes long gets a goroutine.
func (e *events) Receive(from ring.NodeID, m *wire.Message) {
	n := (*Node)(e)
	if !n.isWired.Load() {
		select {
		case <-n.wired:
		case <-n.ctx.Done():
			return
		}
	}
	switch m.Kind {
	case wire.Control:
		n.acceptCall(from, m)
	case wire.ControlReply:
		n.calls.receive(m)
	default:
		n.coord.Receive(from, m)
	}
}

// Expect implements rpc.Expecter.
func (e *events) Expect(tokens, ids []uint64) {
	if n := (*Node)(e); n.isWired.Load() {
		if len(ids) > 0 {
			n.coord.Expect(ids)
		}
		if len(tokens) > 0 {
			n.replica.ExpectAll(tokens)
		}
	}
}

// EndBatch implements rpc.Handler.
func (e *events) EndBatch() { (*Node)(e).EndTurn() }

// PeerUp implements rpc.Handler.
func (e *events) PeerUp(id ring.NodeID) {
	n := (*Node)(e)
	n.observe(id, membership.Connected)
	n.admitted(id)
	// A node that holds nothing has nothing that others may have deleted since.
	n.setIntroduced(id, !n.replica.HoldsData())
	n.reach(id)
	n.introduce(id)
	n.catchUpFlushes(id)
	n.wakeHandoff()
	n.log.Info().Str("node", n.nameOf(id)).Msg("connected")
}

// PeerDown implements rpc.Handler.
func (e *events) PeerDown(id ring.NodeID, reason error) {
	n := (*Node)(e)
	n.observe(id, membership.Disconnected)
	n.setIntroduced(id, false)
	n.reach(id)
	n.coord.Lost(id)
	n.calls.lost(id)
	n.markShared(id)
	n.EndTurn()
	n.log.Warn().Str("node", n.nameOf(id)).Err(reason).Msg("connection lost")
}

// Alive implements membership.Events.
func (e *events) Alive(m membership.Meta) {
	n := (*Node)(e)
	n.observe(m.NodeID, membership.GossipAlive)
	n.noteAddress(m)
	n.rpc.Kick(m.NodeID)
	n.reach(m.NodeID)
	n.heard(m)
}

// Dead implements membership.Events.
func (e *events) Dead(id ring.NodeID) {
	n := (*Node)(e)
	n.observe(id, membership.GossipDead)
	n.reach(id)
	n.log.Warn().Str("node", n.nameOf(id)).Msg("gossip takes the node for dead")
}

// Updated implements membership.Events.
func (e *events) Updated(m membership.Meta) {
	n := (*Node)(e)
	n.noteAddress(m)
	n.heard(m)
}

// heard looks at what another node says of its ring.
func (n *Node) heard(m membership.Meta) {
	r := n.ring.Load()
	if m.NodeID == n.id.Node || r == nil || m.ClusterID != r.ClusterID || !isNewer(m, r) {
		return
	}
	n.newest.Store(&m)
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// observe tells the tracker what happened to a node.
func (n *Node) observe(id ring.NodeID, e membership.Event) {
	if id == n.id.Node {
		return
	}
	if c, changed := n.tracker.Observe(time.Now(), id, e); changed {
		n.changed(c)
	}
}

// timedOut notes that a node did not answer in time, and returns for how long nothing at all has been heard of it.
func (n *Node) timedOut(id ring.NodeID) time.Duration {
	n.observe(id, membership.TimedOut)
	return n.tracker.Silent(time.Now(), id)
}

// answered notes how long a node took to answer.
func (n *Node) answered(id ring.NodeID, d time.Duration) {
	if c, changed := n.tracker.Answered(time.Now(), id, d); changed {
		n.changed(c)
	}
}

// changed acts on a node's new state.
func (n *Node) changed(c membership.Change) {
	n.log.Info().Str("node", n.nameOf(c.ID)).Stringer("from", c.From).Stringer("to", c.To).Msg("a node's state has changed")
	n.reach(c.ID)
	if c.To == membership.Alive {
		n.wakeHandoff()
	}
}

// watch lets time alone change states, and keeps the coordinator's idea of when
// an answer is late.
func (n *Node) watch() {
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case now := <-every.C:
			n.measure()
			n.watchDisk()
			n.coord.TickHot(now)
			for _, c := range n.tracker.Tick(now) {
				n.changed(c)
			}
			for _, p := range n.TakeMarked() {
				n.entropy.Mark(p)
			}
			if r := n.ring.Load(); r != nil {
				n.judgeClock(r, now)
				for i := range r.Members {
					n.coord.SetLate(r.Members[i].ID, n.tracker.P95(r.Members[i].ID))
				}
			}
		}
	}
}

// watchEvery is how long a state that only time changes may be out of date.
const watchEvery = 250 * time.Millisecond

// reach tells the coordinator how a node can be used. Events come from several
// goroutines; one at a time, so that what is told last is what holds.
func (n *Node) reach(id ring.NodeID) {
	n.reachMu.Lock()
	defer n.reachMu.Unlock()
	reach := coordinator.Down
	if n.mayUse(id) {
		reach = coordinator.Up
		// Who misses what is kept for it here knows less than others.
		if n.tracker.State(id) != membership.Alive || n.hints.Owes(id) {
			reach = coordinator.Slow
		}
	}
	n.coord.SetReach(id, reach)
}

// mayUse reports whether requests may use another node: it is connected, and both
// know what the other one has collected. The caller holds reachMu.
func (n *Node) mayUse(id ring.NodeID) bool { return n.introduced[id] && n.rpc.Connected(id) }

func (n *Node) usable(id ring.NodeID) bool {
	n.reachMu.Lock()
	defer n.reachMu.Unlock()
	return n.mayUse(id)
}

// NameOf returns a member's name, its id when it has none.
func (n *Node) NameOf(id ring.NodeID) string { return n.nameOf(id) }

// nameOf returns a node's name, its id when it has none.
func (n *Node) nameOf(id ring.NodeID) string {
	if r := n.ring.Load(); r != nil {
		if m := r.Member(id); m != nil {
			return m.Name
		}
	}
	return id.String()
}
