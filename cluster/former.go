package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
	"kvstore/storage/key"
)

// former is the node's part in changing the ring.
type former struct {
	// joins holds a token while this member takes in another one. It is a
	// channel and not a mutex because the steps wait for other members.
	joins    chan struct{}
	mu       sync.Mutex
	proposal *ring.Ring // guarded by mu: prepared and neither adopted nor aborted
	deadline time.Time  // guarded by mu: when the proposal's time is over
	expires  *time.Timer
}

const (
	// prepareFor is how long a prepared ring may take to be adopted. After it
	// the member asks the others what became of it.
	prepareFor = 3 * time.Second
	// joinWithin bounds one attempt to join.
	joinWithin = 5 * time.Second
	// joinAgain is the time between attempts.
	joinAgain = 100 * time.Millisecond
	// askAgain is the number of attempts after which gossip asks cluster.join
	// again: the node that answered there may have been about to leave.
	askAgain = 20
	// stepWithin bounds one step at one member.
	stepWithin = time.Second
	// holdsData is the reason that is final.
	holdsData = "its ring holds data already; in this release nodes join before the first write. Start the node in an empty cluster, or leave cluster.join empty"
)

// found makes a ring of this node alone.
func (n *Node) found() error {
	r, _, err := ring.Build(nil, []ring.Member{n.member()}, ring.Options{
		ClusterID: random64(), ClusterName: n.o.ClusterName, Partitions: n.o.Partitions, N: n.o.Replication.N,
	})
	if err != nil {
		return fmt.Errorf("found a cluster: %w", err)
	}
	n.log.Info().Str("cluster", n.o.ClusterName).Int("partitions", r.Q).Msg("founded a cluster")
	return n.adopt(r)
}

// adopt makes r the node's ring if it is newer than what the node has.
func (n *Node) adopt(r *ring.Ring) error {
	n.adoptMu.Lock()
	defer n.adoptMu.Unlock()
	before := n.ring.Load()
	if before != nil && (before.ClusterID != r.ClusterID || before.Epoch >= r.Epoch) {
		n.thaw(before)
		return nil
	}
	if err := writeDurably(n.fs, n.o.Dir, ringName, r.Encode()); err != nil {
		return err
	}
	lost := before == nil && n.emptied
	if lost {
		n.replica.MarkHoldsData()
	}
	// A ring only changes while it holds nothing, so nobody has missed a write.
	n.coord.SetRing(r, !n.replica.HoldsData())
	n.ring.Store(r)
	if err := n.entropy.Load(lost); err != nil {
		return err
	}
	if lost {
		if err := n.ownEngine(); err != nil {
			return err
		}
	}
	n.rpc.SetPeers(n.peersOf(r))
	n.thaw(r)
	for i := range r.Members {
		n.reach(r.Members[i].ID)
	}
	if before == nil {
		close(n.joined)
	}
	n.log.Info().Uint64("epoch", uint64(r.Epoch)).Int("members", len(r.Members)).Msg("the ring has changed")
	select {
	case n.news <- struct{}{}: // keepRing tells gossip
	default:
	}
	return nil
}

