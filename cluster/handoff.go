package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hint"
	"kvstore/cluster/membership"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/transfer"
	"kvstore/cluster/version"
	"kvstore/storage"
)

// handoff brings other nodes what they missed: it starts a pass over a node's
// hints when that node can be reached, and keeps their count.
type handoff struct {
	news    chan struct{} // one token when a node may have come back; sent by Events
	grants  hint.Granter  // what this node takes, of others' hints for it
	counted chan struct{} // closed once what the node started with is counted

	mu      sync.Mutex
	running map[ring.NodeID]bool // guarded by mu: a pass is under way
	stuck   map[ring.NodeID]bool // guarded by mu: the last pass ended no hint
	// aged is when hints of nodes that are away were last looked through for age.
	aged map[ring.NodeID]time.Time // guarded by mu
	// told is when a failure to bring them what they missed was last told of.
	told map[ring.NodeID]time.Time // guarded by mu
	// marked are partitions of which a replica may miss what no hint stands for.
	marked map[ring.Partition]bool // guarded by mu
	lost   uint64                  // guarded by mu: hints dropped and not yet told of
}

const (
	// handoffEvery is how often it is looked for hints whose time has come.
	handoffEvery = time.Second
	// agedEvery is how often hints are looked through for their age: all of them
	// are read each time.
	agedEvery = time.Minute
	// handoffJitter bounds by how much nodes begin apart that find the same node
	// back.
	handoffJitter = 400 * time.Millisecond
	// handoffWithin bounds how long a batch may take to be taken.
	handoffWithin = 5 * time.Second
)

// openHints begins to keep hints, and counts those there are.
func (n *Node) openHints() error {
	n.load.begin()
	h := &n.handoff
	h.news, h.counted = make(chan struct{}, 1), make(chan struct{})
	h.aged, h.told = make(map[ring.NodeID]time.Time), make(map[ring.NodeID]time.Time)
	h.running, h.stuck, h.marked = make(map[ring.NodeID]bool), make(map[ring.NodeID]bool), make(map[ring.Partition]bool)
	n.hints = hint.New(store{n.db}, hint.Options{MaxBytes: n.o.HintBytes, MaxAge: n.o.HintAge, Now: n.o.Now, Dropped: n.hintDropped})
	snapshot := n.db.NewSnapshot()
	n.wg.Go(func() {
		defer snapshot.Close()
		if err := n.countHints(snapshot, 0, ^ring.NodeID(0), n.hints.Count); err != nil {
			n.log.Error().Err(err).Msg("the hints on disk cannot be counted, none is replayed")
			return
		}
		close(n.handoff.counted)
	})
	return nil
}

// countHints calls each with the hints of a snapshot for the targets from first to
// last.
func (n *Node) countHints(s *storage.Snapshot, first, last ring.NodeID, each func(k, value []byte) error) error {
	lower, _ := hint.Bounds(first, 0, 0)
	_, upper := hint.Bounds(last, 0, ring.TokenEnd)
	it, err := s.NewIter(storage.IterOptions{Lower: lower, Upper: upper})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if err = n.ctx.Err(); err == nil {
			err = each(it.Key(), it.Value())
		}
	}
	return errors.Join(err, it.Err(), it.Close())
}

// hintDropped marks what a hint that is not kept would have stood for.
func (n *Node) hintDropped(_ ring.NodeID, t ring.Token) {
	r := n.ring.Load()
	if r == nil {
		return
	}
	n.handoff.mu.Lock()
	defer n.handoff.mu.Unlock()
	n.handoff.lost++
	n.handoff.marked[r.PartitionOf(t)] = true
}

// missed marks a partition of which this node has refused an object: it may be behind.
func (n *Node) missed(p ring.Partition) {
	n.handoff.mu.Lock()
	defer n.handoff.mu.Unlock()
	n.handoff.marked[p] = true
}

