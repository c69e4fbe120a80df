package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kvstore/cluster/consensus"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
)

const (
	// joinWithin bounds one attempt to join.
	joinWithin = 5 * time.Second
	// joinAgain is the time between attempts.
	joinAgain = 100 * time.Millisecond
	// askAgain is the number of attempts after which gossip asks cluster.join
	// again: the node that answered there may have been about to leave.
	askAgain = 20
)

// join asks the cluster to take this node in until it does, or says why never.
func (n *Node) join() {
	said := ""
	for attempt := 1; ; attempt++ {
		err := n.joinOnce()
		switch {
		case err == nil || n.ring.Load() != nil || n.ctx.Err() != nil:
			return
		case errors.Is(err, ErrRefused), errors.Is(err, ErrOldPlace):
			n.giveUp(err)
			return
		case err.Error() != said:
			said = err.Error()
			n.log.Info().Err(err).Msg("not in the ring yet")
		}
		if why, since := n.gossip.KeptOut(); why != "" && n.o.KeptOut > 0 && time.Since(since) >= n.o.KeptOut {
			n.giveUp(fmt.Errorf("%w: it %s", ErrRefused, why))
			return
		}
		if attempt%askAgain == 0 {
			_, _ = n.gossip.Join(n.o.Join) // its failure is that nobody answers, which is said above
		}
		select {
		case <-n.ctx.Done():
			return
		case <-n.joined:
			return
		case <-time.After(joinAgain):
		}
	}
}

// joinOnce asks one member that gossip knows.
func (n *Node) joinOnce() error {
	ctx, cancel := context.WithTimeout(n.ctx, joinWithin)
	defer cancel()
	self := n.meta()
	body, err := self.Append(nil)
	if err != nil {
		return err
	}
	method := methodJoin
	if n.o.AwaitCommit {
		method = methodApply
	}
	err = errors.New("no member of the cluster has answered yet")
	for _, m := range n.gossip.Members() {
		if m.NodeID == n.id.Node || m.ClusterID == 0 || !m.Alive {
			continue
		}
		var reply *wire.Message
		if reply, err = n.askToJoin(ctx, m.Meta, method, body); err != nil {
			if errors.Is(err, ErrRefused) {
				return err
			}
			continue
		}
		switch reply.Status {
		case wire.OK:
			r, err := ring.Decode(reply.Body)
			if err != nil {
				return fmt.Errorf("ring from node %s: %w", m.Name, err)
			}
			if r.Member(n.id.Node) == nil {
				return n.takeOldPlace(ctx, r)
			}
			return n.adopt(r)
		case wire.Refused:
			return refusal(string(reply.Body))
		}
		err = &remoteError{m.Name, reply.Status, string(reply.Body)}
	}
	return err
}

// askToJoin asks a member to have this node taken in, if the cluster is what the node is
// configured for.
func (n *Node) askToJoin(ctx context.Context, m membership.Meta, method uint8, body []byte) (*wire.Message, error) {
	b, err := n.callAt(ctx, m.Name, m.RPC, methodRing, nil)
	if errors.Is(err, rpc.ErrVersion) {
		return nil, fmt.Errorf("%w: node %s: %w", ErrRefused, m.Name, err)
	}
	if err != nil {
		return nil, err
	}
	r, err := ring.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("ring from node %s: %w", m.Name, err)
	}
	if err := r.CheckPartitions(n.o.Partitions); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	now, err := n.clock.Now() // the physical time, so that a wrong clock is found out here
	if err != nil {
		return nil, err
	}
	return n.rpc.Call(ctx, m.RPC, &wire.Message{Kind: wire.Control, Method: method, Body: body, Now: int64(now)})
}

// refusal is ErrRefused in the words of the node that refused.
func refusal(text string) error {
	return fmt.Errorf("%w: %s", ErrRefused, strings.TrimPrefix(text, ErrRefused.Error()+": "))
}

// serveJoin takes a node in. Members pass it on to the first voter that they reach, so that joins
// come one after the other; who gets it from a member does it itself.
func (n *Node) serveJoin(ctx context.Context, from ring.NodeID, method uint8, body []byte) ([]byte, error) {
	var meta membership.Meta
	if err := meta.Decode(body); err != nil {
		return nil, err
	}
	m := memberOf(meta)
	r := n.ring.Load()
	if r == nil {
		return nil, errors.New("the node is in no ring itself")
	}
	if known := r.Member(m.ID); known != nil && known.State != ring.Removed {
		return r.Encode(), nil
	}
	if old := oldPlace(r, m); old != nil {
		return n.giveOldPlace(r, old)
	}
	if lead := n.firstVoter(r); lead != n.id.Node && r.Member(from) == nil {
		out, err := n.call(ctx, lead, method, body)
		if remote, ok := errors.AsType[*remoteError](err); ok && remote.status == wire.Refused {
			return nil, refusal(remote.text)
		}
		return out, err
	}
	if _, err := n.callAt(ctx, m.Name, m.RPC, methodRing, nil); err != nil && !isAnswer(err) {
		return nil, fmt.Errorf("node %s cannot be reached at %s, which is its cluster.rpc: %w", m.Name, m.RPC, err)
	}
	return n.takeIn(ctx, m, method == methodJoin)
}

// isAnswer reports whether an error is what a node said, and not that it said nothing.
func isAnswer(err error) bool {
	_, ok := errors.AsType[*remoteError](err)
	return ok
}

// firstVoter returns the voter with the lowest id that this node reaches, or is.
func (n *Node) firstVoter(r *ring.Ring) ring.NodeID {
	for _, id := range r.Voters() {
		if id == n.id.Node || n.rpc.Connected(id) {
			return id
		}
	}
	return n.id.Node
}

// takeIn has the ring that has m too chosen. While nothing is stored anywhere the new ring's table
// holds at once; else partitions move to it one by one (package transfer).
func (n *Node) takeIn(ctx context.Context, m ring.Member, auto bool) ([]byte, error) {
	select {
	case n.joins <- struct{}{}:
		defer func() { <-n.joins }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another node's join: %w", ctx.Err())
	}
	var r *ring.Ring
	var err error
	empty := auto && !n.replica.HoldsData()
	if empty {
		r, err = n.takeInFrozen(ctx, m)
		empty = !errors.Is(err, errHoldsData)
	}
	if !empty {
		r, err = n.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) { return refuse(ring.Join(r, m, auto)) })
	}
	if e, ok := errors.AsType[*consensus.NoMajority](err); ok && e.Chosen {
		err = nil // it is taken in, and asks who has the ring
	}
	if err != nil {
		return nil, err
	}
	return r.Encode(), nil
}

// refuse marks what the ring says against a member as final.
func refuse(r *ring.Ring, err error) (*ring.Ring, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return r, nil
}
