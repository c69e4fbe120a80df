package cache

import (
	"sync"
	"unsafe"
)

// region is the memory behind the rings.
type region struct {
	bytes  []byte
	mapped bool
	once   sync.Once
}

// newRegion returns n bytes, from outside the Go heap when that is asked for and the system can.
func newRegion(n int, offHeap bool) *region {
	if offHeap {
		if b, err := mapMemory(n); err == nil {
			return &region{bytes: b, mapped: true}
		}
	}
	words := make([]uint64, n/8)
	return &region{bytes: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), n)}
}

// free gives mapped memory back, once.
func (r *region) free() {
	r.once.Do(func() {
		if r.mapped {
			unmapMemory(r.bytes)
		}
		r.bytes = nil
	})
}
