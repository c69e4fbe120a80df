package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
	"kvstore/storage/vfs"
)

// freeze is how a ring without data gets another table at once: every member promises that it
// holds nothing and refuses writes, then the ring is changed, then they go on. A promise ends with
// a newer ring than that of which it was made; or when all who asked for it say that they make no
// use of it. When its time is over this member has the register decide on some successor: what was
// proposed by the promise is that one, or can never be any more. A process that starts keeps what the
// one before it has promised.
type freeze struct {
	mu       sync.Mutex           // held while the promise is stored
	frozen   bool                 // guarded by mu
	epoch    ring.Epoch           // guarded by mu: of the ring of which the promise was made, see coordinator.EpochOf
	deadline time.Time            // guarded by mu: when its time is over
	asked    map[ring.NodeID]bool // guarded by mu: to whom the promise was made
	adopted  time.Time            // guarded by mu: when the ring last changed
}

// frozenName is the file that is there while a promise is, with the epoch, 8 bytes, big endian.
const frozenName = "frozen"

const (
	// freezeFor is how long a member keeps its promise without news.
	freezeFor = 3 * time.Second
	// freezeUse is how long a promise may be used, from before it was asked for.
	freezeUse = freezeFor / 2
	// awayAfter is how long the ring is the same before a member that is taken for dead is not waited for.
	awayAfter = 5 * time.Second
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
				if coordinator.EpochOf(r) != coordinator.EpochOf(base) || time.Since(began) > freezeUse {
					return nil, errThawed
				}
				next, _, err := ring.Build(r, append(slices.Clone(r.Members), m), ring.Options{})
				if err == nil {
					proposed = coordinator.EpochOf(r)
				}
				return refuse(next, err)
			})
		}
		if err != nil && proposed != coordinator.EpochOf(base) {
			// Who waits finds out by itself too, if this does not arrive. What was proposed and not
			// decided may be completed by anybody: until that is settled nobody may write.
			_ = n.everyMember(context.WithoutCancel(ctx), base, methodThaw)
		}
		if !errors.Is(err, errThawed) || errors.Is(err, errHoldsData) || ctx.Err() != nil {
			return r, err
		}
	}
}

// everyMember runs one step at all members, this one first. One that is away may hold data.
func (n *Node) everyMember(ctx context.Context, r *ring.Ring, method uint8) error {
	ctx, cancel := context.WithTimeout(ctx, stepWithin)
	defer cancel()
	body := binary.BigEndian.AppendUint64(nil, uint64(coordinator.EpochOf(r)))
	if _, err := n.serve(ctx, n.id.Node, method, body); err != nil {
		return err
	}
	errs := make([]error, len(r.Members))
	var wg sync.WaitGroup
	for i := range r.Members {
		id := r.Members[i].ID
		switch {
		case id == n.id.Node:
		case r.Members[i].State == ring.Removed || n.isAway(id):
			errs[i] = errHoldsData
		case !n.rpc.Connected(id):
			errs[i] = fmt.Errorf("%s is alive and cannot be reached yet", r.Members[i].Name)
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

// isAway reports whether a member is not about to connect. One that the ring has just got may be, and
// any when this process has just begun.
func (n *Node) isAway(id ring.NodeID) bool {
	n.freeze.mu.Lock()
	since := n.freeze.adopted
	n.freeze.mu.Unlock()
	if since.IsZero() {
		since = n.began
	}
	return !n.rpc.Connected(id) && n.tracker.State(id) == membership.Dead && time.Since(since) > awayAfter
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
	switch r := n.ring.Load(); {
	case r == nil:
		return fmt.Errorf("%w: node %s has no ring", errThawed, n.o.Name)
	case coordinator.EpochOf(r) != epoch:
		return fmt.Errorf("%w: node %s has the ring of generation %d, epoch %d", errThawed, n.o.Name, r.Generation, r.Epoch)
	}
	if !n.replica.Freeze() {
		return fmt.Errorf("%w: %w", ErrRefused, errHoldsData)
	}
	if !f.frozen || f.epoch != epoch {
		if err := writeDurably(n.fs, n.o.Dir, frozenName, body); err != nil {
			if !f.frozen {
				n.replica.Thaw()
			}
			return err
		}
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

// noteChange notes that the ring has changed just now.
func (f *freeze) noteChange() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.adopted = time.Now()
}

// thaw takes writes again once a newer ring was adopted.
func (n *Node) thaw(r *ring.Ring) {
	n.endFreeze(func(f *freeze) bool { return f.epoch < coordinator.EpochOf(r) })
}

// endFreeze takes writes again if the promise is one that has ended.
func (n *Node) endFreeze(ended func(*freeze) bool) {
	f := &n.freeze
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen && ended(f) {
		f.frozen = false
		n.replica.Thaw()
		n.unfreezeFile()
	}
}

// unfreezeFile forgets the promise. One that is found all the same is of an older ring, or its node
// holds data, or it costs the time that promises have.
func (n *Node) unfreezeFile() {
	if err := n.fs.Remove(filepath.Join(n.o.Dir, frozenName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn().Err(err).Msg("a promise that has ended stays on disk")
	}
}

// recallFreeze keeps a promise that the process before has made: until the ring has a successor,
// because nobody remembers who may use it.
func (n *Node) recallFreeze(r *ring.Ring) error {
	b, err := vfs.ReadFile(n.fs, filepath.Join(n.o.Dir, frozenName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what the node has promised: %w", err)
	}
	epoch, err := readEpoch(b)
	if err != nil {
		epoch = coordinator.EpochOf(r) // it may be of this ring
	}
	if epoch != coordinator.EpochOf(r) || !n.replica.Freeze() {
		n.unfreezeFile()
		return nil
	}
	f := &n.freeze
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen, f.epoch, f.asked = true, epoch, map[ring.NodeID]bool{0: true} // nobody, who gives nothing back
	return nil
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
			if coordinator.EpochOf(r) != epoch {
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
