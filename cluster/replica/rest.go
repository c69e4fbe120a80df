package replica

import (
	"sync/atomic"
	"time"
)

// Slowing is a Store that cannot always take what comes. Writers rest before they
// write, and they rest here, not under a key's lock and not in an event loop.
type Slowing interface {
	// Owed returns for how long a writer is to rest, which is 0 mostly. It is
	// asked for each task, and asks only memory.
	Owed() time.Duration
	// Rested is told how long one has.
	Rested(took time.Duration)
}

// Sizer is a Task that says how many bytes it holds while it waits. That does not
// change.
type Sizer interface{ Size() int }

func sizeOf(t Task) int {
	if s, ok := t.(Sizer); ok {
		return s.Size()
	}
	return 0
}

const (
	// resters run the tasks that have rested: few, because what they wait for
	// gives way to one at a time.
	resters = 2
	// restFor is how long a task may rest before new ones are refused: longer
	// than any hiccup of a disk, and a part of a request's time.
	restFor = 200 * time.Millisecond
	// maxResting is how many may wait meanwhile for new ones to be let in.
	maxResting = 4096
	// mostRest ends a rest whatever the store says: it says itself what comes of
	// a write then.
	mostRest = 2 * time.Second
)

// resting is the tasks that wait until the store is to be written to again, in the
// order in which they came.
type resting struct {
	store Slowing // nil when it never asks for it
	jobs  chan job
	quit  chan struct{} // closed by end
	count atomic.Int64  // of jobs that wait or are run
	last  atomic.Int64  // how long the last one has rested, in nanoseconds
}

func (r *Replica) startResting() {
	q := &r.resting
	q.store, _ = r.store.(Slowing)
	q.quit = make(chan struct{})
	if q.store == nil {
		return
	}
	q.jobs = make(chan job, maxWaiting)
	for range resters {
		r.wg.Go(r.serveRested)
	}
}

// end lets nobody rest any more.
func (q *resting) end() {
	close(q.quit)
	if q.jobs != nil {
		close(q.jobs)
	}
}

// Pressed reports whether writes have to wait for the store: whoever writes for no
// client had better not.
func (r *Replica) Pressed() bool { return r.mustRest() }

// mustRest reports whether a task has to rest. Nobody overtakes those who do.
func (r *Replica) mustRest() bool {
	q := &r.resting
	return q.store != nil && (q.count.Load() > 0 || q.store.Owed() > 0)
}

// Crowded reports whether a write of a client is to be refused: it would wait, or
// others do, for longer than clients should.
func (r *Replica) Crowded() bool {
	q := &r.resting
	if q.store != nil && q.count.Load() > 0 && (q.last.Load() > int64(restFor) || r.waiting.Load() > maxResting) {
		return true
	}
	return r.waiting.Load() >= maxWaiting || r.held.Load() >= maxWaitingBytes
}

// serveRested runs tasks once they have rested.
func (r *Replica) serveRested() {
	q := &r.resting
	for {
		j, ok := <-q.jobs
		for n := 0; ok; n++ {
			r.rest(n > 0)
			q.last.Store(int64(time.Since(j.since)))
			r.runParked(j)
			if q.count.Add(-1) == 0 {
				q.last.Store(0)
			}
			select {
			case j, ok = <-q.jobs:
				continue
			default:
			}
			break
		}
		r.endTurn()
		if !ok {
			return
		}
	}
}

// rest waits until the store is to be written to. If tasks were run before, they
// are not kept waiting.
func (r *Replica) rest(ran bool) {
	q := &r.resting
	if ran && q.store.Owed() > 0 {
		r.endTurn()
	}
	began := time.Now()
	for {
		owed := q.store.Owed()
		rested := time.Since(began)
		if owed == 0 || rested >= mostRest {
			if rested >= time.Millisecond {
				q.store.Rested(rested)
			}
			return
		}
		select {
		case <-q.quit:
			return
		case <-time.After(owed):
		}
	}
}

// enter counts one more that waits, and its bytes; false when too many do. A task
// that is over the bound by itself waits alone.
func (r *Replica) enter(size int) bool {
	if r.waiting.Add(1) > maxWaiting {
		r.waiting.Add(-1)
		return false
	}
	if held := r.held.Add(int64(size)); size > 0 && held > maxWaitingBytes && held != int64(size) {
		r.leave(size)
		return false
	}
	return true
}

// leave ends what enter began.
func (r *Replica) leave(size int) {
	r.waiting.Add(-1)
	r.held.Add(-int64(size))
}
