package memtable

import (
	"bytes"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"kvstore/storage/entry"
	"kvstore/storage/prefetch"
)

const (
	// bytesPerSlot is how much data a root slot is made for: records of about a hundred bytes make a few keys a slot.
	bytesPerSlot = 512
	minRootBits  = 4
	maxRootBits  = 20

	// Positions count bits from the start of the key. The top two bits of a token are zero.
	tokenBits  = 62
	systemRoot = 3
	systemPos  = 2
)

// Table is a memtable. Make it with New.
type Table struct {
	arena    arena
	root     []ref // atomic
	rootBits int
	occupied bitmap
	count    atomic.Int64
}

// New returns an empty table that works best when it is filled with about size bytes. It may grow past that.
func New(size int) *Table {
	t := &Table{}
	t.rootBits = min(max(bits.Len(uint(max(size, 1)/bytesPerSlot)), minRootBits), maxRootBits)
	t.root = make([]ref, 1<<t.rootBits+systemRoot)
	t.occupied = newBitmap(len(t.root))
	t.arena.init(size)
	return t
}

// NewOffHeap is New for a table whose records lie outside the Go heap, where the collector's pace does not follow them. It
// must be ended with Free. Its pages come from the pool and go there, which is of tables of this size.
func NewOffHeap(size int, pool *Pool) *Table {
	t := New(size)
	t.arena.pool = pool
	return t
}

// Free gives the table's memory back. Neither the table, nor its iterators, nor any value they returned may be used then.
func (t *Table) Free() { t.arena.free() }

// Len counts the records: every version of every key.
func (t *Table) Len() int { return int(t.count.Load()) }

// Bytes is the memory the records take, with everything that belongs to them.
func (t *Table) Bytes() int64 { return t.arena.used.Load() }

// rootSlot is the root slot of a key and the first bit position the slot does not decide.
func (t *Table) rootSlot(prefix uint64) (slot, pos int) {
	if top := int(prefix >> tokenBits); top != 0 {
		return 1<<t.rootBits + top - 1, systemPos
	}
	return int(prefix >> (tokenBits - t.rootBits)), 64 - tokenBits + t.rootBits
}

// Expect has the processor fetch where the search for a key with this prefix begins. It may be called after Free.
func (t *Table) Expect(prefix uint64) {
	i, _ := t.rootSlot(prefix)
	prefetch.Line(unsafe.Pointer(&t.root[i]))
}

// MaxExpected is how many keys ExpectAll looks at: more than a processor fetches side by side.
const MaxExpected = 8

// ExpectAll looks ahead for the keys with these prefixes, at most MaxExpected: all waits for a step of their searches overlap.
// It returns, as bits, those that the table may have. The table must not be freed.
func (t *Table) ExpectAll(prefixes []uint64) (here uint64) {
	var at [MaxExpected]unsafe.Pointer
	for n, prefix := range prefixes {
		i, _ := t.rootSlot(prefix)
		if r := atomic.LoadUint32(&t.root[i]); r != 0 {
			at[n] = t.arena.at(r)
			prefetch.Line(at[n])
		}
	}
	for n, prefix := range prefixes {
		p := at[n]
		if p == nil {
			continue
		}
		switch w := word(p); w & typeMask {
		case typeEntry:
			here |= 1 << n
		case typeLeaf:
			at[n] = nil
			for i := range leafCap(w) {
				x := atomic.LoadUint64(pair(p, i))
				if uint32(x>>32) == uint32(prefix) && x != 0 {
					at[n] = t.arena.at(uint32(x))
					prefetch.Line(at[n])
					prefetch.Behind(at[n], 64)
					here |= 1 << n
					break
				}
			}
		default: // few, when the table has the size it was made for
			at[n] = nil
			here |= 1 << n
		}
	}
	for n := range prefixes {
		if p := at[n]; p != nil {
			newest := t.arena.at(atomic.LoadUint32(field(p, 4)))
			prefetch.Line(newest)
			prefetch.Behind(newest, 64)
		}
	}
	return here
}

