package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage"
	"kvstore/storage/key"
)

// noteDamage is told by the engine that records were lost. What was lost of user keys is refilled from other replicas;
// what the node itself keeps in system keys nobody else has.
func (n *Node) noteDamage(storage.Damage) {
	select {
	case n.damage <- struct{}{}:
	default: // it will be looked for anyway
	}
}

// keepSystem gives up what is lost of system keys, and of keys that are none of this node's, whenever damage was found.
func (n *Node) keepSystem() {
	n.noteDamage(storage.Damage{}) // what was found before the ring was known
	for {
		select {
		case <-n.damage:
			n.entropy.Damaged()
			if err := n.giveUpSystem(); err != nil {
				n.log.Error().Err(err).Msg("what was lost of the node's own records cannot be given up yet")
			}
			if err := n.giveUpForeign(); err != nil {
				n.log.Error().Err(err).Msg("what was lost of other nodes' records cannot be given up yet")
			}
		case <-n.ctx.Done():
			return
		}
	}
}

// giveUpSystem takes what is left of the system keys for all there is: an older record, or none, serves the node better
// than an error without end. What it keeps in memory too is written again. The other replicas' rounds of anti-entropy
// make up for the rest: hints that were lost, above all.
func (n *Node) giveUpSystem() error {
	first := []byte{key.FirstSpace}
	var errs []error
	for _, r := range n.db.Lost() {
		lo := r.Lo
		if bytes.Compare(lo, first) < 0 {
			lo = first
		}
		if bytes.Compare(lo, r.Hi) >= 0 {
			continue
		}
		n.log.Warn().Hex("from", lo).Hex("to", r.Hi).Msg("records of the node's own were lost to damage: hints may be among them, which anti-entropy makes up for")
		errs = append(errs, n.db.Refilled(lo, r.Hi))
	}
	if len(errs) > 0 && n.replica != nil {
		errs = append(errs, n.saveHorizons())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("give up lost system records: %w", storeError(err))
	}
	return nil
}

// giveUpForeign gives up what was lost of partitions that this node holds no replica of: copies that it kept for others.
// Nobody fills them here. The replicas are compared instead.
func (n *Node) giveUpForeign() error {
	r := n.ring.Load()
	if r == nil {
		return nil
	}
	var errs []error
	for _, lost := range n.db.Lost() {
		for p := range ring.Partition(r.Q) {
			if r.Holds(p, n.id.Node) {
				continue
			}
			first, end := r.TokenRange(p)
			lo, hi := key.AppendToken(nil, uint64(first)), key.AppendToken(nil, uint64(end))
			if bytes.Compare(lo, lost.Lo) < 0 {
				lo = lost.Lo
			}
			if bytes.Compare(hi, lost.Hi) > 0 {
				hi = lost.Hi
			}
			if bytes.Compare(lo, hi) < 0 {
				n.coord.Dropped(p)
				errs = append(errs, n.db.Refilled(lo, hi))
				n.MarkPartition(p)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return storeError(err)
	}
	return nil
}

const (
	// mendSystemWithin bounds how long a start waits for damaged tables to be mended.
	mendSystemWithin = time.Minute
	// mendSystemRounds is how often one table after the other may be found damaged.
	mendSystemRounds = 1000
)

// mendSystem reads the node's own records once, before anybody relies on them: where that meets damage, it waits until the
// table is mended and gives up what is lost, so that the node starts.
func (n *Node) mendSystem() error {
	ctx, cancel := context.WithTimeout(n.ctx, mendSystemWithin)
	defer cancel()
	for range mendSystemRounds {
		err := n.giveUpSystem()
		if err == nil {
			err = store{n.db}.Scan([]byte{key.FirstSpace}, nil, func([]byte, []byte) bool { return true })
		}
		if !errors.Is(err, coordinator.ErrCorrupt) {
			return err
		}
		if err := n.db.AwaitMended(ctx); err != nil {
			return fmt.Errorf("mend the node's own records: %w", err)
		}
	}
	return fmt.Errorf("%w: the node's own records cannot be mended", coordinator.ErrCorrupt)
}

// saveHorizons writes again up to when databases were flushed.
func (n *Node) saveHorizons() error {
	n.flushMu.Lock()
	defer n.flushMu.Unlock()
	for db := range uint8(replica.Databases) {
		if at := n.replica.Horizon(db); at != 0 {
			if _, err := n.db.Set(key.AppendSystem(nil, spaceFlushed, []byte{db}), binary.BigEndian.AppendUint64(nil, uint64(at))); err != nil {
				return err
			}
		}
	}
	return n.db.Commit()
}

// isDamage reports whether an error of the store, or of decoding what it holds, says that a record is damaged or lost.
func isDamage(err error) bool {
	return errors.Is(err, coordinator.ErrCorrupt) || errors.Is(err, version.ErrCorrupt)
}

// Healthy returns nil, or why the process has to be started again: the disk failed to keep what was written, and what
// it holds cannot be known before the log has been read again.
func (n *Node) Healthy() error {
	if err := n.db.WriteError(); errors.Is(err, storage.ErrReadOnly) {
		return err
	}
	return nil
}
