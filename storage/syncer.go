package storage

import (
	"errors"
	"runtime"
	"slices"
	"sort"
	"sync"
	"time"

	"kvstore/storage/wal"
)

// syncInterval is how long appended operations may wait for a write and, under SyncEverySecond, for the disk.
const syncInterval = time.Second

// syncer is the queue of commits that wait for the disk, and the signal to the goroutine that serves it.
type syncer struct {
	signal
	mu sync.Mutex
	// queue are the waiting commits; it stands under mu. It is as long as callers wait, which is theirs to bound.
	// closed refuses more.
	queue  []syncRequest
	closed bool
	// serving is the queue being served, kept for its memory, and served how many it held the last time; they belong to
	// the sync goroutine.
	serving []syncRequest
	served  int
}

type syncRequest struct {
	target uint64
	done   func(error)
}

// signal wakes one goroutine; signals that come before it looks are one.
type signal struct{ c chan struct{} }

func newSignal() signal { return signal{make(chan struct{}, 1)} }

func (s *signal) kick() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// enqueue has done called when the operations up to target are on the disk, unless it returns an error.
func (d *DB) enqueue(target uint64, done func(error)) error {
	s := &d.syncer
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.queue = append(s.queue, syncRequest{target, done})
	s.kick()
	return nil
}

// runSyncer serves commits that wait for the disk, and once a second writes, and as the policy says flushes, what
// nobody committed.
func (d *DB) runSyncer() {
	ticker := time.NewTicker(syncInterval)
	defer ticker.Stop()
	for {
		select {
		case <-d.syncer.c:
			d.syncer.gather()
		case <-ticker.C:
		case <-d.quit:
			d.syncer.mu.Lock()
			d.syncer.closed = true
			d.syncer.mu.Unlock()
			d.serveCommits()
			return
		}
		d.serveCommits()
	}
}

// gatherYields is how often the sync goroutine lets others run before a flush: a few microseconds against the hundreds
// that a flush takes.
const gatherYields = 16

// gather gives those whom the last flush answered the time to come with their next commit, so that one flush serves
// them all; the first of them woke the sync goroutine at once. A lone writer has nobody to wait for.
func (s *syncer) gather() {
	for range gatherYields {
		s.mu.Lock()
		waiting := len(s.queue)
		s.mu.Unlock()
		if waiting >= s.served {
			return
		}
		runtime.Gosched()
	}
}

// serveCommits writes and flushes the log once and answers the commits that waited for it.
func (d *DB) serveCommits() {
	s := &d.syncer
	s.mu.Lock()
	s.queue, s.serving = s.serving[:0], s.queue
	s.mu.Unlock()
	s.served = len(s.serving)
	err := d.syncLog(d.options.Fsync != SyncNever)
	for i := range s.serving {
		r := s.serving[i]
		s.serving[i] = syncRequest{}
		if r.target <= d.durable.Load() {
			r.done(nil)
		} else {
			r.done(err)
		}
	}
}

// syncLog writes what is pending and, when flush is set, makes everything written durable. Logs that are full are
// closed, without flush those only that nothing depends on any more: Close has to flush the others. It is for the sync
// goroutine and, when that has ended, for Close.
func (d *DB) syncLog(flush bool) error {
	d.turn.token.take()
	err := d.writeUnlessRefused()
	target := d.written.Load()
	logs := slices.Clone(d.turn.open)
	full := max(0, len(logs)-1)
	if !flush {
		oldest := d.oldestLog()
		full = sort.Search(full, func(i int) bool { return logs[i].Number() >= oldest })
	}
	d.turn.open = slices.Delete(d.turn.open, 0, full)
	d.turn.token.put()
	defer d.closeLogs(logs[:full])
	if errors.Is(err, ErrReadOnly) {
		// A flush that works now would vouch for pages that an earlier one lost.
		return err
	}
	if flush && target > d.durable.Load() {
		if failed := d.flushLogs(logs); failed != nil {
			return failed
		}
		d.raiseDurable(target)
	}
	return err
}

// oldestLog returns the number of the log of the oldest memtable.
func (d *DB) oldestLog() uint64 {
	s := d.state.Load()
	if last := len(s.immutable) - 1; last >= 0 {
		return s.immutable[last].log
	}
	return s.active.log
}

func (d *DB) closeLogs(logs []*wal.Writer) {
	for _, w := range logs {
		if err := w.Close(); err != nil {
			d.logger.Warn().Err(err).Msg("close log")
		}
	}
}

// flushLogs makes the logs durable, oldest first, so that what is durable is always a prefix. A flush that failed once
// cannot be tried again: the kernel may have dropped the pages.
func (d *DB) flushLogs(logs []*wal.Writer) error {
	d.flushDelay.begin()
	for _, w := range logs {
		if err := w.Sync(); err != nil {
			d.flushDelay.end()
			return d.refuseForGood(err)
		}
	}
	d.metrics.syncs.Add(1)
	d.metrics.syncTime.observe(d.flushDelay.end())
	return nil
}

// raiseDurable notes that the operations up to seq survive a loss of power.
func (d *DB) raiseDurable(seq uint64) {
	for {
		old := d.durable.Load()
		if old >= seq || d.durable.CompareAndSwap(old, seq) {
			return
		}
	}
}
