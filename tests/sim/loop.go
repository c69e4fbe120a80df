package sim

import (
	"container/heap"
	"sync"
	"time"
)

// loop runs events in the order of their times, one after another.
type loop struct {
	// settle is called after each event; it waits until its consequences are
	// done. nil does not wait.
	settle func()
	wake   chan struct{} // one token when an event came; sent by at, never closed

	mu    sync.Mutex
	queue events // guarded by mu
	last  uint64 // guarded by mu
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

// events is a heap by time; those of one time run in the order they came in.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if c := e[i].at.Compare(e[j].at); c != 0 {
		return c < 0
	}
	return e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newLoop(settle func()) *loop {
	return &loop{settle: settle, wake: make(chan struct{}, 1)}
}

// at runs an event at a time; after runs it d from now. Both may be called from
// any goroutine.
func (l *loop) at(when time.Time, do func()) {
	l.mu.Lock()
	l.last++
	heap.Push(&l.queue, event{when, l.last, do})
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *loop) after(d time.Duration, do func()) { l.at(time.Now().Add(d), do) }

// next takes the event that is due, or says how long until one is.
func (l *loop) next() (do func(), wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil, time.Hour
	}
	if wait = time.Until(l.queue[0].at); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&l.queue).(event).do, 0
}

// run runs events until done, which it asks after each, or until limit has
// passed; it reports whether done came first.
func (l *loop) run(limit time.Duration, done func() bool) bool {
	end := time.Now().Add(limit)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !done() {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		do, wait := l.next()
		if do != nil {
			do()
			if l.settle != nil {
				l.settle()
			}
			continue
		}
		timer.Reset(min(wait, left))
		select {
		case <-timer.C:
		case <-l.wake:
		}
	}
	return true
}
