package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"kvstore/cluster/consensus"
	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
	"kvstore/storage/vfs"
)

// register is the node's part in deciding which ring is next: its vote, and the changes it
// proposes. See package consensus.
type register struct {
	acceptor *consensus.Acceptor
	proposer *consensus.Proposer
}

// registerName is the file of the acceptor's state, which is there before the ring is.
const registerName = "register"

// registerFile implements consensus.Store.
type registerFile struct {
	fs  vfs.FS
	dir string
}

// Load implements consensus.Store.
func (f registerFile) Load() ([]byte, error) {
	name := filepath.Join(f.dir, registerName)
	b, err := vfs.ReadFile(f.fs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// Save implements consensus.Store.
func (f registerFile) Save(b []byte) error { return writeDurably(f.fs, f.dir, registerName, b) }

// remove forgets the vote.
func (f registerFile) remove() error {
	if err := f.fs.Remove(filepath.Join(f.dir, registerName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", filepath.Join(f.dir, registerName), err)
	}
	return f.fs.SyncDir(f.dir)
}

// openRegister loads the node's vote. A directory that should have one and has not continues
// under a new incarnation, because nothing tells what the present one has promised.
func (n *Node) openRegister(known *ring.Ring, upgraded bool) error {
	file := registerFile{n.fs, n.o.Dir}
	o := consensus.AcceptorOptions{Self: n.id.Node, Incarnation: n.id.Incarnation, Store: file, Ring: n.ring.Load, Adopt: n.adopt}
	a, fresh, err := consensus.NewAcceptor(o)
	if errors.Is(err, consensus.ErrState) {
		n.log.Error().Err(err).Msg("what the node has promised for the ring is lost")
		fresh, err = true, file.remove()
	}
	if err != nil {
		return err
	}
	if fresh && (known != nil || n.lostRing) {
		voter := n.id.Incarnation
		if known != nil {
			voter = known.Member(n.id.Node).Incarnation
		}
		if !upgraded && voter == n.id.Incarnation {
			n.log.Warn().Str("file", registerName).Msg("the directory lacks a file: the node continues under a new incarnation")
			n.id.renew(hlc.FromTime(n.o.Now()))
			if err := n.id.save(n.fs, n.o.Dir); err != nil {
				return err
			}
		}
		o.Incarnation = n.id.Incarnation
		if a, _, err = consensus.NewAcceptor(o); err == nil && upgraded {
			err = a.Inherit(voter) // the release before knew no votes
		}
		if err != nil {
			return err
		}
	}
	n.register.acceptor = a
	n.register.proposer = consensus.NewProposer(consensus.Options{
		Self: n.id.Node, Ring: n.ring.Load, Adopt: n.adopt, Ask: n.askVoter, Random: random64, Logger: n.log,
	})
	return nil
}

// askVoter implements consensus.Options.Ask. Who is no peer yet, because it is about to join, is
// told of its ring at its address.
func (n *Node) askVoter(ctx context.Context, m *ring.Member, body []byte) ([]byte, error) {
	if m.ID == n.id.Node {
		return n.register.acceptor.Handle(body)
	}
	if n.rpc.Connected(m.ID) || !consensus.IsLearn(body) {
		return n.call(ctx, m.ID, methodPaxos, body)
	}
	at := n.addresses.of(*m)
	return n.callAt(ctx, at.Name, at.RPC, methodPaxos, body)
}

// servePaxos answers a request of the register. Votes are for members that are let in: a copy of a
// directory must not have the ring name it instead of the node that lives.
func (n *Node) servePaxos(from ring.NodeID, body []byte) ([]byte, error) {
	if rpc.IsCaller(from) && !consensus.IsLearn(body) {
		return nil, fmt.Errorf("%w: only members change the ring", ErrRefused)
	}
	return n.register.acceptor.Handle(body)
}

// callAt asks for a service of who listens at an address.
func (n *Node) callAt(ctx context.Context, name, addr string, method uint8, body []byte) ([]byte, error) {
	reply, err := n.rpc.Call(ctx, addr, &wire.Message{Kind: wire.Control, Method: method, Body: body, Now: int64(n.clock.Last())})
	if err != nil {
		return nil, err
	}
	if reply.Status != wire.OK {
		return nil, &remoteError{name, reply.Status, string(reply.Body)}
	}
	return reply.Body, nil
}

// Change replaces the ring by what f makes of it: consensus.Proposer.Change, at a node that has a
// ring. Its errors are those of f, consensus.NoMajority, which names who is missing, and the end of
// ctx. Requests on keys go on whatever it returns.
func (n *Node) Change(ctx context.Context, f func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error) {
	if n.ring.Load() == nil {
		return nil, consensus.ErrNoRing
	}
	return n.register.proposer.Change(ctx, f)
}

// NoMajority is how Change fails when too few voters answer.
type NoMajority = consensus.NoMajority

// ErrMajority says that there is nothing to recover.
var ErrMajority = errors.New("a majority of the voters answers: there is nothing to recover; remove a node that is dead with `kvstore cluster remove NODE`")

// Recover makes the members that this node reaches the whole cluster, when the majority of the
// voters is lost for good. All others are removed: what only they had is lost, and whoever of them
// comes back is refused. If they live and only cannot be reached, there are two clusters from now
// on.
func (n *Node) Recover(ctx context.Context) error {
	_, err := n.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) { return r, nil })
	if err == nil {
		return ErrMajority
	}
	if !errors.Is(err, consensus.ErrNoMajority) {
		return err
	}
	var left []ring.NodeID
	for _, id := range n.ring.Load().Voters() {
		if id == n.id.Node || n.rpc.Connected(id) {
			left = append(left, id)
		}
	}
	if !slices.Contains(left, n.id.Node) {
		return fmt.Errorf("node %s has no vote itself; recover at one of those that hold data", n.o.Name)
	}
	r, err := n.register.proposer.Force(ctx, left, func(r *ring.Ring) (*ring.Ring, error) {
		next, _, err := ring.Recover(r, left)
		for _, id := range left {
			if l, known := n.lifeNow(id); known && err == nil {
				m := n.addresses.of(*next.Member(id))
				next, err = ring.Incarnate(next, id, l, m)
			}
		}
		return next, err
	})
	if err != nil {
		return err
	}
	n.log.Warn().Uint64("generation", r.Generation).Uint64("epoch", uint64(r.Epoch)).Int("members", len(left)).
		Msg("the cluster was recovered by force: everybody else is removed")
	return nil
}

// lifeNow returns the incarnation in which a member is connected.
func (n *Node) lifeNow(id ring.NodeID) (incarnation uint64, known bool) {
	if id == n.id.Node {
		return n.id.Incarnation, true
	}
	n.lives.mu.Lock()
	defer n.lives.mu.Unlock()
	l, known := n.lives.met[id]
	return l.Incarnation, known
}
