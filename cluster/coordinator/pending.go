package coordinator

import (
	"sync"
	"sync/atomic"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// waiter is a request that waits for other nodes. Its methods are called from
// any goroutine, and after it was removed too: it compares id with its own.
type waiter interface {
	receive(id uint64, from ring.NodeID, m *wire.Message)
	// lost says that the connection to a node broke: what was sent there may
	// or may not have arrived, and no answer will come.
	lost(id uint64, node ring.NodeID)
	// wake is called when a time the waiter asked for has come.
	wake(id uint64, why alarm)
	// expect has the processor fetch what receive begins with. It touches nothing.
	expect()
}

// maxPending bounds the requests that wait at a node. At 200,000 a second it is
// a second of work, the time that writes have. maxPendingBytes bounds what they
// hold: keys, arguments, objects to be acknowledged and answers to be merged.
const (
	maxPending      = 1 << 18
	maxPendingBytes = 256 << 20
)

// When requests take longer than lateAfter, and more than lateAbove are under way,
// new ones would only make all of them later, until they end in timeouts: those of
// this node's clients are refused, at once. What other nodes forward was let in
// there. Fewer than lateAbove are tens of milliseconds of work, and if they are
// late it is not for their number. lateAfter is below the time that reads have, by
// what refusing needs to take effect; what is shorter than that is waited for. One
// in lateSample is timed.
//
// From busyAbove on connections with many commands keep what they have not begun: it
// costs nothing in a socket. So refusals, which cost a third of a request, are for
// crowds of connections, and not for a few that do not wait for their replies.
const (
	busyAbove  = 512
	lateAfter  = 350 * time.Millisecond
	lateAbove  = 4096
	lateSample = 64
)

// maxKept bounds the buffers a pooled request keeps.
const maxKept = 64 << 10

// pending finds waiters by the ids their messages carry: a slab whose slots
// count their uses, so that an answer to a former user is recognised.
type pending struct {
	mu    sync.Mutex
	slots []slot        // guarded by mu
	free  []uint32      // guarded by mu
	bytes int64         // guarded by mu: of all sizes
	over  bool          // guarded by mu: nothing more may wait
	took  time.Duration // guarded by mu: by requests that have ended lately
	// full says that too much waits for anything new to begin, late that nothing new
	// of this node's clients is to, busy that many are under way; they change under mu.
	full, late, busy atomic.Bool
}

type slot struct {
	uses uint32
	size int // bytes
	w    waiter
	at   time.Time // of those that are timed: when they began to wait
}

// add gives w, which holds size bytes, an id; ok is false when too many requests
// wait, and after close. What is over the bound by itself is taken
// when the bound is not reached yet.
func (p *pending) add(w waiter, size int) (id uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full.Load() {
		return 0, false
	}
	return p.addLocked(w, size)
}

// must is add for a request that has begun: it was let in when there was room, and
// to give it up now would leave its outcome unknown. So the bound is exceeded by
// what replica lets wait, at most.
func (p *pending) must(w waiter, size int) (id uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addLocked(w, size)
}

// addLocked is add without a bound. The caller holds mu.
func (p *pending) addLocked(w waiter, size int) (id uint64, ok bool) {
	if p.over {
		return 0, false
	}
	var i uint32
	if n := len(p.free); n > 0 {
		i = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		i = uint32(len(p.slots))
		p.slots = append(p.slots, slot{})
	}
	s := &p.slots[i]
	s.uses++
	if s.uses == 0 {
		s.uses = 1 // an id is never zero
	}
	s.w, s.size = w, size
	if i%lateSample == lateSample-1 {
		s.at = time.Now()
	}
	p.changed(size)
	return uint64(s.uses)<<32 | uint64(i), true
}

// find returns the waiter of an id, nil when it waits no more.
func (p *pending) find(id uint64) waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := uint32(id); int(i) < len(p.slots) && p.slots[i].uses == uint32(id>>32) {
		return p.slots[i].w
	}
	return nil
}

// remove frees an id.
func (p *pending) remove(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := uint32(id); int(i) < len(p.slots) && p.slots[i].uses == uint32(id>>32) && p.slots[i].w != nil {
		p.slots[i].w = nil
		p.free = append(p.free, i)
		if i%lateSample == lateSample-1 {
			p.took += (time.Since(p.slots[i].at) - p.took) / 4
		}
		p.changed(-p.slots[i].size)
	}
}

// grow adds to the bytes of a request that waits.
func (p *pending) grow(id uint64, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := uint32(id); int(i) < len(p.slots) && p.slots[i].uses == uint32(id>>32) && p.slots[i].w != nil {
		p.slots[i].size += size
		p.changed(size)
	}
}

// changed notes that so many bytes more wait. The caller holds mu.
func (p *pending) changed(bytes int) {
	p.bytes += int64(bytes)
	n := len(p.slots) - len(p.free)
	full := p.bytes >= maxPendingBytes || n >= maxPending
	if full != p.full.Load() {
		p.full.Store(full)
	}
	if busy := n > busyAbove; busy != p.busy.Load() {
		p.busy.Store(busy)
	}
	if late := full || n > lateAbove && p.took > lateAfter; late != p.late.Load() {
		p.late.Store(late)
	}
}

// close lets nothing more wait: no alarm would end it.
func (p *pending) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// all returns the waiters and their ids.
func (p *pending) all() (ids []uint64, ws []waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.slots {
		if w := p.slots[i].w; w != nil {
			ids = append(ids, uint64(p.slots[i].uses)<<32|uint64(i))
			ws = append(ws, w)
		}
	}
	return ids, ws
}

// count returns how many requests wait.
func (p *pending) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.slots) - len(p.free)
}
