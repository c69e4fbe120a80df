package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"kvstore/cluster/antientropy"
	"kvstore/cluster/coordinator"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
	"kvstore/storage"
	"kvstore/storage/key"
)

const (
	// spaceMarks is the space of the system keys that hold, for each partition (2
	// bytes, big endian), what package antientropy remembers of it.
	spaceMarks = 0x45
	// spaceOwner is the space of the one system key that holds the incarnation (8
	// bytes, big endian) whose writes the engine has. An engine without it, beside an
	// identity that is not new, was emptied; one that has 0 there is an old copy.
	spaceOwner = 0x46
)

// The leaves of the engine's sums are those that replicas compare.
var _ = [1]struct{}{}[storage.SumShift-antientropy.LeafShift]
var _ = [1]struct{}{}[storage.SumLeaves-antientropy.Leaves]

// Repair configures how replicas are kept level; see antientropy.Options.
type Repair struct {
	Period  time.Duration
	Delay   time.Duration
	Rate    int64
	Recheck time.Duration
}

// newKeeper makes what keeps this node's copies level with the others.
func (n *Node) newKeeper() *antientropy.Keeper {
	return antientropy.New(antientropy.Options{
		Self: n.id.Node, Ring: n.ring.Load, Now: n.clock.Now,
		Store: entropyStore{n.replica, store{n.db}, n}, Peers: entropyPeers{n}, Requests: entropyRequests{n},
		Period: n.o.Repair.Period, Delay: n.o.Repair.Delay, Rate: n.o.Repair.Rate, MoveRate: n.o.Transfer.Rate, Recheck: n.o.Repair.Recheck,
		Logger: n.log,
	})
}

// entropyStore is this node's data as antientropy compares it.
type entropyStore struct {
	*replica.Replica
	store
	n *Node
}

func (s entropyStore) AppendSums(dst []uint64, lo, hi uint32) []uint64 {
	return s.db.AppendSums(dst, lo, hi)
}

func (s entropyStore) Sum(lo, hi uint32) uint64 { return s.db.Sum(lo, hi) }

func (s entropyStore) Exact(lo, hi uint32) bool { return s.db.SumsExact(lo, hi) }

func (s entropyStore) Rebuild(ctx context.Context, lo, hi uint32) error {
	if err := s.db.RebuildSums(ctx, lo, hi, replica.Sum); err != nil {
		return fmt.Errorf("sum records anew: %w", storeError(err))
	}
	return nil
}

// Lost returns the ranges of keys, between two, of which damage has cost records.
func (s entropyStore) Lost(lower, upper []byte) (ranges [][2][]byte) {
	for _, r := range s.db.Lost() {
		lo, hi := r.Lo, r.Hi
		if slices.Compare(lo, lower) < 0 {
			lo = lower
		}
		if slices.Compare(hi, upper) > 0 {
			hi = upper
		}
		if slices.Compare(lo, hi) < 0 {
			ranges = append(ranges, [2][]byte{lo, hi})
		}
	}
	return ranges
}

// Refilled says that what others had of lost keys is stored again.
func (s entropyStore) Refilled(lower, upper []byte) error {
	if err := s.db.Refilled(lower, upper); err != nil {
		return storeError(err)
	}
	return nil
}

// Marks implements antientropy.Store.
func (s entropyStore) Marks(p ring.Partition) ([]byte, error) {
	b, found, err := s.store.Get(nil, marksKey(p))
	if err != nil || !found {
		return nil, err
	}
	return b, nil
}

// SaveMarks implements antientropy.Store.
func (s entropyStore) SaveMarks(marks map[ring.Partition][]byte, sync bool) error {
	var b storage.Batch
	for p, value := range marks {
		b.Set(marksKey(p), value)
	}
	if _, err := s.db.Apply(&b); err != nil {
		return storeError(err)
	}
	if !sync {
		return s.n.turns.commit()
	}
	if err := s.db.Sync(); err != nil {
		return storeError(err)
	}
	return nil
}

func marksKey(p ring.Partition) []byte {
	return key.AppendSystem(nil, spaceMarks, binary.BigEndian.AppendUint16(nil, uint16(p)))
}

// entropyPeers are the other nodes as antientropy asks them.
type entropyPeers struct{ n *Node }

func (p entropyPeers) Connected(id ring.NodeID) bool { return p.n.rpc.Connected(id) }

func (p entropyPeers) Ask(ctx context.Context, id ring.NodeID, body []byte) ([]byte, error) {
	return p.n.call(ctx, id, methodEntropy, body)
}

func (p entropyPeers) Name(id ring.NodeID) string { return p.n.nameOf(id) }

// entropyRequests is what serves clients, as antientropy sees it.
type entropyRequests struct{ n *Node }

func (q entropyRequests) Doubt(p ring.Partition) uint32 { return q.n.coord.Doubt(p) }

func (q entropyRequests) Settle(p ring.Partition, doubt uint32) { q.n.coord.SettlePartition(p, doubt) }

