package coordinator

import (
	"sync"

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
}

// maxPending bounds the requests that wait at a node. At 200,000 a second it is
// five seconds of work, more than any timeout should be.
const maxPending = 1 << 20

// maxKept bounds the buffers a pooled request keeps.
const maxKept = 64 << 10

// pending finds waiters by the ids their messages carry: a slab whose slots
// count their uses, so that an answer to a former user is recognised.
type pending struct {
	mu    sync.Mutex
	slots []slot   // guarded by mu
	free  []uint32 // guarded by mu
	over  bool     // guarded by mu: nothing more may wait
}

type slot struct {
	uses uint32
	w    waiter
}

// add gives w an id; ok is false when too many requests wait, and after close.
func (p *pending) add(w waiter) (id uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return 0, false
	}
	var i uint32
	if n := len(p.free); n > 0 {
		i = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		if len(p.slots) >= maxPending {
			return 0, false
		}
		i = uint32(len(p.slots))
		p.slots = append(p.slots, slot{})
	}
	s := &p.slots[i]
	s.uses++
	if s.uses == 0 {
		s.uses = 1 // an id is never zero
	}
	s.w = w
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