// TakeMarked returns, once each, the partitions that a replica may be behind in
// though no hint says so: comparing replicas has to find it.
func (n *Node) TakeMarked() (list []ring.Partition) {
	n.handoff.mu.Lock()
	defer n.handoff.mu.Unlock()
	for p := range n.handoff.marked {
		list = append(list, p)
	}
	clear(n.handoff.marked)
	return list
}

// markShared marks the partitions this node shares with one whose connection
// broke: what was on its way may not have arrived.
func (n *Node) markShared(id ring.NodeID) {
	r := n.ring.Load()
	if r == nil {
		return
	}
	n.handoff.mu.Lock()
	defer n.handoff.mu.Unlock()
	for p := range ring.Partition(r.Q) {
		if r.Holds(p, id) && r.Holds(p, n.id.Node) {
			n.handoff.marked[p] = true
		}
	}
}

// wakeHandoff has hints looked at now.
func (n *Node) wakeHandoff() {
	select {
	case n.handoff.news <- struct{}{}:
	default:
	}
}

// keepHints starts passes, until the node ends.
func (n *Node) keepHints() {
	select {
	case <-n.handoff.counted:
	case <-n.ctx.Done():
		return
	}
	every := time.NewTicker(handoffEvery)
	defer every.Stop()
	var passes sync.WaitGroup
	defer passes.Wait()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-every.C:
		case <-n.handoff.news:
		}
		n.tellLost()
		for _, id := range n.hints.Doubtful() {
			n.recount(id)
		}
		for _, id := range n.hints.Targets() {
			if n.begins(id) {
				passes.Go(func() { n.pass(id) })
			}
		}
	}
}

// tellLost says in the log that hints were dropped.
func (n *Node) tellLost() {
	n.handoff.mu.Lock()
	lost, marked := n.handoff.lost, len(n.handoff.marked)
	n.handoff.lost = 0
	n.handoff.mu.Unlock()
	if lost > 0 {
		n.log.Warn().Uint64("hints", lost).Int("partitions", marked).
			Msg("hints were not kept, for their number, their age or a damaged copy: what they stood for has to be found by comparing replicas")
	}
}

// recount counts a target's hints from a snapshot.
func (n *Node) recount(id ring.NodeID) {
	var s *storage.Snapshot
	n.replica.Exclusively(func() {
		s = n.db.NewSnapshot()
		n.hints.BeginCount(id)
	})
	defer s.Close()
	count, size := int64(0), int64(0)
	err := n.countHints(s, id, id, func(k, value []byte) error {
		h, err := hint.Parse(k, value)
		count++
		size += h.Size
		return err
	})
	n.hints.EndCount(id, count, size, err)
}

// begins reports whether a pass over a target's hints is to begin now, and marks
// it as begun.
func (n *Node) begins(id ring.NodeID) bool {
	r := n.ring.Load()
	if r == nil {
		return false
	}
	// Of nodes that are away only what has outlived its time is looked for; that
	// is not urgent.
	away := r.Member(id) != nil && !n.promptly(id)
	if away && !n.hintsAge(id) {
		return false
	}
	n.handoff.mu.Lock()
	defer n.handoff.mu.Unlock()
	if n.handoff.running[id] || away && time.Since(n.handoff.aged[id]) < agedEvery {
		return false
	}
	if away {
		n.handoff.aged[id] = time.Now()
	}
	n.handoff.running[id] = true
	return true
}

// hintsAge reports whether the oldest hint of a target has outlived its time.
func (n *Node) hintsAge(id ring.NodeID) bool {
	for _, s := range n.hints.Stats() {
		if s.Target == id && !s.Oldest.IsZero() {
			return n.hints.Expired(&hint.Hint{Target: id, Made: s.Oldest})
		}
	}
	return false
}

// promptly reports whether a node answers as it should.
func (n *Node) promptly(id ring.NodeID) bool {
	return id == n.id.Node || n.rpc.Connected(id) && n.tracker.State(id) == membership.Alive
}

