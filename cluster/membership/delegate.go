package membership

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
)

// change is what is to be told of a node. Of several the later replaces the earlier.
type change struct {
	what changeKind
	meta Meta
}

type changeKind uint8

const (
	changeAlive changeKind = iota
	changeUpdated
	changeDead
)

// delegate is memberlist's side: what it asks of us and tells us. memberlist calls it with its own locks held, so nothing here
// calls memberlist, and what is told is kept for another goroutine.
type delegate struct {
	log    zerolog.Logger
	refuse func(Meta) error // nil: nobody
	wake   chan struct{}    // of capacity 1, sent when changes is filled, never closed

	mu      sync.Mutex
	self    Meta
	encoded []byte
	known   map[ring.NodeID]Member // others, dead ones until they are forgotten; at most ring.MaxMembers
	changes map[ring.NodeID]change
	order   []ring.NodeID // of changes
}

func newDelegate(self Meta, refuse func(Meta) error, log zerolog.Logger) (*delegate, error) {
	d := &delegate{log: log, refuse: refuse, wake: make(chan struct{}, 1), known: make(map[ring.NodeID]Member), changes: make(map[ring.NodeID]change)}
	return d, d.setSelf(self)
}

func (d *delegate) setSelf(self Meta) error {
	b, err := self.Append(nil)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.self, d.encoded = self, b
	return nil
}

func (d *delegate) local() Meta {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.self
}

// snapshot returns all nodes, this one included.
func (d *delegate) snapshot() map[ring.NodeID]Member {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := maps.Clone(d.known)
	all[d.self.NodeID] = Member{Meta: d.self, Alive: true, Heartbeat: time.Now()}
	return all
}

// lost returns the gossip addresses of dead members.
func (d *delegate) lost() (addrs []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(d.known)) {
		if m := d.known[id]; !m.Alive && m.Gossip != "" {
			addrs = append(addrs, m.Gossip)
		}
	}
	return addrs
}

func (d *delegate) forget(id ring.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.known[id].Alive {
		delete(d.known, id)
	}
}

func (d *delegate) takeChanges() []change {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []change
	for _, id := range d.order {
		out = append(out, d.changes[id])
	}
	clear(d.changes)
	d.order = d.order[:0]
	return out
}

// note keeps a change to be told. The caller holds mu.
func (d *delegate) note(c change) {
	before, pending := d.changes[c.meta.NodeID]
	if !pending {
		d.order = append(d.order, c.meta.NodeID)
	} else if c.what == changeUpdated && before.what == changeAlive {
		c.what = changeAlive // it was not told of as alive yet
	}
	d.changes[c.meta.NodeID] = c
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// objection says why a node cannot be a member together with this one, nil when it can.
func (d *delegate) objection(name string, b []byte) (Meta, error) {
	var m Meta
	if err := m.Decode(b); err != nil {
		return m, fmt.Errorf("node %s: %w", name, err)
	}
	if m.NodeID.String() != name {
		return m, fmt.Errorf("node %s says that it is %v", name, m.NodeID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.NodeID == d.self.NodeID {
		return m, nil
	}
	if d.refuse != nil {
		if err := d.refuse(m); err != nil {
			return m, err
		}
	}
	if m.ClusterID != 0 && d.self.ClusterID != 0 && m.ClusterID != d.self.ClusterID {
		return m, fmt.Errorf("node %q (%v) belongs to cluster %016x, this node to %016x", m.Name, m.NodeID, m.ClusterID, d.self.ClusterID)
	}
	if m.Name == d.self.Name && m.RPC == d.self.RPC && m.RPC != "" {
		return m, fmt.Errorf("node %v is named %q and is at %s like this node, and is not known to be dead yet", m.NodeID, m.Name, m.RPC)
	}
	if m.Name == d.self.Name {
		return m, fmt.Errorf("node %v at %s is named %q like this node; set node.name", m.NodeID, m.Gossip, m.Name)
	}
	for id, other := range d.known {
		if id != m.NodeID && other.Alive && other.Name == m.Name {
			return m, fmt.Errorf("node %v at %s is named %q like the member %v at %s; set node.name", m.NodeID, m.Gossip, m.Name, id, other.Gossip)
		}
	}
	if _, ok := d.known[m.NodeID]; !ok && len(d.known) >= ring.MaxMembers {
		return m, fmt.Errorf("node %q (%v) is over the limit of %d members", m.Name, m.NodeID, ring.MaxMembers)
	}
	return m, nil
}

// NotifyAlive implements memberlist.AliveDelegate: an error passes the node over.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	_, err := d.objection(n.Name, n.Meta)
	return err
}

// NotifyMerge implements memberlist.MergeDelegate: an error makes a Join fail, on both sides. Only the living count: a
// dead node cannot be in the way.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if n.State != memberlist.StateAlive {
			continue
		}
		if _, err := d.objection(n.Name, n.Meta); err != nil {
			return err
		}
	}
	return nil
}

// NotifyJoin, NotifyUpdate and NotifyLeave implement memberlist.EventDelegate.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.heard(n, changeAlive) }

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.heard(n, changeUpdated) }

// NotifyLeave implements memberlist.EventDelegate.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.heard(n, changeDead) }

func (d *delegate) heard(n *memberlist.Node, what changeKind) {
	var m Meta
	if err := m.Decode(n.Meta); err != nil {
		d.log.Error().Str("node", n.Name).Err(err).Msg("member with a description that was not checked")
		return
	}
	// What gossip reaches it at counts more than what it says.
	m.Gossip = net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.NodeID == d.self.NodeID {
		return
	}
	now := Member{Meta: m, Alive: what != changeDead, Heartbeat: d.known[m.NodeID].Heartbeat}
	if what == changeAlive {
		now.Heartbeat = time.Now()
	}
	d.known[m.NodeID] = now
	if !now.Alive && m.ClusterID == 0 && d.self.ClusterID != 0 {
		// It came to join and was in no ring: nobody misses it, and whoever listens at its address next is another.
		delete(d.known, m.NodeID)
	}
	d.note(change{what: what, meta: m})
}

// NotifyConflict implements memberlist.ConflictDelegate.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.log.Error().Str("node", existing.Name).Str("addr", existing.Address()).Str("other", other.Address()).
		Msg("two nodes have the same id: a data directory was copied, or a node moved before its old address was known dead")
}

// AckPayload implements memberlist.PingDelegate.
func (d *delegate) AckPayload() []byte { return nil }

// NotifyPingComplete implements memberlist.PingDelegate: the node lives.
func (d *delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	id, err := ring.ParseNodeID(n.Name)
	if err != nil {
		return // such a node was never taken in
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if m, ok := d.known[id]; ok {
		m.Heartbeat = time.Now()
		d.known[id] = m
	}
}

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.encoded
}

// The rest of memberlist.Delegate is about messages of users, of which there are none.

// NotifyMsg implements memberlist.Delegate.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (d *delegate) MergeRemoteState([]byte, bool) {}