// Get finds the newest record of key whose sequence number is at most seq. The value lies in the table's own memory: it
// must not be changed, and it stays as it is for as long as it is referenced.
func (t *Table) Get(key []byte, seq uint64) (value []byte, kind entry.Kind, entrySeq uint64, found bool) {
	e := t.find(key)
	if e == nil {
		return nil, 0, 0, false
	}
	for r := atomic.LoadUint32(field(e, 4)); r != 0; {
		v := t.arena.at(r)
		if s := versionSeq(v); s <= seq {
			return versionValue(v), versionKind(v), s, true
		}
		r = olderVersion(v)
	}
	return nil, 0, 0, false
}

// find returns the entry of a key, or nil.
func (t *Table) find(key []byte) unsafe.Pointer {
	k := newSearchKey(key)
	i, _ := t.rootSlot(k.prefix)
	r := atomic.LoadUint32(&t.root[i])
	for r != 0 {
		p := t.arena.at(r)
		w := word(p)
		switch w & typeMask {
		case typeNode:
			// Skipped bits are not looked at: a key that differs there meets an entry that is not its own.
			r = atomic.LoadUint32(child(p, k.nibble(nodePos(w))))
		case typeLeaf:
			_, e := t.scanLeaf(p, leafCap(w), &k)
			return e
		default:
			if bytes.Equal(entryKey(p), key) {
				return p
			}
			return nil
		}
	}
	return nil
}

// scanLeaf finds the entry of a key in a leaf, or nil and the number of pairs taken.
func (t *Table) scanLeaf(leaf unsafe.Pointer, pairs int, k *searchKey) (int, unsafe.Pointer) {
	for i := range pairs {
		x := atomic.LoadUint64(pair(leaf, i))
		if x == 0 {
			return i, nil
		}
		if uint32(x>>32) == k.tag {
			if e := t.arena.at(uint32(x)); bytes.Equal(entryKey(e), k.bytes) {
				return i, e
			}
		}
	}
	return pairs, nil
}

// bitmap tells which root slots are taken, in two levels, so that an iterator crosses an empty stretch at once.
type bitmap struct {
	slots []uint64 // a bit a slot, atomic
	words []uint64 // a bit a word of slots, atomic
}

func newBitmap(n int) bitmap {
	words := (n + 63) / 64
	return bitmap{slots: make([]uint64, words), words: make([]uint64, (words+63)/64)}
}

// set is the writer's alone, so that it need not be one atomic step.
func (b *bitmap) set(i int) {
	atomic.StoreUint64(&b.slots[i/64], b.slots[i/64]|1<<(i%64))
	if word, bit := &b.words[i/4096], uint64(1)<<(i/64%64); *word&bit == 0 {
		atomic.StoreUint64(word, *word|bit)
	}
}

// after returns the first slot taken at or after i, or -1.
func (b *bitmap) after(i int) int {
	if i/64 >= len(b.slots) {
		return -1
	}
	if w := atomic.LoadUint64(&b.slots[i/64]) >> (i % 64); w != 0 {
		return i + bits.TrailingZeros64(w)
	}
	from := i/64 + 1
	for top := from / 64; top < len(b.words); top++ {
		w := atomic.LoadUint64(&b.words[top])
		if top == from/64 {
			w = w >> (from % 64) << (from % 64)
		}
		if w != 0 {
			at := top*64 + bits.TrailingZeros64(w)
			return at*64 + bits.TrailingZeros64(atomic.LoadUint64(&b.slots[at]))
		}
	}
	return -1
}

// before returns the last slot taken at or before i, or -1.
func (b *bitmap) before(i int) int {
	if i < 0 {
		return -1
	}
	if w := atomic.LoadUint64(&b.slots[i/64]) << (63 - i%64); w != 0 {
		return i - bits.LeadingZeros64(w)
	}
	to := i/64 - 1
	if to < 0 {
		return -1
	}
	for top := to / 64; top >= 0; top-- {
		w := atomic.LoadUint64(&b.words[top])
		if top == to/64 {
			w = w << (63 - to%64) >> (63 - to%64)
		}
		if w != 0 {
			at := top*64 + 63 - bits.LeadingZeros64(w)
			return at*64 + 63 - bits.LeadingZeros64(atomic.LoadUint64(&b.slots[at]))
		}
	}
	return -1
}