func (q entropyRequests) SetFilled(p ring.Partition, filled bool) { q.n.coord.SetFilled(p, filled) }

func (q entropyRequests) Busy() bool { return q.n.load.now().Busy() }

func (q entropyRequests) Clients() bool { return q.n.load.now().Serves() }

func (q entropyRequests) Keys(ctx context.Context, p ring.Partition) (keys int64) {
	r := q.n.ring.Load()
	if r == nil || int(p) >= r.Q {
		return 0
	}
	// Until what the node started with is counted, a round says only what differed.
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	first, last := r.SlotRange(p)
	for db := range uint8(replica.Databases) {
		k, err := q.n.replica.Count(ctx, db, first, last)
		if err != nil {
			return keys
		}
		keys += k
	}
	return keys
}

// WriteQuorum implements antientropy.Requests. Levels that count in one data centre are
// taken for what they are in the smallest.
func (q entropyRequests) WriteQuorum(replicas int) int {
	return writeQuorum(q.n.ring.Load(), q.n.coord.Defaults().W, replicas)
}

func writeQuorum(r *ring.Ring, w coordinator.Level, replicas int) int {
	local := replicas
	if r != nil {
		dcs, holders := map[string]bool{}, map[string]int{}
		for i := range r.Members {
			m := &r.Members[i]
			if dcs[m.DC] = true; m.State != ring.Removed && m.Weight > 0 {
				holders[m.DC]++
			}
		}
		local = max(replicas/max(len(dcs), 1), 1)
		for _, n := range holders {
			local = min(local, n) // it has no more replicas than nodes
		}
		for _, dc := range r.PerDC {
			local = min(local, dc.N)
		}
	}
	return w.Count(replicas, local)
}

// Unsteady implements antientropy.Requests.
func (q entropyRequests) Unsteady(p ring.Partition) bool {
	outstanding, err := q.n.HintsOutstanding(p)
	r := q.n.ring.Load()
	return outstanding || err != nil || moving(r, p) || q.n.leftOver(r, p)
}

// Handing implements antientropy.Requests.
func (q entropyRequests) Handing(p ring.Partition) bool { return q.n.handing(p) }

// Moving implements antientropy.Requests.
func (q entropyRequests) Moving(p ring.Partition) bool { return moving(q.n.ring.Load(), p) }

func (q entropyRequests) Purging() bool { return q.n.purging.Load() }

// introduce lets requests use a node that has just been connected once both know
// what the other one has collected; see antientropy.Keeper.Introduce.
func (n *Node) introduce(id ring.NodeID) {
	n.calls.mu.Lock()
	defer n.calls.mu.Unlock()
	if n.calls.closed {
		return
	}
	n.wg.Go(func() {
		for n.rpc.Connected(id) && n.ctx.Err() == nil {
			ctx, cancel := context.WithTimeout(n.ctx, stepWithin)
			err := n.entropy.Introduce(ctx, id)
			cancel()
			if err == nil {
				n.setIntroduced(id, true)
				n.reach(id)
				n.entropy.PeerUp(id)
				return
			}
			if remote, ok := errors.AsType[*remoteError](err); ok && remote.status == wire.Refused {
				// Their clocks are apart, and requests are refused for the same
				// reason; that they are is how the node with the wrong one finds out.
				n.setIntroduced(id, true)
				n.reach(id)
			}
			select {
			case <-n.ctx.Done():
			case <-time.After(joinAgain):
			}
		}
	})
}

func (n *Node) setIntroduced(id ring.NodeID, done bool) {
	n.reachMu.Lock()
	defer n.reachMu.Unlock()
	if n.introduced == nil {
		n.introduced = make(map[ring.NodeID]bool)
	}
	n.introduced[id] = done
}

// Repair begins to compare the partitions from first to last, of the whole ring,
// among all their replicas. It returns false when a repair is under way already.
func (n *Node) Repair(first, last ring.Partition) (began bool, err error) {
	return n.entropy.Repair(first, last)
}

// LastRepair returns the repair under way or the last one, nil if there was none.
func (n *Node) LastRepair() *antientropy.Job { return n.entropy.LastRepair() }

// LastRefill returns how far others have filled this node's copies, or did the last time.
func (n *Node) LastRefill() antientropy.Refill { return n.entropy.LastRefill() }

// Entropy returns what keeping replicas level met with.
func (n *Node) Entropy() *antientropy.Metrics { return &n.entropy.Metrics }

// Unsettled returns how many partitions may have been written without this node.
func (n *Node) Unsettled() int { return n.coord.Unsettled() }

// MarkPartition asks for a comparison of a partition's replicas soon.
func (n *Node) MarkPartition(p ring.Partition) { n.entropy.Mark(p) }

// SetRepair changes how replicas are kept level.
func (n *Node) SetRepair(period, delay time.Duration, rate int64) {
	n.entropy.SetTimes(period, delay)
	n.entropy.SetRate(rate)
}
