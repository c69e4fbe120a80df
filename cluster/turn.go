package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"kvstore/storage"
)

// turns ends turns: it brings the log where replies may leave, and messages on
// their way.
//
// Under fsync=always the log reaches its place later, by its own goroutine, and
// the messages follow then, by the flusher's.
type turns struct {
	db    *storage.DB
	flush func()        // sends what is queued for peers
	later chan struct{} // one token when the flusher has to run; sent by committed, never closed
	quit  chan struct{} // closed by stop
	wg    sync.WaitGroup
	// committed starts the flusher, once the log is where messages may leave.
	// It is made once, because end is on the path of every request.
	committed func(error)
	// failed is when the log first failed to take a turn, in nanoseconds.
	failed atomic.Int64
}

// shadow is how long after the log began to refuse every turn counts as failed.
// A turn that wrote before the refusal ends well within it; after it, turns hold
// only reads and refused writes, and go on.
const shadow = time.Second

func newTurns(db *storage.DB, flush func()) *turns {
	t := &turns{db: db, flush: flush, later: make(chan struct{}, 1), quit: make(chan struct{})}
	t.committed = func(error) {
		select {
		case t.later <- struct{}{}:
		default:
		}
	}
	t.wg.Go(t.run)
	return t
}

// stop ends the flusher.
func (t *turns) stop() {
	close(t.quit)
	t.wg.Wait()
}

// run is the flusher.
func (t *turns) run() {
	for {
		select {
		case <-t.quit:
			return
		case <-t.later:
			t.flush()
		}
	}
}

// commit brings the log where messages may leave, and waits if it has to. It is
// what a flush calls before it writes.
func (t *turns) commit() error { return t.judge(t.db.Commit()) }

// judge decides whether a failure of the log concerns the turn that met it.
func (t *turns) judge(err error) error {
	if err == nil {
		if t.failed.Load() != 0 {
			t.failed.Store(0)
		}
		return nil
	}
	now := time.Now().UnixNano()
	t.failed.CompareAndSwap(0, now)
	if time.Duration(now-t.failed.Load()) < shadow {
		return err
	}
	return nil
}

// end ends a turn; false when replies have to wait for OnCommitted.
func (t *turns) end() bool {
	committed, err := t.db.CommitAsync(t.committed)
	if !committed && err == nil {
		return false // always: committed will be called
	}
	if t.judge(err) != nil {
		// What the turn has sent must not leave with a later turn, when the log is
		// known to be closed: this flush fails too, and drops it.
		t.flush()
		return false
	}
	t.flush()
	return true
}

// onCommitted reports whether replies may leave; if not, fn is called once when
// it is known: with nil when they may, with an error when what they say may not
// be true.
func (t *turns) onCommitted(fn func(error)) bool {
	committed, err := t.db.CommitAsync(func(err error) { fn(t.judge(err)) })
	if committed {
		return true
	}
	if err == nil {
		return false
	}
	if err = t.judge(err); err != nil {
		fn(err)
		return false
	}
	return true
}
