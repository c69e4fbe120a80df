package coordinator

import (
	"unsafe"

	"kvstore/storage/prefetch"
)

// Expect says that Receive is about to be called with answers to requests that have
// these ids. What waits is thousands of times as large as what a processor holds near,
// and each answer would wait for it in turn.
func (c *Coordinator) Expect(ids []uint64) { c.pending.expect(ids) }

// expect looks ahead for the waiters of these ids.
func (p *pending) expect(ids []uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if i := uint32(id); int(i) < len(p.slots) {
			prefetch.Line(unsafe.Pointer(&p.slots[i]))
		}
	}
	for _, id := range ids {
		if i := uint32(id); int(i) < len(p.slots) && p.slots[i].uses == uint32(id>>32) && p.slots[i].w != nil {
			p.slots[i].w.expect()
		}
	}
}

// expect implements waiter.
func (w *writeOp) expect() {
	prefetch.Line(unsafe.Pointer(w))
	prefetch.Line(unsafe.Pointer(&w.tally.ok))
	prefetch.Line(unsafe.Pointer(&w.originPlace))
}

// expect implements waiter.
func (f *forwardOp) expect() {
	prefetch.Line(unsafe.Pointer(f))
	prefetch.Line(unsafe.Pointer(&f.req))
}

// expect implements waiter.
func (o *readOp) expect() { prefetch.Line(unsafe.Pointer(o)) }