// pass replays a target's hints.
func (n *Node) pass(id ring.NodeID) {
	defer func() {
		n.handoff.mu.Lock()
		delete(n.handoff.running, id)
		n.handoff.mu.Unlock()
		n.reach(id) // it may be level now
	}()
	apart := time.Duration(uint64(n.id.Node^id)*0x9e3779b97f4a7c15>>40) * handoffJitter >> 24
	select {
	case <-n.ctx.Done():
		return
	case <-time.After(apart):
	}
	began := time.Now()
	ended, err := hint.NewReplayer(n.hints, hintHost{n}, id).Pass(n.ctx)
	n.handoff.mu.Lock()
	n.handoff.stuck[id] = ended == 0 && n.promptly(id) // else it has died meanwhile
	n.handoff.mu.Unlock()
	if ended > 0 {
		n.log.Info().Str("node", n.nameOf(id)).Int("keys", ended).Dur("took", time.Since(began)).Msg("a node got what it had missed")
	}
	if err != nil && n.ctx.Err() == nil && n.firstOf(id) {
		n.log.Warn().Str("node", n.nameOf(id)).Err(err).Msg("not all that a node missed could be brought to it")
	}
}

// firstOf reports whether a failure to bring a node what it missed is to be told of
// again: passes are repeated every second.
func (n *Node) firstOf(id ring.NodeID) bool {
	n.handoff.mu.Lock()
	defer n.handoff.mu.Unlock()
	if time.Since(n.handoff.told[id]) < agedEvery {
		return false
	}
	n.handoff.told[id] = time.Now()
	return true
}

// hintHost is the node as a Replayer sees it.
type hintHost struct{ n *Node }

// Read implements hint.Host. A damaged copy of the node's own is refilled by the other replicas, and so is what the
// engine finds damaged given up (giveUpForeign); what nobody would mend is a record of another's key that does not decode.
func (h hintHost) Read(of *hint.Hint) ([]byte, error) {
	object, err := h.n.replica.Load(of.Key)
	if r := h.n.ring.Load(); errors.Is(err, version.ErrCorrupt) && r != nil && !r.Holds(r.PartitionOf(of.Key.Token), h.n.id.Node) {
		return nil, fmt.Errorf("%w: %w", hint.ErrLost, err)
	}
	return object, err
}

// Holder implements hint.Host.
func (h hintHost) Holder(of *hint.Hint) (to ring.NodeID, gone, ok bool) {
	n, r := h.n, h.n.ring.Load()
	if r == nil {
		return 0, false, false
	}
	p := r.PartitionOf(of.Key.Token)
	if transfer.Concerns(r, p, of.Target) && (n.promptly(of.Target) || !n.hints.Expired(of)) {
		return of.Target, false, n.promptly(of.Target)
	}
	if r.Holds(p, n.id.Node) {
		return 0, true, true
	}
	for _, id := range r.Replicas(p) {
		if id != of.Target && n.promptly(id) {
			return id, true, true
		}
	}
	return 0, true, false
}

// Send implements hint.Host.
func (h hintHost) Send(ctx context.Context, to ring.NodeID, batch []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, handoffWithin)
	defer cancel()
	return h.n.call(ctx, to, methodHandoff, batch)
}

// serveHandoff merges what this node missed. The answer says what it holds once
// the log has it, and how much more it takes.
func (n *Node) serveHandoff(body []byte) ([]byte, error) {
	r := n.ring.Load()
	if r == nil {
		return nil, coordinator.ErrNotReady
	}
	items, err := hint.DecodeBatch(body)
	if err != nil {
		return nil, err
	}
	a := hint.Answer{Held: make([]bool, len(items))}
	var merged sync.WaitGroup
	for i, it := range items {
		if !transfer.Concerns(r, r.PartitionOf(it.Key.Token), n.id.Node) {
			continue
		}
		merged.Add(1)
		n.coord.Merge(it.Key, it.Object, func(err error) {
			a.Held[i] = err == nil
			merged.Done()
		})
	}
	merged.Wait()
	if err := n.turns.commit(); err != nil {
		return nil, err
	}
	a.Grant = n.handoff.grants.Grant(time.Now(), n.load.now(), len(items))
	return a.Append(nil), nil
}

