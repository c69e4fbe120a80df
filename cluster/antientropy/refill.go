package antientropy

import (
	"sync"
	"time"
)

// Refill is how far other replicas have filled copies of this node: those that were begun since none was under way.
type Refill struct {
	Partitions, Done int
	Keys, Bytes      int64     // taken over, those too that were there already
	Began, Ended     time.Time // Ended is zero while it runs; both are where there was none
}

// Left estimates how long it will still take: as the partitions that are done took. It is 0 when nothing is known.
func (r *Refill) Left(now time.Time) time.Duration {
	if r.Done == 0 || !r.Ended.IsZero() {
		return 0
	}
	return now.Sub(r.Began) / time.Duration(r.Done) * time.Duration(r.Partitions-r.Done)
}

// refills is the refill under way, or the last one.
type refills struct {
	mu  sync.Mutex
	now Refill // guarded by mu
}

// begun notes that so many more copies are being filled.
func (k *Keeper) begun(copies int64) {
	if copies == 0 {
		return
	}
	f := &k.refills
	f.mu.Lock()
	if f.now.Began.IsZero() || !f.now.Ended.IsZero() {
		f.now = Refill{Began: time.Now()}
	}
	f.now.Partitions += int(copies)
	k.Metrics.Filling.Add(copies)
	f.mu.Unlock()
}

// ended notes that one copy is filled, or no more this node's.
func (k *Keeper) ended() {
	f := &k.refills
	f.mu.Lock()
	f.now.Done++
	if k.Metrics.Filling.Add(-1) == 0 {
		f.now.Ended = time.Now()
	}
	f.mu.Unlock()
}

// took notes what was taken over.
func (k *Keeper) took(keys int, bytes int64) {
	f := &k.refills
	f.mu.Lock()
	f.now.Keys += int64(keys)
	f.now.Bytes += bytes
	f.mu.Unlock()
}

// LastRefill returns the refill under way or the last one; Began is zero if there was none.
func (k *Keeper) LastRefill() Refill {
	f := &k.refills
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}
