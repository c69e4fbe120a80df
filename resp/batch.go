package resp

import (
	"sync"
	"sync/atomic"
)

// Batch collects the loops for which work was posted while a batch of messages
// was handled elsewhere, so that each loop is woken once, when the batch is over,
// and finds all of its work. The zero Batch is empty. All methods may be called
// concurrently; batches that overlap end each other's, which only costs a wake-up.
type Batch struct {
	some atomic.Bool // due is not empty
	mu   sync.Mutex
	due  []*turn // guarded by mu
}

// add notes a loop that has to be woken.
func (b *Batch) add(t *turn) {
	b.mu.Lock()
	b.due = append(b.due, t)
	b.mu.Unlock()
	b.some.Store(true)
}

// few is how many loops End wakes without allocating.
const few = 16

// End wakes the loops that have work.
func (b *Batch) End() {
	if !b.some.Swap(false) {
		return
	}
	var storage [few]*turn
	b.mu.Lock()
	due := append(storage[:0], b.due...)
	clear(b.due)
	b.due = b.due[:0]
	b.mu.Unlock()
	for _, t := range due {
		t.due.Store(false)
		if t.hasWork() { // or the turn that ends has done it
			t.schedule()
		}
	}
}

// hasWork reports whether posted work waits.
func (t *turn) hasWork() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.posted) > 0
}

// postIn queues work like post, and leaves the waking to the batch's End.
func (t *turn) postIn(b *Batch, w Work) {
	t.mu.Lock()
	t.posted = append(t.posted, w)
	t.mu.Unlock()
	// A turn that is scheduled has not begun to take what was posted.
	if !t.scheduled.Load() && t.due.CompareAndSwap(false, true) {
		b.add(t)
	}
}
