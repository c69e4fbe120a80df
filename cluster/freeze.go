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
// a newer ring than that of which it was made; or when all who asked for it say that they make no
// use of it. When its time is over this member has the register decide on some successor: what was
// proposed by the promise is that one, or can never be any more.
type freeze struct {
	mu       sync.Mutex
	frozen   bool                 // guarded by mu
	epoch    ring.Epoch           // guarded by mu: of the ring of which the promise was made
	deadline time.Time            // guarded by mu: when its time is over
	asked    map[ring.NodeID]bool // guarded by mu: to whom the promise was made
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
	var proposed ring.Epoch // the ring whose successor may still be this change
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
				if err == nil {
					proposed = r.Epoch
				}
				return refuse(next, err)
			})
		}
		if err != nil && proposed != base.Epoch {
			// Who waits finds out by itself too, if this does not arrive. What was proposed and not
			// decided may be completed by anybody: until that is settled nobody may write.
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
func (n *Node) serveFreeze(from ring.NodeID, body []byte) error {
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
	if !f.frozen || f.epoch != epoch {
		f.asked = make(map[ring.NodeID]bool)
	}
	f.asked[from] = true
	f.frozen, f.epoch, f.deadline = true, epoch, time.Now().Add(freezeFor)
	return nil
}

// serveThaw ends a promise that is not to be used, unless somebody else may use it.
func (n *Node) serveThaw(from ring.NodeID, body []byte) error {
	epoch, err := readEpoch(body)
	if err != nil {
		return err
	}
	n.endFreeze(func(f *freeze) bool {
		if f.epoch == epoch {
			delete(f.asked, from)
		}
		return len(f.asked) == 0
	})
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
		// The change is chosen, or another successor is, and then it cannot be any more. To see that
		// nothing was chosen yet is not enough: who has accepted it may be asked later.
		ctx, cancel := context.WithTimeout(n.ctx, stepWithin)
		_, err := n.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) {
			if r.Epoch != epoch {
				return r, nil
			}
			return ring.Renew(r)
		})
		cancel()
		n.log.Warn().Err(err).Uint64("epoch", uint64(n.epoch())).Msg("a join was not concluded: the node takes writes once the ring that was to be changed has a successor")
		n.freeze.mu.Lock()
		n.freeze.deadline = time.Now().Add(freezeFor) // where there is no majority
		n.freeze.mu.Unlock()
	}
}
