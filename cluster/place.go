package cluster

import (
	"fmt"

	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// oldPlace returns the member that a node which is none, and holds nothing, was
// before its directory was emptied: the one of its name and its address, which no
// other process can have at the same time.
func oldPlace(r *ring.Ring, m ring.Member) *ring.Member {
	for i := range r.Members {
		if old := &r.Members[i]; old.Name == m.Name && old.RPC == m.RPC && old.ID != m.ID {
			return old
		}
	}
	return nil
}

// giveOldPlace answers a node that asks to join and is a member that has lost its
// directory. It has to wait until its former self is known to be dead.
func (n *Node) giveOldPlace(r *ring.Ring, old *ring.Member) ([]byte, error) {
	if old.ID == n.id.Node || n.rpc.Connected(old.ID) || n.tracker.State(old.ID) != membership.Dead {
		return nil, fmt.Errorf("the ring has a node named %q at %s, which is not known to be dead yet", old.Name, old.RPC)
	}
	return r.Encode(), nil
}

// takeOldPlace makes the directory that of a member of the ring. The process then
// has to open it again: who it is cannot change while it talks to others.
func (n *Node) takeOldPlace(r *ring.Ring) error {
	old := oldPlace(r, n.member())
	if old == nil || n.replica.HoldsData() {
		return fmt.Errorf("%w: the ring that was sent does not have this node", ErrRefused)
	}
	// First the engine's owner goes, so that whatever happens next the engine counts
	// as emptied.
	if _, err := n.db.Delete(ownerKey()); err != nil {
		return storeError(err)
	}
	if err := n.db.Sync(); err != nil {
		return storeError(err)
	}
	if err := writeDurably(n.fs, n.o.Dir, ringName, r.Encode()); err != nil {
		return err
	}
	id := n.id
	id.Node, id.Incarnation = old.ID, random64()
	if err := id.save(n.fs, n.o.Dir); err != nil {
		return err
	}
	n.successor.Store(&id)
	return fmt.Errorf("%w: it is %v, in incarnation %x", ErrOldPlace, old.ID, version.Incarnation(id.Incarnation))
}
