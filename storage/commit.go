package storage

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"kvstore/storage/wal"
)

// keptBuffer is the largest pending buffer that is kept for the next record: a larger one was an exception.
const keptBuffer = 4 << 20

// logTurn is what the goroutine whose turn it is to write the log owns, which is who holds the token.
type logTurn struct {
	token token
	// writers counts the commits that are about to write.
	writers atomic.Int32
	// backlog are the segments that wait to be written, in order; those a full disk did not take stay.
	backlog []segment
	// spare is the buffer of the last record, for the next one.
	spare []byte
	// open are the logs that hold what was not synced, in order, and last the one being written.
	open []*wal.Writer
}

// Commit makes everything appended so far survive the loss of the process, with one write of one record, and under
// SyncAlways the loss of power. When there is nothing to do it costs two atomic loads. Commits that run at the same
// time share the write, and the flush.
func (d *DB) Commit() error {
	target := d.visible.Load()
	if d.options.Fsync == SyncAlways {
		return d.awaitDurable(target)
	}
	if d.written.Load() >= target {
		return nil
	}
	return d.writeTo(target)
}

// Sync is Commit that also waits for the disk, where the policy is to flush it at all.
func (d *DB) Sync() error {
	if d.options.Fsync == SyncNever {
		return d.Commit()
	}
	return d.awaitDurable(d.visible.Load())
}

// awaitDurable waits until the disk holds what was appended up to target.
func (d *DB) awaitDurable(target uint64) error {
	if d.durable.Load() >= target {
		return nil
	}
	w := d.waiters.take()
	err := d.enqueue(target, w.done)
	if err == nil {
		err = <-w.result
	}
	d.waiters.give(w)
	return err
}

// CommitAsync is Commit that never waits for a flush of the disk. It returns true when everything is where Commit would
// leave it; otherwise, under SyncAlways only, done is called once, from the log's sync goroutine, when it is, and must
// not block. With an error done is never called. The callers bound how many wait.
func (d *DB) CommitAsync(done func(error)) (committed bool, err error) {
	target := d.visible.Load()
	if d.options.Fsync == SyncAlways {
		if d.durable.Load() >= target {
			return true, nil
		}
		return false, d.enqueue(target, done)
	}
	if d.written.Load() >= target {
		return true, nil
	}
	err = d.writeTo(target)
	return err == nil, err
}

// turnYields is how often a Commit that finds the log being written lets others run before it waits in line: about as
// long as a write to the kernel takes. Then the disk is what is slow, and waiting is cheaper than looking.
const turnYields = 32

// writeTo hands the log up to the sequence number target to the kernel. Where there are other commits it lets them
// append first: then one writes for all, and the others find their operations written without ever having had the
// turn, which spares each a sleep, a wake-up and a system call. A lone commit writes at once.
func (d *DB) writeTo(target uint64) error {
	t := &d.turn
	alone := t.writers.Add(1) == 1
	defer t.writers.Add(-1)
	for range turnYields {
		if !alone {
			runtime.Gosched()
			if d.written.Load() >= target {
				return nil
			}
		}
		if t.token.try() {
			return d.writeInTurn(target)
		}
		alone = false
	}
	t.token.take()
	return d.writeInTurn(target)
}

// writeInTurn is writeTo for who has the turn, and ends it.
func (d *DB) writeInTurn(target uint64) error {
	err := error(nil)
	if d.written.Load() < target {
		err = d.writeUnlessRefused()
	}
	d.turn.token.put()
	return err
}

// writeUnlessRefused is writePending for commits. While the disk is refusing writes the keeper tries it once a second;
// every commit trying too would only load it.
func (d *DB) writeUnlessRefused() error {
	d.mu.Lock()
	if err := d.refused; err != nil && !d.reserve.spending.Load() {
		d.mu.Unlock()
		return err
	}
	d.takePending()
	d.mu.Unlock()
	return d.writeBacklog()
}

// writePending writes what is pending to the log. What a failing disk did not take stays in the backlog, to be written
// first by the next call; then writes are refused, and the error is the refusal. The caller has the turn.
func (d *DB) writePending() error {
	d.mu.Lock()
	d.takePending()
	d.mu.Unlock()
	return d.writeBacklog()
}

// takePending moves what is pending to the backlog. The caller holds mu and has the turn.
func (d *DB) takePending() {
	t := &d.turn
	if len(d.sealed) > 0 {
		t.backlog = append(t.backlog, d.sealed...)
		clear(d.sealed)
		d.sealed = d.sealed[:0]
	}
	if d.pending.first != 0 {
		t.backlog = append(t.backlog, d.pending)
		d.pending = segment{log: d.pending.log, record: wal.Begin(t.spare[:0])}
		t.spare = nil
	}
}

// writeBacklog writes the backlog to the logs. The caller has the turn.
func (d *DB) writeBacklog() error {
	t := &d.turn
	done := 0
	err := error(nil)
	for ; done < len(t.backlog) && err == nil; done++ {
		if err = d.writeSegment(&t.backlog[done]); err != nil {
			break
		}
	}
	t.backlog = slices.Delete(t.backlog, 0, done)
	if err != nil {
		d.reserve.spending.Store(false)
		return d.refuse(err)
	}
	if d.hiding.Load() {
		d.hiding.Store(false)
	}
	return nil
}

func (d *DB) writeSegment(s *segment) error {
	t := &d.turn
	if last := len(t.open) - 1; last < 0 || t.open[last] != s.log {
		t.open = append(t.open, s.log)
	}
	if d.options.Fsync == SyncAlways {
		if err := s.log.Extend(len(s.record)); err != nil {
			return err
		}
	}
	d.writeDelay.begin()
	err := s.log.Write(s.record, wal.FormatOps, s.first, d.durable.Load())
	d.writeDelay.end()
	if err != nil {
		return err
	}
	d.metrics.logWrites.Add(1)
	d.metrics.logBytes.Add(int64(len(s.record)))
	d.written.Store(s.last)
	if cap(s.record) <= keptBuffer {
		t.spare = s.record
	}
	return nil
}

// waiter is a Commit that waits for the disk; it is used again so that waiting allocates nothing.
type waiter struct {
	// result gets one value from the sync goroutine; it has room for it, so done never blocks.
	result chan error
	done   func(error)
}

type waiterPool struct{ pool sync.Pool }

func (p *waiterPool) take() *waiter {
	if w, ok := p.pool.Get().(*waiter); ok {
		return w
	}
	w := &waiter{result: make(chan error, 1)}
	w.done = func(err error) { w.result <- err }
	return w
}

func (p *waiterPool) give(w *waiter) { p.pool.Put(w) }
