package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/storage"
	"kvstore/storage/key"
)

// spaceLife is the space of the system keys that hold, for each member of the ring (its
// id, 8 bytes), its life that this node has last let in: the incarnation and when that
// began, 8 bytes each. All are big endian.
const spaceLife = 0x47

// lives are who the places of the ring belong to. A place may be claimed by several
// directories: by an old disk after the node was filled anew, by a copy, by two machines
// that were both started in the place of a lost one. Each claims it in an incarnation of
// its own, and of these the latest to begin has the place, once its forerunner is dead:
// who lets it in remembers that for good, and refuses those that are earlier.
//
// The ring names the life, too, as soon as its voters have agreed on it (keepPlace): members that
// were away when the place was taken learn from the ring that the earlier life is over.
type lives struct {
	mu sync.Mutex // held while one is made durable
	// met are the lives that this process has let in; guarded by mu.
	met map[ring.NodeID]rpc.Life
	// promised are the members whose place this node has agreed to give to another
	// life; guarded by mu.
	promised map[ring.NodeID]bool
	// strays are what other lives than those that are connected said last by gossip;
	// guarded by mu.
	strays map[ring.NodeID]membership.Meta
	// held is since when members say that this node's place is held; guarded by heldMu.
	heldMu sync.Mutex
	held   map[ring.NodeID]holding
}

// holding is since when a member keeps a node out that asks again and again, and when it
// last did.
type holding struct{ since, last time.Time }

// goesOn reports whether it has lasted for long, as of now. A member that said nothing for
// a while was away, and knew of nobody when it came back: it begins anew.
func (h *holding) goesOn(now time.Time) bool {
	if now.Sub(h.last) > heldAnew {
		h.since = now
	}
	h.last = now
	return now.Sub(h.since) >= heldFor
}

const (
	// knowAfter is how long a node has to run before it takes those that it has not met
	// for dead: until then it may only not be connected yet.
	knowAfter = 3 * time.Second
	// heldFor is how long a node's place may be held by another life before it gives up:
	// several times what it takes to find that out dead.
	heldFor = 20 * time.Second
	// heldAnew is longer than a node waits before it asks again; see rpc.Options.BackoffMax.
	heldAnew = 5 * time.Second
)

// admit implements rpc.Options.Admit.
func (n *Node) admit(id ring.NodeID, l rpc.Life, epoch ring.Epoch) error {
	if err := n.letIn(id, l, epoch); err != nil {
		return err
	}
	// What gossip said of it before may have been taken for that of a stray.
	n.lives.mu.Lock()
	m, strayed := n.lives.strays[id]
	delete(n.lives.strays, id)
	n.lives.mu.Unlock()
	if strayed && m.Incarnation == l.Incarnation {
		n.noteAddress(m)
	}
	return nil
}

func (n *Node) letIn(id ring.NodeID, l rpc.Life, epoch ring.Epoch) error {
	if !n.isWired.Load() {
		select {
		case <-n.wired:
		case <-n.ctx.Done():
			return n.ctx.Err()
		}
	}
	r := n.ring.Load()
	if r == nil {
		return nil // the handshake knows that it is of this cluster
	}
	if err := n.stranger(r, id, epoch); err != nil || r.Member(id) == nil {
		return err
	}
	n.lives.mu.Lock()
	defer n.lives.mu.Unlock()
	known, found := n.lifeOf(id)
	switch {
	case found && known.Incarnation == l.Incarnation:
	case found && (l.Since < known.Since || l.Since == known.Since && l.Incarnation < known.Incarnation):
		return fmt.Errorf("%w: node %s was started with another directory, at %s, which has its place since: this directory is old and takes no part any more; "+
			"stop the other one and empty this directory to be filled from the others, or keep the other one and leave this stopped",
			rpc.ErrDisplaced, n.nameOf(id), hlc.Timestamp(known.Since).Time().UTC().Format(time.RFC3339))
	case found && n.mayLive(id):
		return fmt.Errorf("%w: node %s is there, or may be, with another directory: stop that one, or give this node a directory and a node.name of its own",
			rpc.ErrHeld, n.nameOf(id))
	default:
		if err := n.saveLife(id, l); err != nil {
			n.log.Error().Err(err).Str("node", n.nameOf(id)).Msg("whose place it is cannot be stored, and holds until this node ends")
		}
		if found {
			n.log.Warn().Str("node", n.nameOf(id)).Str("incarnation", fmt.Sprintf("%x", l.Incarnation)).Msg("the node is in a new incarnation; an earlier one is refused from now on")
		}
	}
	if n.lives.met == nil {
		n.lives.met = make(map[ring.NodeID]rpc.Life)
	}
	n.lives.met[id] = l
	delete(n.lives.promised, id)
	return nil
}

