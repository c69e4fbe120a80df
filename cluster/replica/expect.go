package replica

import (
	"unsafe"

	"kvstore/cluster/ring"
	"kvstore/storage/prefetch"
)

// Expecter is a Store that can use the time until a key is read or written.
type Expecter interface {
	// Expect says that a key with this token follows soon. It waits for nothing.
	Expect(token uint64)
	// ExpectAll says it of several keys, which is worth looking further ahead.
	ExpectAll(tokens []uint64)
}

// Expect says that a task or read of a key with this token follows soon: the
// processor fetches what that begins with while it works on something else. All
// of it lies anywhere in memory, so the task would wait for each in turn. It costs
// a few nanoseconds, and nothing depends on it.
func (r *Replica) Expect(t ring.Token) {
	prefetch.Line(unsafe.Pointer(&r.stripes[uint64(t)%stripes]))
	if r.expecter != nil {
		r.expecter.Expect(uint64(t))
	}
}

// ExpectAll is Expect for several tasks and reads that follow one another. The waits
// for memory that each would have by itself overlap then.
func (r *Replica) ExpectAll(tokens []uint64) {
	for _, t := range tokens {
		prefetch.Line(unsafe.Pointer(&r.stripes[t%stripes]))
	}
	if r.expecter != nil {
		r.expecter.ExpectAll(tokens)
	}
}
