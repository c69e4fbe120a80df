package storage

import (
	"bytes"
	"fmt"

	"kvstore/storage/wal"
)

// Batch collects operations that Apply makes visible, and recovers, all or none. The zero Batch is empty and ready. A
// Batch is for one goroutine at a time and can be reused after Reset.
type Batch struct {
	// ops is the run of operations as the log holds them.
	ops   []byte
	count int
	// ranges counts the range deletions among them, which need a new read state.
	ranges int
	err    error
	// Urgent has the batch taken on a full disk too, as long as the reserve lasts (Options.Reserve); see DB.SetUrgent.
	Urgent bool
}

// Set adds that key has the value. Both are copied.
func (b *Batch) Set(key, value []byte) { b.add(wal.OpSet, key, value, 0) }

// Delete adds that key is absent.
func (b *Batch) Delete(key []byte) { b.add(wal.OpDelete, key, nil, 0) }

// SetSum is Set of a user's key that changes the sum of the key's leaf by delta.
func (b *Batch) SetSum(key, value []byte, delta uint64) { b.add(wal.OpSet, key, value, delta) }

// DeleteSum is Delete of a user's key that changes the sum of the key's leaf by delta.
func (b *Batch) DeleteSum(key []byte, delta uint64) { b.add(wal.OpDelete, key, nil, delta) }

// DeleteRange adds that the keys from lo up to and without hi are absent. An empty range adds nothing.
func (b *Batch) DeleteRange(lo, hi []byte) {
	if bytes.Compare(lo, hi) >= 0 {
		return
	}
	b.add(wal.OpDeleteRange, lo, hi, 0)
	b.ranges++
}

// Len returns the number of operations.
func (b *Batch) Len() int { return b.count }

// Size returns the bytes of the operations as the log holds them.
func (b *Batch) Size() int { return len(b.ops) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { *b = Batch{ops: b.ops[:0]} }

// add appends an operation; one that is over a limit makes Apply fail instead.
func (b *Batch) add(kind wal.OpKind, key, value []byte, delta uint64) {
	err := checkSize(key, value)
	if err == nil && len(b.ops)+len(key)+len(value)+wal.OpOverhead > MaxBatchSize {
		err = fmt.Errorf("batch of more than %d bytes: %w", MaxBatchSize, ErrTooLarge)
	}
	if err != nil {
		if b.err == nil {
			b.err = err
		}
		return
	}
	if delta == 0 {
		b.ops = wal.AppendOp(b.ops, kind, key, value)
	} else {
		leafOf(key)
		b.ops = wal.AppendSumOp(b.ops, kind, key, value, delta)
	}
	b.count++
}

func checkSize(key, value []byte) error {
	if len(key) > MaxKeySize {
		return fmt.Errorf("key of %d bytes: %w", len(key), ErrTooLarge)
	}
	if len(value) > MaxValueSize {
		return fmt.Errorf("value of %d bytes: %w", len(value), ErrTooLarge)
	}
	return nil
}