// followLives ends the lives of members whose place has another one by a newer ring: what is known
// of the place is then older than the life that has it.
func (n *Node) followLives(before, r *ring.Ring) {
	if before == nil {
		return
	}
	n.lives.mu.Lock()
	defer n.lives.mu.Unlock()
	for i := range r.Members {
		m := &r.Members[i]
		was := before.Member(m.ID)
		if was == nil || was.Incarnation == m.Incarnation || m.ID == n.id.Node {
			continue
		}
		known, found := n.lifeOf(m.ID)
		if !found || known.Incarnation != was.Incarnation {
			continue // it has met the new one, or a later one
		}
		now := rpc.Life{Incarnation: m.Incarnation, Since: known.Since + 1}
		if err := n.saveLife(m.ID, now); err != nil {
			n.log.Error().Err(err).Str("node", n.nameOf(m.ID)).Msg("whose place it is cannot be stored, and holds until this node ends")
		}
		if n.lives.met == nil {
			n.lives.met = make(map[ring.NodeID]rpc.Life)
		}
		n.lives.met[m.ID] = now
	}
}

// mayLive reports whether the life of a member that was let in may still be there. The
// caller holds lives.mu.
func (n *Node) mayLive(id ring.NodeID) bool {
	if n.rpc.Connected(id) || n.lives.promised[id] {
		return n.rpc.Connected(id)
	}
	_, met := n.lives.met[id]
	return time.Since(n.began) < knowAfter || met && n.tracker.State(id) != membership.Dead
}

// isStray reports whether what gossip says is said by another life of a member than the
// one that is connected: an old disk or a copy, which is not where the member is.
func (n *Node) isStray(m membership.Meta) bool {
	n.lives.mu.Lock()
	defer n.lives.mu.Unlock()
	l, met := n.lives.met[m.NodeID]
	if !met || l.Incarnation == m.Incarnation || !n.rpc.Connected(m.NodeID) {
		return false
	}
	if n.lives.strays == nil {
		n.lives.strays = make(map[ring.NodeID]membership.Meta)
	}
	n.lives.strays[m.NodeID] = m
	return true
}

// lifeOf returns the life of a member that was let in last. The caller holds lives.mu.
func (n *Node) lifeOf(id ring.NodeID) (l rpc.Life, found bool) {
	if l, found = n.lives.met[id]; found {
		return l, true
	}
	b, found, err := n.db.Get(nil, lifeKey(id))
	if err != nil || !found || len(b) != 16 {
		return l, false // lost to damage: it is as if they had never met
	}
	return rpc.Life{Incarnation: binary.BigEndian.Uint64(b), Since: binary.BigEndian.Uint64(b[8:])}, true
}

func (n *Node) saveLife(id ring.NodeID, l rpc.Life) error {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, l.Incarnation), l.Since)
	batch := storage.Batch{Urgent: true} // a full disk is no reason to be alone
	batch.Set(lifeKey(id), b)
	if _, err := n.db.Apply(&batch); err != nil {
		return storeError(err)
	}
	if err := n.db.Sync(); err != nil {
		return storeError(err)
	}
	return nil
}

func lifeKey(id ring.NodeID) []byte {
	return key.AppendSystem(nil, spaceLife, binary.BigEndian.AppendUint64(nil, uint64(id)))
}

// displaced implements rpc.Options.Displaced: the node ends when its place is another's.
func (n *Node) displaced(by ring.NodeID, err error) {
	if errors.Is(err, rpc.ErrNoPart) {
		_, why, _ := strings.Cut(err.Error(), rpc.ErrNoPart.Error()+": ")
		n.excluded(", says node "+n.nameOf(by), why)
		return
	}
	if errors.Is(err, rpc.ErrHeld) {
		n.lives.heldMu.Lock()
		h := n.lives.held[by]
		long := h.goesOn(time.Now())
		if n.lives.held == nil {
			n.lives.held = make(map[ring.NodeID]holding)
		}
		n.lives.held[by] = h
		n.lives.heldMu.Unlock()
		if !long {
			return
		}
	}
	n.giveUp(fmt.Errorf("%w, says node %s: %w", ErrPlaceTaken, n.nameOf(by), err))
}

// admitted forgets that a member kept this node out.
func (n *Node) admitted(by ring.NodeID) {
	n.lives.heldMu.Lock()
	defer n.lives.heldMu.Unlock()
	delete(n.lives.held, by)
}
