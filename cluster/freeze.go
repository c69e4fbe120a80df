package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// freeze is how a ring without data gets another table at once: every member promises that it
// holds nothing and refuses writes, then the ring is changed, then they go on. A promise ends with
// a newer ring than that of which it was made; or when its time is over, after this member has
// asked the register whether there is one. By then who asked for the promise makes no more use of
// it.
type freeze struct {
	mu       sync.Mutex
	frozen   bool       // guarded by mu
	epoch    ring.Epoch // guarded by mu: of the ring of which the promise was made
	deadline time.Time  // guarded by mu: when its time is over
}

const (
	// freezeFor is how long a member keeps its promise without news.
	freezeFor = 3 * time.Second
	// freezeUse is how long a promise may be used, from before it was asked for.
	freezeUse = freezeFor / 2
	// stepWithin bounds the question to one member.
	stepWithin = time.Second
)

// errHoldsData says that a member holds data, so that partitions have to move.
var errHoldsData = errors.New("the node holds data")

// errThawed says that a promise is of an older ring, or too old.
var errThawed = errors.New("the ring has changed while its members were asked to wait")

// takeInFrozen changes the ring while its members hold nothing and wait.
func (n *Node) takeInFrozen(ctx context.Context, m ring.Member) (*ring.Ring, error) {
	for {
		began, base := time.Now(), n.ring.Load()
		if base.Member(m.ID) != nil {
			return base, nil
		}
		if _, err := refuse(ring.Join(base, m, false)); err != nil {
			return nil, err // nobody has to wait for that
		}
		err := n.everyMember(ctx, base, methodFreeze)
		var r *ring.Ring
		if err == nil {
			r, err = n.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) {
				if r.Member(m.ID) != nil {
					return r, nil
				}
				if r.Epoch != base.Epoch || time.Since(began) > freezeUse {
					return nil, errThawed
				}
				next, _, err := ring.Build(r, append(slices.Clone(r.Members), m), ring.Options{})
				return refuse(next, err)
			})
		}
		if err != nil {
			// Who waits finds out by itself too, if this does not arrive.
			_ = n.everyMember(context.WithoutCancel(ctx), base, methodThaw)
		}
		if !errors.Is(err, errThawed) || ctx.Err() != nil {
			return r, err
		}
	}
}

// everyMember runs one step at all members, this one first.
func (n *Node) everyMember(ctx context.Context, r *ring.Ring, method uint8) error {
	ctx, cancel := context.WithTimeout(ctx, stepWithin)
	defer cancel()
	body := binary.BigEndian.AppendUint64(nil, uint64(r.Epoch))
	if _, err := n.serve(ctx, n.id.Node, method, body); err != nil {
		return err
	}
	errs := make([]error, len(r.Members))
	var wg sync.WaitGroup
	for i := range r.Members {
		id := r.Members[i].ID
		switch {
		case id == n.id.Node:
		case !n.rpc.Connected(id):
			errs[i] = fmt.Errorf("a node joins only while every member is alive, and %s cannot be reached", r.Members[i].Name)
		default:
			wg.Go(func() { _, errs[i] = n.call(ctx, id, method, body) })
		}
	}
	wg.Wait()
	for i, err := range errs {
		if remote, ok := errors.AsType[*remoteError](err); ok && remote.status == wire.Refused {
			if errs[i] = refusal(remote.text); strings.HasSuffix(remote.text, errHoldsData.Error()) {
				errs[i] = errHoldsData
			}
		}
	}
	return errors.Join(errs...)
}

// readEpoch reads the body of methodFreeze and methodThaw: an epoch, 8 bytes, big endian.
func readEpoch(body []byte) (ring.Epoch, error) {
	if len(body) != 8 {
		return 0, errShort
	}
	return ring.Epoch(binary.BigEndian.Uint64(body)), nil
}

// serveFreeze promises that this member holds nothing, and keeps it so.
func (n *Node) serveFreeze(body []byte) error {
	epoch, err := readEpoch(body)
	if err != nil {
		return err
	}
	f := &n.freeze
	f.mu.Lock()
	defer f.mu.Unlock()
	if own := n.epoch(); own != epoch {
		return fmt.Errorf("%w: node %s has the ring of epoch %d, and not %d", errThawed, n.o.Name, own, epoch)
	}
	if !n.replica.Freeze() {
		return fmt.Errorf("%w: %w", ErrRefused, errHoldsData)
	}
	f.frozen, f.epoch, f.deadline = true, epoch, time.Now().Add(freezeFor)
	return nil
}

// serveThaw ends a promise that is not to be used.
func (n *Node) serveThaw(body []byte) error {
	epoch, err := readEpoch(body)
	if err != nil {
		return err
	}
	n.endFreeze(func(f *freeze) bool { return f.epoch == epoch })
	return nil
}

// thaw takes writes again once a newer ring was adopted.
func (n *Node) thaw(r *ring.Ring) {
	n.endFreeze(func(f *freeze) bool { return f.epoch < r.Epoch })
}

// endFreeze takes writes again if the promise is one that has ended.
func (n *Node) endFreeze(ended func(*freeze) bool) {
	f := &n.freeze
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen && ended(f) {
		f.frozen = false
		n.replica.Thaw()
	}
}

// keepThawed ends promises whose time is over.
func (n *Node) keepThawed() {
	every := time.NewTicker(freezeFor / 6)
	defer every.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-every.C:
		}
		n.freeze.mu.Lock()
		over := n.freeze.frozen && time.Now().After(n.freeze.deadline)
		epoch := n.freeze.epoch
		n.freeze.mu.Unlock()
		if !over {
			continue
		}
		// If the change was chosen, this finds it; and otherwise it cannot be any more. Without a
		// majority nobody knows; but then the node cannot acknowledge by itself what a quorum has to hold.
		ctx, cancel := context.WithTimeout(n.ctx, stepWithin)
		_, err := n.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) { return r, nil })
		cancel()
		n.log.Warn().Err(err).Msg("a join was not concluded, the node takes writes again")
		n.endFreeze(func(f *freeze) bool { return f.epoch == epoch })
	}
}