// join asks the cluster to take this node in until it does, or says why never.
func (n *Node) join() {
	said := ""
	for attempt := 1; ; attempt++ {
		err := n.joinOnce()
		switch {
		case err == nil || n.ring.Load() != nil || n.ctx.Err() != nil:
			return
		case errors.Is(err, ErrRefused), errors.Is(err, ErrOldPlace):
			n.fatal <- err
			return
		case err.Error() != said:
			said = err.Error()
			n.log.Info().Err(err).Msg("not in the ring yet")
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
	now, err := n.clock.Now() // the physical time, so that a wrong clock is found out here
	if err != nil {
		return err
	}
	err = errors.New("no member of the cluster has answered yet")
	for _, m := range n.gossip.Members() {
		if m.NodeID == n.id.Node || m.ClusterID == 0 || !m.Alive {
			continue
		}
		var reply *wire.Message
		reply, err = n.rpc.Call(ctx, m.RPC, &wire.Message{Kind: wire.Control, Method: methodJoin, Body: body, Now: int64(now)})
		if err != nil {
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

// refusal is ErrRefused in the words of the node that refused.
func refusal(text string) error {
	return fmt.Errorf("%w: %s", ErrRefused, strings.TrimPrefix(text, ErrRefused.Error()+": "))
}

// serveJoin takes a node in, or passes it on to the member who may: the one with
// the lowest id.
func (n *Node) serveJoin(ctx context.Context, body []byte) ([]byte, error) {
	var meta membership.Meta
	if err := meta.Decode(body); err != nil {
		return nil, err
	}
	m := memberOf(meta)
	r := n.ring.Load()
	if r == nil {
		return nil, errors.New("the node is in no ring itself")
	}
	if known := r.Member(m.ID); known != nil {
		return r.Encode(), nil
	}
	if old := oldPlace(r, m); old != nil {
		return n.giveOldPlace(r, old)
	}
	if lead := r.Members[0].ID; lead != n.id.Node {
		out, err := n.call(ctx, lead, methodJoin, body)
		if remote, ok := errors.AsType[*remoteError](err); ok && remote.status == wire.Refused {
			return nil, refusal(remote.text)
		}
		return out, err
	}
	return n.takeIn(ctx, m)
}

// takeIn makes the ring that has m too and brings every member to it.
func (n *Node) takeIn(ctx context.Context, m ring.Member) ([]byte, error) {
	select {
	case n.former.joins <- struct{}{}:
		defer func() { <-n.former.joins }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another node's join: %w", ctx.Err())
	}
	r := n.ring.Load()
	if r.Member(m.ID) != nil {
		return r.Encode(), nil
	}
	for i := range r.Members {
		if r.Members[i].Name == m.Name {
			return nil, fmt.Errorf("%w: the ring has a node named %q already; set node.name", ErrRefused, m.Name)
		}
	}
	for i := range r.Members {
		if id := r.Members[i].ID; id != n.id.Node && !n.rpc.Connected(id) {
			return nil, fmt.Errorf("a node joins only while every member is alive, and %s cannot be reached", r.Members[i].Name)
		}
	}
	next, _, err := ring.Build(r, append(slices.Clone(r.Members), m), ring.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	encoded := next.Encode()
	if err := n.everyMember(ctx, r, methodPrepare, encoded); err != nil {
		// Who has prepared finds out by itself too, if this does not arrive.
		_ = n.everyMember(context.WithoutCancel(ctx), r, methodAbort, encoded)
		return nil, err
	}
	if err := n.everyMember(context.WithoutCancel(ctx), r, methodCommit, encoded); err != nil {
		n.log.Warn().Err(err).Msg("a member has yet to hear of the new ring")
	}
	return encoded, nil
}

// everyMember runs one step at all members, this one first.
func (n *Node) everyMember(ctx context.Context, r *ring.Ring, method uint8, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, stepWithin)
	defer cancel()
	if _, err := n.serve(ctx, n.id.Node, method, body); err != nil {
		return err
	}
	errs := make([]error, len(r.Members))
	var wg sync.WaitGroup
	for i := range r.Members {
		if id := r.Members[i].ID; id != n.id.Node {
			wg.Go(func() { _, errs[i] = n.call(ctx, id, method, body) })
		}
	}
	wg.Wait()
	for i, err := range errs {
		if remote, ok := errors.AsType[*remoteError](err); ok && remote.status == wire.Refused {
			errs[i] = refusal(remote.text)
		}
	}
	return errors.Join(errs...)
}

// servePrepare promises that this member holds nothing and keeps it so until the
// proposal is adopted or aborted.
func (n *Node) servePrepare(body []byte) error {
	next, err := ring.Decode(body)
	if err != nil {
		return err
	}
	f := &n.former
	f.mu.Lock()
	defer f.mu.Unlock()
	r := n.ring.Load()
	switch {
	case r == nil || r.ClusterID != next.ClusterID || r.Epoch+1 != next.Epoch:
		return fmt.Errorf("the proposed ring does not follow the ring of node %s", n.o.Name)
	case f.proposal != nil && f.proposal.Hash() != next.Hash():
		return errors.New("another node is joining")
	}
	if !n.replica.Freeze() {
		return fmt.Errorf("%w: %s", ErrRefused, holdsData)
	}
	f.proposal = next
	if f.expires != nil {
		f.expires.Stop()
	}
	f.deadline = time.Now().Add(prepareFor)
	f.expires = time.AfterFunc(prepareFor, n.wakeKeeper)
	return nil
}

// serveCommit adopts a prepared ring.
func (n *Node) serveCommit(body []byte) error {
	r, err := ring.Decode(body)
	if err != nil {
		return err
	}
	return n.adopt(r)
}

// serveAbort forgets a prepared ring.
func (n *Node) serveAbort(body []byte) error {
	r, err := ring.Decode(body)
	if err != nil {
		return err
	}
	f := &n.former
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proposal != nil && f.proposal.Hash() == r.Hash() {
		f.end()
		n.replica.Thaw()
	}
	return nil
}

// end forgets the proposal. The caller holds mu.
func (f *former) end() {
	f.proposal = nil
	if f.expires != nil {
		f.expires.Stop()
		f.expires = nil
	}
}

// thaw takes writes again once the proposal, or a later ring, was adopted.
func (n *Node) thaw(r *ring.Ring) {
	f := &n.former
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proposal != nil && f.proposal.Epoch <= r.Epoch {
		f.end()
		n.replica.Thaw()
	}
}

func (n *Node) wakeKeeper() {
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// keepRing fetches newer rings that gossip tells of, tells gossip of this
// node's, and finds out what became of a proposal that was never concluded.
func (n *Node) keepRing() {
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.news:
		case <-again.C:
		}
		if err := n.syncRing(); err != nil {
			n.log.Warn().Err(err).Msg("a newer ring cannot be fetched")
			again.Reset(time.Second)
		}
		n.resolveProposal()
		if n.ctx.Err() != nil {
			return // it is leaving, and gossip forgets who has left
		}
		if self := n.meta(); n.gossip.Self().Epoch != self.Epoch {
			if err := n.gossip.UpdateMeta(self); err != nil {
				n.log.Error().Err(err).Msg("gossip does not take the node's description")
			}
		}
	}
}

// syncRing fetches the ring of a node that has a newer one, as gossip or its
// messages tell.
func (n *Node) syncRing() error {
	if m := n.newest.Load(); m != nil && m.Epoch > n.epoch() {
		if err := n.fetchRing(*m); err != nil {
			return err
		}
	}
	a := n.ahead.Load()
	if a == nil || a.epoch <= n.epoch() {
		return nil
	}
	for _, m := range n.gossip.Members() {
		if m.NodeID == a.id {
			return n.fetchRing(m.Meta)
		}
	}
	return fmt.Errorf("node %s has a newer ring, and gossip does not know where it is", n.nameOf(a.id))
}

// aheadNode is a node whose messages are of a newer ring than this node's.
type aheadNode struct {
	id    ring.NodeID
	epoch ring.Epoch
}

// newerRing has keepRing fetch the ring of a node that is ahead. It is called for
// each message of that ring; the first one matters, and keepRing tries again.
func (n *Node) newerRing(id ring.NodeID, epoch ring.Epoch) {
	if a := n.ahead.Load(); a != nil && a.epoch >= epoch {
		return
	}
	n.ahead.Store(&aheadNode{id, epoch})
	n.wakeKeeper()
}

// fetchRing takes over the ring of another node.
func (n *Node) fetchRing(m membership.Meta) error {
	ctx, cancel := context.WithTimeout(n.ctx, joinWithin)
	defer cancel()
	reply, err := n.rpc.Call(ctx, m.RPC, &wire.Message{Kind: wire.Control, Method: methodRing, Now: int64(n.clock.Last())})
	if err != nil {
		return err
	}
	if reply.Status != wire.OK {
		return &remoteError{m.Name, reply.Status, string(reply.Body)}
	}
	r, err := ring.Decode(reply.Body)
	if err != nil {
		return fmt.Errorf("ring from node %s: %w", m.Name, err)
	}
	return n.adopt(r)
}

// resolveProposal ends a proposal whose time is over. By then the member who
// made it has either told of it or given it up; another member's epoch says
// which.
func (n *Node) resolveProposal() {
	f := &n.former
	f.mu.Lock()
	open := f.proposal != nil && !time.Now().Before(f.deadline)
	epoch := ring.Epoch(0)
	if open {
		epoch = f.proposal.Epoch
	}
	f.mu.Unlock()
	if !open {
		return
	}
	adopted := false
	for _, m := range n.gossip.Members() {
		if m.NodeID != n.id.Node && m.Epoch >= epoch {
			if err := n.fetchRing(m.Meta); err == nil {
				return
			}
			adopted = true
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.proposal == nil || f.proposal.Epoch != epoch || time.Now().Before(f.deadline):
	case adopted: // who writes by the old ring now, others would not find it
		f.expires = time.AfterFunc(time.Second, n.wakeKeeper)
	default:
		n.log.Warn().Msg("a proposed ring was not concluded, the old one stays")
		f.end()
		n.replica.Thaw()
	}
}

// holdsNoUserKeys reports whether the engine holds no user key.
func (n *Node) holdsNoUserKeys() (empty bool, err error) {
	empty = true
	err = store{n.db}.Scan(key.AppendToken(nil, 0), key.AppendToken(nil, uint64(ring.TokenEnd)), func([]byte, []byte) bool {
		empty = false
		return false
	})
	if errors.Is(err, coordinator.ErrCorrupt) {
		return false, nil // what is damaged was there
	}
	return empty, err
}
