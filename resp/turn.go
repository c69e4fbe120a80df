package resp

import (
	"sync"
	"sync/atomic"
)

// endpoint is a connection as its turn sees it.
type endpoint interface {
	seal()
	flush(err error) // err: the log could not be committed, so nothing may be sent
}

// turn collects what happens on a loop until the batch is over, and ends it in
// the order the rule of output asks for: commit, then replies.
type turn struct {
	events   Events // nil on loops that serve no clients
	streamed Stream // one that began something in this turn; nil if none has
	wake     func() // has run called soon on the loop; for any goroutine

	scheduled atomic.Bool // run will be called
	due       atomic.Bool // a Batch will schedule it

	mu     sync.Mutex
	posted []Work // guarded by mu

	running []Work     // posted work taken over by run; its storage is swapped
	touched []endpoint // to be sealed when the turn ends
	sealed  []endpoint // waiting for the log
	waiting bool       // sealed is not empty, and OnCommitted has our function
}

// post queues work from any goroutine. One wake-up serves everything that is
// posted before the loop gets to it.
func (t *turn) post(w Work) {
	t.mu.Lock()
	t.posted = append(t.posted, w)
	t.mu.Unlock()
	t.schedule()
}

// schedule makes sure that the turn is ended.
func (t *turn) schedule() {
	if t.scheduled.CompareAndSwap(false, true) {
		t.wake()
	}
}

// run does the posted work and ends the turn.
func (t *turn) run() {
	t.scheduled.Store(false)
	t.work()
	committed := t.end()
	if t.waiting || len(t.touched) == 0 {
		return // what was touched joins the next group
	}
	for _, e := range t.touched {
		e.seal()
	}
	t.touched, t.sealed = t.sealed[:0], t.touched
	if committed || t.events.OnCommitted(t.committed) {
		t.release(nil)
		return
	}
	t.waiting = true
}

// end has the log committed and messages sent, once for clients and streams.
func (t *turn) end() (committed bool) {
	streamed := t.streamed
	t.streamed = nil
	if t.events != nil {
		return t.events.EndTurn()
	}
	if streamed != nil {
		streamed.EndBatch()
	}
	return true
}

// work runs what was posted until now.
func (t *turn) work() {
	t.mu.Lock()
	t.running, t.posted = t.posted, t.running[:0]
	t.mu.Unlock()
	for i, w := range t.running {
		t.running[i] = nil
		w.Run()
	}
}

// release lets the sealed replies go.
func (t *turn) release(err error) {
	for i, e := range t.sealed {
		t.sealed[i] = nil
		e.flush(err)
	}
	t.sealed = t.sealed[:0]
}

// committed is called by the log, on any goroutine.
func (t *turn) committed(err error) { t.post(&commitWork{t, err}) }

// commitWork brings the news of a commit to the loop.
type commitWork struct {
	turn *turn
	err  error
}

func (w *commitWork) Run() {
	w.turn.waiting = false
	w.turn.release(w.err)
}
