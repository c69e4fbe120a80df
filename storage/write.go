package storage

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"kvstore/storage/entry"
	"kvstore/storage/manifest"
	"kvstore/storage/sum"
	"kvstore/storage/wal"
)

// LSN is a position in the log: the count of operations appended up to and with one of them.
type LSN uint64

// segment is a record of the log before it is written.
type segment struct {
	log *wal.Writer
	// record has room for its header in front and the operations from first to last behind.
	record      []byte
	first, last uint64
}

// segmentSize is how large the pending record may grow before the next operation begins another one: far below the
// format's limit, so that one batch of the largest size still fits behind.
const segmentSize = 64 << 20

// Set makes key have the value. It is visible at once and survives the loss of the process after the next Commit.
func (d *DB) Set(key, value []byte) (LSN, error) {
	return d.write(wal.OpSet, entry.KindSet, key, value, 0)
}

// Delete makes key absent. Deleting an absent key is no error.
func (d *DB) Delete(key []byte) (LSN, error) {
	return d.write(wal.OpDelete, entry.KindDelete, key, nil, 0)
}

// SetSum is Set of a user's key that changes the sum of the key's leaf by delta.
func (d *DB) SetSum(key, value []byte, delta uint64) (LSN, error) {
	return d.write(wal.OpSet, entry.KindSet, key, value, delta)
}

// DeleteSum is Delete of a user's key that changes the sum of the key's leaf by delta.
func (d *DB) DeleteSum(key []byte, delta uint64) (LSN, error) {
	return d.write(wal.OpDelete, entry.KindDelete, key, nil, delta)
}

func (d *DB) write(op wal.OpKind, kind entry.Kind, key, value []byte, delta uint64) (LSN, error) {
	if len(key) > MaxKeySize || len(value) > MaxValueSize {
		return 0, checkSize(key, value)
	}
	leaf := uint32(0)
	if delta != 0 {
		leaf = leafOf(key)
	}
	d.mu.Lock()
	if err := d.makeRoom(len(key)+len(value), op == wal.OpDelete); err != nil {
		d.mu.Unlock()
		return 0, err
	}
	seq := d.seq + 1
	if delta == 0 {
		d.pending.record = wal.AppendOp(d.pending.record, op, key, value)
	} else {
		d.pending.record = wal.AppendSumOp(d.pending.record, op, key, value, delta)
		d.active.sums.note(leaf, delta)
	}
	d.active.table.Set(key, seq, kind, value)
	d.advance(seq)
	d.mu.Unlock()
	return LSN(seq), nil
}

