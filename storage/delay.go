package storage

import (
	"sync/atomic"
	"time"
)

// delay is how long one kind of work of the log takes at present: writing, or flushing to the disk. One goroutine at a time
// does the work; anyone may ask.
type delay struct {
	// began is when the work in progress began, 0 when there is none; last how long the last took, and ended when that was.
	// Times are nanoseconds since 1970.
	began, last, ended atomic.Int64
}

// begin notes that the work begins.
func (w *delay) begin(now time.Time) { w.began.Store(now.UnixNano()) }

// end notes that it is done, or failed.
func (w *delay) end(now time.Time) (took time.Duration) {
	began := w.began.Swap(0)
	took = max(0, time.Duration(now.UnixNano()-began))
	w.last.Store(int64(took))
	w.ended.Store(now.UnixNano())
	return took
}

// delayMemory is how long work that is done still counts.
const delayMemory = 5 * time.Second

// now returns how long the work in progress has taken, or the last one took, whichever is longer.
func (w *delay) now(now time.Time) (d time.Duration) {
	if now.UnixNano()-w.ended.Load() < int64(delayMemory) {
		d = time.Duration(w.last.Load())
	}
	if began := w.began.Load(); began != 0 {
		d = max(d, time.Duration(now.UnixNano()-began))
	}
	return d
}

// DiskDelay returns how long writing to the log takes at present, and how long flushing it to the disk: work that has not
// come back yet counts with its time so far. Clients wait for the first, and under SyncAlways for both.
func (d *DB) DiskDelay() (write, flush time.Duration) {
	now := time.Now()
	return d.writeDelay.now(now), d.flushDelay.now(now)
}