// endAttempts bounds how often the end of a hint is tried that needs the disk.
const endAttempts = 3

// End implements hint.Host.
func (h hintHost) End(done []hint.Done) (ended int, err error) {
	n := h.n
	tasks := make([]endTask, len(done))
	var all sync.WaitGroup
	for i := range tasks {
		tasks[i] = endTask{n: n, done: &done[i], over: &all}
	}
	for range endAttempts {
		again := false
		for i := range tasks {
			if t := &tasks[i]; !t.ended && !t.stays {
				all.Add(1)
				n.replica.Do(t)
			}
		}
		all.Wait()
		for i := range tasks {
			t := &tasks[i]
			if errors.Is(t.err, errCold) {
				again = true
				t.warm()
			}
		}
		if !again {
			break
		}
	}
	n.EndTurn()
	for i := range tasks {
		if tasks[i].ended {
			ended++
		}
		err = errors.Join(err, tasks[i].err)
	}
	return ended, err
}

// errCold says that the end of a hint needs to know what only the disk knows.
var errCold = errors.New("a hint is not in memory")

// endTask ends a hint, if what its target got is still what is stored.
type endTask struct {
	n      *Node
	done   *hint.Done
	over   *sync.WaitGroup
	counts bool // the store was told of it
	ended  bool
	stays  bool // it was written since
	err    error
}

// Key implements replica.Task.
func (t *endTask) Key() replica.Key { return t.done.Key }

// Keep implements replica.Task: it has borrowed nothing.
func (t *endTask) Keep() {}

// Mends implements replica.Mender: the hint of a damaged copy ends without it.
func (t *endTask) Mends(err error) bool { return t.done.Lost && isDamage(err) }

// Apply implements replica.Task. The last hint of a key takes a copy with it that
// is none of this node's own.
func (t *endTask) Apply(s *replica.Scratch) ([]byte, error) {
	r := t.n.ring.Load() // as it is now: the node may be about to become a replica
	foreign := !transfer.Concerns(r, r.PartitionOf(t.done.Key.Token), t.n.id.Node)
	// A key that is written all the time is never what was sent. What came since
	// without being missed by the target is no business of this hint.
	// Nor can a damaged copy be what was sent; one that can be read is damaged no more.
	if !bytes.Equal(s.Record(), t.done.Object) && (t.done.Lost || foreign || t.n.hints.Adds(t.done.Target) != t.done.Adds) {
		t.stays = true
		return nil, nil
	}
	if foreign {
		for _, id := range t.n.hints.Targets() {
			if id == t.done.Target {
				continue
			}
			found, ready, err := t.n.hints.Has(id, t.done.Key)
			switch {
			case err != nil:
				return nil, err
			case !ready:
				return nil, errCold
			case found:
				foreign = false
			}
		}
	}
	if s.Remove = foreign && (s.Found || t.done.Lost); s.Remove {
		t.n.coord.Dropped(r.PartitionOf(t.done.Key.Token))
	}
	s.Beside = t.n.hints.End(s.Beside, &t.done.Hint, !t.done.Gone)
	t.counts = true
	return nil, nil
}

// Done implements replica.Task.
func (t *endTask) Done(err error) {
	if err != nil && t.counts {
		t.n.hints.Undo(t.done.Target)
	}
	t.err, t.ended = err, err == nil && t.counts
	t.over.Done()
}

// warm reads what Apply did not find in memory.
func (t *endTask) warm() {
	for _, id := range t.n.hints.Targets() {
		// What cannot be read is found out by the next attempt.
		_, _, _ = t.n.db.Get(nil, hint.AppendKey(nil, id, t.done.Key))
	}
}