// Apply makes the batch's operations visible, to snapshots and iterators all at once, and recovers them all or none.
// The batch can be used again.
func (d *DB) Apply(b *Batch) (LSN, error) {
	if b.err != nil {
		return 0, fmt.Errorf("apply batch: %w", b.err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.count == 0 {
		return LSN(d.seq), nil
	}
	if err := d.makeRoom(len(b.ops), b.Urgent || b.count == b.ranges); err != nil {
		return 0, err
	}
	d.pending.record = append(d.pending.record, b.ops...)
	seq, err := d.insert(d.active, d.seq, b.ops)
	if err != nil {
		panic(err) // The batch encoded it itself.
	}
	d.advance(seq)
	return LSN(seq), nil
}

// DropRange deletes the keys from lo up to and without hi. Its cost does not depend on how many there are; their room
// comes free in the background, at once where it is worth a flush of the memtable.
func (d *DB) DropRange(lo, hi []byte) error {
	var b Batch
	b.DeleteRange(lo, hi)
	if _, err := d.Apply(&b); err != nil {
		return err
	}
	d.freeDropped(lo, hi)
	return nil
}

// insert puts a run of operations into m with the sequence numbers after seq, and returns the last one. Range deletions
// go into a new state, which is published before the numbers are visible. The caller holds mu, and advances.
func (d *DB) insert(m *memory, seq uint64, ops []byte) (uint64, error) {
	s := d.state.Load()
	ranges := s.ranges
	for len(ops) > 0 {
		op, rest, ok := wal.NextOp(ops)
		if !ok {
			return 0, fmt.Errorf("operation %d does not decode", seq+1)
		}
		ops = rest
		seq++
		switch op.Kind {
		case wal.OpSet:
			m.table.Set(op.Key, seq, entry.KindSet, op.Value)
		case wal.OpDelete:
			m.table.Set(op.Key, seq, entry.KindDelete, nil)
		case wal.OpSetSum, wal.OpDeleteSum:
			leaf, ok := sum.Leaf(op.Key)
			if !ok {
				return 0, fmt.Errorf("operation %d changes the sum of a key that has no leaf", seq)
			}
			m.sums.note(leaf, op.Delta)
			if op.Kind == wal.OpSetSum {
				m.table.Set(op.Key, seq, entry.KindSet, op.Value)
			} else {
				m.table.Set(op.Key, seq, entry.KindDelete, nil)
			}
		case wal.OpDeleteRange:
			if bytes.Compare(op.Key, op.Value) >= 0 {
				return 0, fmt.Errorf("operation %d deletes an empty range", seq)
			}
			ranges = ranges.with(manifest.Range{Seq: seq, Lo: bytes.Clone(op.Key), Hi: bytes.Clone(op.Value)})
			d.sums.drop(m.sums, op.Key, op.Value)
		}
	}
	if ranges != s.ranges {
		d.publish(s.active, s.immutable, s.version, ranges)
	}
	return seq, nil
}

// advance makes the operations up to seq the log's and the readers'. The caller holds mu.
func (d *DB) advance(seq uint64) {
	if d.pending.first == 0 {
		d.pending.first = d.seq + 1
	}
	d.pending.last = seq
	d.active.last = seq
	d.seq = seq
	d.visible.Store(seq)
}

// makeRoom returns when an operation of about size bytes may be written: there is room in the active memtable, or a new
// one took its place. An urgent one may use the reserve of a full disk. The caller holds mu, which is given up while a writer
// has to wait for flushes.
func (d *DB) makeRoom(size int, urgent bool) error {
	if d.backpressure.on && d.refused == nil {
		d.slowDown(size)
	}
	if d.refused == nil && len(d.pending.record) < segmentSize && d.active.table.Bytes()+int64(size) <= d.options.MemtableSize {
		return nil
	}
	var since time.Time
	for {
		switch {
		case d.refused != nil && !(urgent && d.reserve.spending.Load()):
			return d.refused
		case d.active.last == 0 || d.active.table.Bytes()+int64(size) <= d.options.MemtableSize:
			if len(d.pending.record) >= segmentSize {
				d.sealPending()
			}
			if !since.IsZero() {
				d.metrics.stalled(time.Since(since))
			}
			return nil
		case len(d.next) > 0 && len(d.state.Load().immutable) < d.options.MaxImmutable:
			d.rotate()
			continue
		case d.refused != nil:
			return d.refused // nothing is flushed while the disk is full
		}
		if since.IsZero() {
			since = time.Now()
			d.metrics.stalls.Add(1)
		}
		d.room.Wait()
	}
}

// rotate makes the active memtable immutable and puts the one prepared ahead, with its log, in its place. Nothing of it
// touches the disk. The caller holds mu.
func (d *DB) rotate() {
	d.sealPending()
	s := d.state.Load()
	immutable := append([]*memory{s.active}, s.immutable...)
	next := d.next[0]
	d.next = slices.Delete(d.next, 0, 1)
	d.active = &memory{table: next.table, log: next.log.Number(), sums: d.sums.newLayer()}
	d.pending.log = next.log
	d.publish(d.active, immutable, s.version, s.ranges)
	d.flusher.kick()
	d.preparer.kick()
}

// sealPending closes the pending record, if it holds anything, and begins another. The caller holds mu.
func (d *DB) sealPending() {
	if d.pending.first == 0 {
		return
	}
	d.sealed = append(d.sealed, d.pending)
	d.pending = segment{log: d.pending.log, record: wal.Begin(nil)}
}
