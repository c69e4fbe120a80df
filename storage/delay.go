package storage

import (
	"sync/atomic"
	"time"
)

// delay is how long one kind of work of the log takes at present: writing, or flushing to the disk. One goroutine at a time
// does the work; anyone may ask. Every commit passes here, so it reads no more of the clock than it must, and changes
// little.
type delay struct {
	// epoch is the moment that times count from, in nanoseconds. Since then is read faster than the time of day.
	epoch time.Time
	// began is when the work in progress began, 0 when there is none; last how long the last took, 0 when that was less
	// than shortest, and ended when the last that took longer was done.
	began, last, ended atomic.Int64
}

// shortest is the least work that is worth remembering.
const shortest = time.Millisecond

// begin notes that the work begins.
func (w *delay) begin() { w.began.Store(w.clock()) }

// clock is never 0.
func (w *delay) clock() int64 { return int64(time.Since(w.epoch)) + 1 }

// end notes that it is done, or failed.
func (w *delay) end() (took time.Duration) {
	now := w.clock()
	took = time.Duration(now - w.began.Load())
	w.began.Store(0)
	if took >= shortest {
		w.ended.Store(now)
		w.last.Store(int64(took))
	} else if w.last.Load() != 0 {
		w.last.Store(0)
	}
	return took
}

// delayMemory is how long work that is done still counts.
const delayMemory = 5 * time.Second

// now returns how long the work in progress has taken, or the last one took, whichever is longer.
func (w *delay) now() (d time.Duration) {
	now := w.clock()
	if now-w.ended.Load() < int64(delayMemory) {
		d = time.Duration(w.last.Load())
	}
	if began := w.began.Load(); began != 0 {
		d = max(d, time.Duration(now-began))
	}
	return d
}

// DiskDelay returns how long writing to the log takes at present, and how long flushing it to the disk: work that has not
// come back yet counts with its time so far, what took less than a millisecond is 0. Clients wait for the first, and under
// SyncAlways for both.
func (d *DB) DiskDelay() (write, flush time.Duration) {
	return d.writeDelay.now(), d.flushDelay.now()
}
