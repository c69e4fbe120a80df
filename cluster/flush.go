package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/storage/key"
)

// spaceFlushed is the space of the system keys that hold, for each database (1
// byte), the timestamp up to which it was flushed (8 bytes, big endian).
const spaceFlushed = 0x42

// FlushDB deletes every key of a database, of all databases when db is negative.
// It needs every member: a node that missed it would bring the keys back until it
// catches up (see catchUpFlushes).
func (n *Node) FlushDB(ctx context.Context, db int) error {
	at, err := n.clock.Now()
	if err != nil {
		return err
	}
	first, last := db, db
	if db < 0 {
		first, last = 0, replica.Databases-1
	}
	body := binary.BigEndian.AppendUint64([]byte{byte(first), byte(last)}, uint64(at))
	for {
		r := n.ring.Load()
		if r == nil {
			return coordinator.ErrNotReady
		}
		newest, from, err := n.flushMembers(ctx, r, body)
		if err != nil || newest <= coordinator.EpochOf(r) {
			return err
		}
		// Somebody may have joined, and taken keys from a member before that flushed.
		if _, err := n.awaitEpoch(ctx, from, newest); err != nil {
			return fmt.Errorf("%w: a newer ring is not here yet: %w", coordinator.ErrTimeout, err)
		}
	}
}

// flushMembers empties databases at every member of a ring. It returns the newest epoch
// by which one of them did, and which.
func (n *Node) flushMembers(ctx context.Context, r *ring.Ring, body []byte) (newest ring.Epoch, from ring.NodeID, err error) {
	for i := range r.Members {
		if m := &r.Members[i]; m.State != ring.Removed && m.ID != n.id.Node && !n.rpc.Connected(m.ID) {
			return 0, 0, fmt.Errorf("%w: a flush needs every node, and %s cannot be reached", coordinator.ErrNoQuorum, m.Name)
		}
	}
	errs, epochs := make([]error, len(r.Members)), make([]ring.Epoch, len(r.Members))
	var wg sync.WaitGroup
	for i := range r.Members {
		if r.Members[i].State == ring.Removed {
			continue // it comes back empty, or not at all
		}
		wg.Go(func() {
			if id := r.Members[i].ID; id == n.id.Node {
				errs[i] = n.serveFlush(body)
			} else {
				epochs[i], errs[i] = n.flushAt(ctx, id, body)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, 0, fmt.Errorf("%w: %w", coordinator.ErrTimeout, err)
	}
	for i, e := range epochs {
		if e > newest {
			newest, from = e, r.Members[i].ID
		}
	}
	return newest, from, nil
}

// flushAt empties databases at another node, and returns the epoch of its ring then (see
// coordinator.EpochOf): 8 bytes, big endian.
func (n *Node) flushAt(ctx context.Context, id ring.NodeID, body []byte) (ring.Epoch, error) {
	answer, err := n.call(ctx, id, methodFlush, body)
	if err == nil && len(answer) != 8 {
		err = errShort
	}
	if err != nil {
		return 0, err
	}
	return ring.Epoch(binary.BigEndian.Uint64(answer)), nil
}

// serveFlush empties databases at this node. The body is the first and the last
// database, 1 byte each, and the timestamp.
func (n *Node) serveFlush(body []byte) error {
	if len(body) != 10 || body[0] > body[1] || body[1] >= replica.Databases {
		return errShort
	}
	at := hlc.Timestamp(binary.BigEndian.Uint64(body[2:]))
	// Two flushes at once must not leave the earlier horizon on disk.
	n.flushMu.Lock()
	defer n.flushMu.Unlock()
	for db := body[0]; db <= body[1]; db++ {
		if n.replica.Horizon(db) >= at {
			continue
		}
		if _, err := n.db.Set(key.AppendSystem(nil, spaceFlushed, []byte{db}), body[2:]); err != nil {
			return storeError(err)
		}
	}
	if err := n.turns.commit(); err != nil {
		return err
	}
	for db := body[0]; db <= body[1]; db++ {
		n.replica.Flush(db, at)
	}
	n.startPurge()
	return nil
}

// serveFlushed tells up to when this node has flushed what: for each database
// that ever was, the database (1 byte) and the timestamp (8 bytes, big endian).
func (n *Node) serveFlushed() (out []byte) {
	for db := range uint8(replica.Databases) {
		if at := n.replica.Horizon(db); at != 0 {
			out = binary.BigEndian.AppendUint64(append(out, db), uint64(at))
		}
	}
	return out
}

// catchUpAgain is the time between attempts to hear what another node flushed.
const catchUpAgain = time.Second

// catchUpFlushes asks, in the background, a node that has just been connected what
// it flushed. A flush is sent to all members only while all are there, but one of
// them may have died before it came; the keys would return from that one.
func (n *Node) catchUpFlushes(id ring.NodeID) {
	n.calls.mu.Lock()
	defer n.calls.mu.Unlock()
	if n.calls.closed {
		return
	}
	n.wg.Go(func() {
		for n.rpc.Connected(id) {
			err := n.takeFlushed(id)
			if err == nil || n.ctx.Err() != nil {
				return
			}
			n.log.Warn().Err(err).Msg("not known yet what another node flushed")
			select {
			case <-n.ctx.Done():
			case <-time.After(catchUpAgain):
			}
		}
	})
}

// takeFlushed flushes what another node has flushed later than this one.
func (n *Node) takeFlushed(id ring.NodeID) error {
	ctx, cancel := context.WithTimeout(n.ctx, joinWithin)
	defer cancel()
	answer, err := n.call(ctx, id, methodFlushed, nil)
	if err != nil {
		return err
	}
	for ; len(answer) > 0; answer = answer[9:] {
		if len(answer) < 9 || answer[0] >= replica.Databases {
			return errShort
		}
		db, at := answer[0], answer[1:9]
		horizon := hlc.Timestamp(binary.BigEndian.Uint64(at))
		if horizon <= n.replica.Horizon(db) {
			continue
		}
		// What is written here from now on is later than the flush.
		if err := n.clock.Observe(horizon); err != nil {
			return err
		}
		if err := n.serveFlush(append([]byte{db, db}, at...)); err != nil {
			return err
		}
		n.log.Info().Uint8("db", db).Str("node", n.nameOf(id)).Msg("a flush that this node missed was caught up")
	}
	return nil
}

// loadHorizons reads what was flushed before the node started.
func (n *Node) loadHorizons() error {
	for db := range uint8(replica.Databases) {
		b, found, err := n.db.Get(nil, key.AppendSystem(nil, spaceFlushed, []byte{db}))
		if err != nil {
			return err
		}
		if found && len(b) == 8 {
			n.replica.Flush(db, hlc.Timestamp(binary.BigEndian.Uint64(b)))
		}
	}
	return nil
}

// startPurge removes flushed records in the background, once at a time: a purge
// that meets a later flush removes what that covers too, as far as it still gets
// there, and the rest costs only space until the next one.
func (n *Node) startPurge() {
	if !n.purging.CompareAndSwap(false, true) {
		return
	}
	n.calls.mu.Lock()
	defer n.calls.mu.Unlock()
	if n.calls.closed {
		return
	}
	n.wg.Go(func() {
		defer n.purging.Store(false)
		removed, err := n.replica.Purge(func() bool { return n.ctx.Err() != nil })
		if err != nil {
			n.log.Error().Err(err).Msg("flushed keys cannot be removed")
			return
		}
		n.log.Info().Int("records", removed).Msg("flushed keys are removed")
	})
}
