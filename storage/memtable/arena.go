package memtable

import (
	"math/bits"
	"sync/atomic"
	"unsafe"

	"kvstore/storage/prefetch"
)

// ref is the place of a record in an arena, in units of eight bytes; 0 is no record. 32 GiB can be addressed.
type ref = uint32

const (
	unit     = 8
	maxUnits = 1 << 32

	minPage = 4 << 10
	// maxPage bounds what the last page of a table wastes. It is the size of a huge page of most processors.
	maxPage = 2 << 20
)

// arena hands out pointer-free memory that is addressed by refs. Page numbers are virtual: a record longer than a page
// takes several consecutive numbers, of which only the first has memory behind it, all in one piece.
type arena struct {
	// pages is replaced by a longer copy when it is full. Elements are atomic, and written before a ref into their page is
	// published.
	pages atomic.Pointer[[]unsafe.Pointer]
	shift uint // a page is 1<<shift units
	mask  uint32

	// The writer's own state.
	next     uint32 // the first virtual page that is not taken
	cursor   uint32 // the next free unit of the current page
	limit    uint32 // the end of the current page
	used     atomic.Int64
	pageSize int
	pool     *Pool    // of a table outside the Go heap; else nil
	mapped   [][]byte // what is to be unmapped in the end, or given to pool
}

// init prepares the arena for about size bytes. No page is made yet.
func (a *arena) init(size int) {
	a.pageSize = pageSizeOf(size)
	a.shift = uint(bits.TrailingZeros(uint(a.pageSize / unit)))
	a.mask = uint32(a.pageSize/unit - 1)
	pages := make([]unsafe.Pointer, max(8, 2*size/a.pageSize))
	a.pages.Store(&pages)
}

// pageSizeOf is the page size of a table for about size bytes.
func pageSizeOf(size int) int {
	want := min(max(size/32, minPage), maxPage)
	return 1 << bits.Len(uint(want-1))
}

// at returns the address of a record.
func (a *arena) at(r ref) unsafe.Pointer {
	return unsafe.Add(atomic.LoadPointer(&(*a.pages.Load())[r>>a.shift]), int(r&a.mask)*unit)
}

// alloc returns zeroed memory of n bytes.
func (a *arena) alloc(n int) (ref, unsafe.Pointer) {
	units := uint32((n + unit - 1) / unit)
	a.used.Add(int64(units) * unit)
	if units > a.limit-a.cursor {
		if int(units)*unit > a.pageSize/4 {
			lead := uint32(0)
			if a.next == 0 { // the ref 0 means nothing
				lead = 1
			}
			return a.piece(units, lead)
		}
		first, _ := a.piece(a.mask+1, 0)
		a.cursor, a.limit = first, first+a.mask+1
		if first == 0 { // likewise
			a.cursor = 1
		}
	}
	r := a.cursor
	a.cursor += units
	p := a.at(r)
	// What is written next lies behind. The lines of a page that was used before are in no cache, and the atomic store that
	// shows a record to readers waits until all that was written before it has arrived.
	next := int(units) * unit
	prefetch.Behind(p, next)
	prefetch.Behind(p, next+64)
	prefetch.Behind(p, next+128)
	return r, p
}

// memory returns zeroed memory of that many units.
func (a *arena) memory(units int) unsafe.Pointer {
	if a.pool != nil {
		var b []byte
		if units*unit == a.pageSize {
			b = a.pool.take()
		}
		if b == nil {
			b = mapPage(units * unit)
		}
		if b != nil {
			a.mapped = append(a.mapped, b)
			return unsafe.Pointer(unsafe.SliceData(b))
		}
	}
	return unsafe.Pointer(unsafe.SliceData(make([]uint64, units)))
}

// free gives all memory back.
func (a *arena) free() {
	a.pages.Store(nil)
	for _, b := range a.mapped {
		if len(b) != a.pageSize || !a.pool.give(b) {
			unmapPage(b)
		}
	}
	a.mapped = nil
}

// piece makes memory of its own for that many units behind lead units that stay free.
func (a *arena) piece(units, lead uint32) (ref, unsafe.Pointer) {
	memory := a.memory(int(units + lead))
	page := a.next
	a.next += (units + lead + a.mask) >> a.shift
	if uint64(a.next)<<a.shift >= maxUnits {
		panic("memtable: more than 32 GiB in one table")
	}
	pages := *a.pages.Load()
	if int(page) >= len(pages) {
		longer := make([]unsafe.Pointer, max(2*len(pages), int(page)+1))
		copy(longer, pages)
		longer[page] = memory
		a.pages.Store(&longer)
	} else {
		atomic.StorePointer(&pages[page], memory)
	}
	r := page<<a.shift + lead
	return r, unsafe.Add(memory, int(lead)*unit)
}
