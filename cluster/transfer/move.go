package transfer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kvstore/cluster/ring"
)

// move is this node's work on one step of one transfer.
type move struct {
	cancel func()
	// The rest is guarded by the driver's mu.
	ready       bool
	began       time.Time // the work; zero while it waits for its turn
	size        Size      // of what is to be moved
	keys, bytes int64
	fails       int
	reason      string // of the last failure
}

// ready reports whether the work of a transfer's step is done.
func (d *Driver) ready(t task) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.moves[t]
	return m != nil && m.ready
}

// follow begins the work that a decision asks for, and ends what it does not.
func (d *Driver) follow(r *ring.Ring, what *decision) {
	stays := make(map[task]bool, len(what.work))
	for _, t := range what.work {
		stays[t] = true
	}
	for _, t := range r.Transfers { // done, and its step still to be asked for
		if done := (task{t, kindOf(r, t)}); d.ready(done) {
			stays[done] = true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	copied := 0
	for t, m := range d.moves {
		if stays[t] {
			continue
		}
		m.cancel()
		delete(d.moves, t)
		if m.ready && t.Step == ring.Copying {
			copied++
		}
	}
	d.ended(copied)
	for _, t := range what.work {
		if d.moves[t] != nil || d.ctx.Err() != nil {
			continue
		}
		ctx, cancel := context.WithCancel(d.ctx)
		m := &move{cancel: cancel}
		d.moves[t] = m
		d.wg.Go(func() {
			defer cancel()
			d.carry(ctx, t, m)
		})
	}
}

// ended counts transfers that went on, and adapts the window. The caller holds mu.
func (d *Driver) ended(copied int) {
	if copied == 0 {
		return
	}
	d.Metrics.Copied.Add(uint64(copied))
	for other := range d.moves {
		if other.Step == ring.Copying {
			return // the batch is not over
		}
	}
	if time.Since(d.began) <= quick {
		d.window = min(2*d.window, maxWindow)
	} else {
		d.window = max(d.window/2, d.o.Moves)
	}
}

// stopAll ends all work.
func (d *Driver) stopAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.moves {
		m.cancel()
	}
}

// carry does the work of a step, again and again until it is done.
func (d *Driver) carry(ctx context.Context, t task, m *move) {
	for {
		select {
		case <-ctx.Done():
			return
		case d.slots <- struct{}{}:
		}
		if ctx.Err() != nil { // both were ready
			<-d.slots
			return
		}
		d.mu.Lock()
		if m.began.IsZero() {
			m.began = time.Now()
		}
		d.mu.Unlock()
		err := d.work(ctx, t, m)
		<-d.slots
		if ctx.Err() != nil {
			return
		}
		d.mu.Lock()
		if m.ready, m.reason = err == nil, ""; err != nil {
			m.fails++
			m.reason = err.Error()
		}
		fails := m.fails
		d.mu.Unlock()
		if err == nil {
			d.Wake()
			return
		}
		d.Metrics.Failures.Add(1)
		if fails == 4 || fails%64 == 0 {
			d.o.Logger.Warn().Err(err).Uint16("partition", uint16(t.Partition)).Msg("a transfer does not get on")
		}
		if !sleep(ctx, d.pause(fails)) {
			return
		}
	}
}

// work does what a step needs once.
func (d *Driver) work(ctx context.Context, t task, m *move) error {
	r := d.o.Ring()
	moved := func(keys int, bytes int64) {
		d.Metrics.Keys.Add(uint64(keys))
		d.Metrics.Bytes.Add(uint64(bytes))
		d.mu.Lock()
		defer d.mu.Unlock()
		m.keys += int64(keys)
		m.bytes += bytes
	}
	if t.Step == ring.Switched {
		return d.settle(ctx, r, t, moved)
	}
	switch t.kind {
	case exchange:
		if err := d.barrier(ctx, r, t.From, t.Partition, m); err != nil {
			return err
		}
		return d.o.Copies.Enter(ctx, t.Partition, []ring.NodeID{t.From}, 1, moved)
	case addition:
		list := living(r, t.Partition)
		for _, id := range list {
			if err := d.barrier(ctx, r, id, t.Partition, m); err != nil {
				return err
			}
		}
		return d.o.Copies.Enter(ctx, t.Partition, list, 0, moved)
	case removal:
		if err := d.barrier(ctx, r, d.o.Self, t.Partition, m); err != nil {
			return err
		}
		return d.give(ctx, r, t.Partition, moved)
	default:
		for _, id := range r.Replicas(t.Partition) {
			if d.o.Peers.Reachable(id) || id == d.o.Self {
				if err := d.barrier(ctx, r, id, t.Partition, m); err != nil {
					return err
				}
			}
		}
		if err := d.o.Copies.Fill(ctx, t.Partition, moved); err != nil {
			return err
		}
		d.o.Copies.Serve(t.Partition)
		return nil
	}
}

// living returns the replicas of a partition that were not declared dead.
func living(r *ring.Ring, p ring.Partition) []ring.NodeID {
	return slices.DeleteFunc(slices.Clone(r.Replicas(p)), func(id ring.NodeID) bool { return isDead(r, id) })
}

// barrier waits until a node goes by r, and notes how much it holds.
func (d *Driver) barrier(ctx context.Context, r *ring.Ring, id ring.NodeID, p ring.Partition, m *move) error {
	size, err := d.o.Peers.Barrier(ctx, id, r, p)
	if err != nil {
		return fmt.Errorf("node %s has yet to take over the ring: %w", d.o.Peers.Name(id), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if size.Keys > m.size.Keys {
		m.size = size
	}
	return nil
}

// settle waits until nobody reads From by an older ring, and takes what came to it
// alone until then: a reader may have met that at From, and must meet it at To. What a
// node that is away does with an older ring it finds out from those it asks: of them
// From is the one that could answer without knowing.
func (d *Driver) settle(ctx context.Context, r *ring.Ring, t task, moved func(int, int64)) error {
	if t.kind == exchange {
		if _, err := d.o.Peers.Barrier(ctx, t.From, r, t.Partition); err != nil {
			return fmt.Errorf("node %s has yet to take over the ring: %w", d.o.Peers.Name(t.From), err)
		}
		if err := d.o.Copies.Enter(ctx, t.Partition, []ring.NodeID{t.From}, 1, moved); err != nil {
			return err
		}
	}
	d.o.Copies.Serve(t.Partition)
	for _, id := range r.Replicas(t.Partition) {
		if !d.o.Peers.Reachable(id) {
			continue
		}
		if _, err := d.o.Peers.Barrier(ctx, id, r, t.Partition); err != nil && d.o.Peers.Reachable(id) {
			return fmt.Errorf("node %s has yet to take over the ring: %w", d.o.Peers.Name(id), err)
		}
	}
	return nil
}

// give has every other replica of a partition take what this node holds.
func (d *Driver) give(ctx context.Context, r *ring.Ring, p ring.Partition, moved func(int, int64)) error {
	for _, id := range living(r, p) {
		if id == d.o.Self {
			continue
		}
		if !d.o.Peers.Reachable(id) {
			return fmt.Errorf("node %s cannot be reached", d.o.Peers.Name(id))
		}
		if err := d.o.Copies.Give(ctx, p, id, moved); err != nil {
			return fmt.Errorf("give node %s what it lacks: %w", d.o.Peers.Name(id), err)
		}
	}
	return nil
}
