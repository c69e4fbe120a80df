package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"kvstore/cluster/hlc"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// oldPlace returns the member that a node which is none, and holds nothing, was
// before its directory was emptied: the one of its name and its address, which no
// other process can have at the same time.
func oldPlace(r *ring.Ring, m ring.Member) *ring.Member {
	for i := range r.Members {
		if old := &r.Members[i]; old.Name == m.Name && old.RPC == m.RPC && old.ID != m.ID && old.State != ring.Removed {
			return old
		}
	}
	return nil
}

// giveOldPlace answers a node that asks to join and is a member that has lost its
// directory. It has to wait until its former self is known to be dead.
func (n *Node) giveOldPlace(r *ring.Ring, old *ring.Member) ([]byte, error) {
	if old.ID == n.id.Node {
		return nil, fmt.Errorf("%w: node %q at %s is there; give this node another name and address", ErrRefused, old.Name, old.RPC)
	}
	n.lives.mu.Lock()
	defer n.lives.mu.Unlock()
	if n.mayLive(old.ID) || n.tracker.State(old.ID) != membership.Dead {
		return nil, fmt.Errorf("the ring has a node named %q at %s, which is not known to be dead yet", old.Name, old.RPC)
	}
	return r.Encode(), nil
}

// servePlace agrees that a node takes its old place, as giveOldPlace does, and says when
// the last life there began that this member knows of: 8 bytes, big endian, 0 for none.
// The body is the node's membership.Meta.
func (n *Node) servePlace(body []byte) ([]byte, error) {
	var meta membership.Meta
	if err := meta.Decode(body); err != nil {
		return nil, err
	}
	r := n.ring.Load()
	if r == nil {
		return nil, errors.New("the node is in no ring itself")
	}
	old := oldPlace(r, memberOf(meta))
	if old == nil {
		return nil, errors.New("the ring has no such place")
	}
	if _, err := n.giveOldPlace(r, old); err != nil {
		return nil, err
	}
	n.lives.mu.Lock()
	defer n.lives.mu.Unlock()
	if n.lives.promised == nil {
		n.lives.promised = make(map[ring.NodeID]bool)
	}
	n.lives.promised[old.ID] = true
	l, _ := n.lifeOf(old.ID)
	return binary.BigEndian.AppendUint64(nil, l.Since), nil
}

// everybodyAgrees asks every member that gossip knows to live whether this node may have
// the place of old: one of them may still be connected to it. It returns when the last
// life there began.
func (n *Node) everybodyAgrees(ctx context.Context, r *ring.Ring, old ring.NodeID) (since hlc.Timestamp, err error) {
	self := n.meta()
	body, err := self.Append(nil)
	if err != nil {
		return 0, err
	}
	asked := 0
	for _, m := range n.gossip.Members() {
		if !m.Alive || m.NodeID == n.id.Node || r.Member(m.NodeID) == nil {
			continue
		}
		if m.NodeID == old {
			return 0, fmt.Errorf("gossip does not know yet that node %q is dead", m.Name)
		}
		reply, err := n.rpc.Call(ctx, m.RPC, &wire.Message{Kind: wire.Control, Method: methodPlace, Body: body, Now: int64(n.clock.Last())})
		switch {
		case err != nil:
			return 0, err
		case reply.Status != wire.OK:
			return 0, &remoteError{m.Name, reply.Status, string(reply.Body)}
		case len(reply.Body) != 8:
			return 0, errShort
		}
		// What the node writes in its new life comes after what it wrote before.
		if err := n.clock.Observe(hlc.Timestamp(reply.Now)); err != nil {
			return 0, err
		}
		since = max(since, hlc.Timestamp(binary.BigEndian.Uint64(reply.Body)))
		asked++
	}
	if asked == 0 {
		return 0, errors.New("no member agrees yet")
	}
	return since, nil
}

// takeOldPlace makes the directory that of a member of the ring, once every living member
// agrees. The process then has to open it again: who it is cannot change while it talks
// to others.
func (n *Node) takeOldPlace(ctx context.Context, r *ring.Ring) error {
	old := oldPlace(r, n.member())
	if old == nil || n.replica.HoldsData() {
		return fmt.Errorf("%w: the ring that was sent does not have this node", ErrRefused)
	}
	since, err := n.everybodyAgrees(ctx, r, old.ID)
	if err != nil {
		return err
	}
	// First the engine's owner goes, so that whatever happens next the engine counts
	// as emptied.
	if _, err := n.db.Delete(ownerKey()); err != nil {
		return storeError(err)
	}
	if err := n.db.Sync(); err != nil {
		return storeError(err)
	}
	// What the former self promised is lost: this one votes once the ring knows it.
	if err := (registerFile{n.fs, n.o.Dir}).remove(); err != nil {
		return err
	}
	if err := writeDurably(n.fs, n.o.Dir, ringName, r.Encode()); err != nil {
		return err
	}
	id := n.id
	id.Node, id.Since = old.ID, max(since, id.Since)
	id.renew(hlc.FromTime(n.o.Now()))
	if err := id.save(n.fs, n.o.Dir); err != nil {
		return err
	}
	n.successor.Store(&id)
	return fmt.Errorf("%w: it is %v, in incarnation %x", ErrOldPlace, old.ID, version.Incarnation(id.Incarnation))
}
