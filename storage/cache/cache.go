package cache

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

const (
	// A shard is made large enough for hundreds of blocks, and there are as many as keep the processors apart, not more:
	// each takes memory two megabytes at once where there are huge pages, half of which it has no use for on the average.
	minShardSize    = 1 << 20
	processorShards = 4
	maxShards       = 32

	// offHeapSize is the size from which a cache is worth memory of its own; the many small ones of a simulation are not.
	offHeapSize = 8 << 20
)

// Cache is a block cache. Make it with New, end it with Close.
type Cache struct {
	shards []shard
	shift  uint
	size   int64
	region *region
	// pinned counts the bytes of pinned blocks.
	pinned atomic.Int64
}

// Metrics are the counts since the cache was made, and its present state.
type Metrics struct {
	Hits, Misses uint64
	// Evictions counts blocks that made room for others.
	Evictions uint64
	// Uncached counts blocks that found no room.
	Uncached uint64
	// Blocks and Bytes are what is held now, Size what may be. Pinned is how many of the bytes stay whatever comes.
	Blocks, Bytes, Size, Pinned int64
}

// New returns a cache that takes about size bytes, all counted: blocks, headers and index.
func New(size int64) *Cache {
	size = max(size, 64<<10)
	n := 1
	most := min(maxShards, processorShards*runtime.GOMAXPROCS(0))
	for n < most && size/int64(n*2) >= minShardSize {
		n *= 2
	}
	c := &Cache{shards: make([]shard, n), shift: uint(64 - bits.TrailingZeros(uint(n))), size: size}
	ring := int(size/int64(n)) * 63 / 64 &^ (align - 1) // the rest is for the index
	c.region = newRegion(n*ring, size >= offHeapSize)
	runtime.AddCleanup(c, func(r *region) { r.free() }, c.region)
	for i := range c.shards {
		c.shards[i].init(c.region.bytes[i*ring : (i+1)*ring])
	}
	return c
}

// Close gives the memory back. No handle may be held, and nothing may be called after it.
func (c *Cache) Close() {
	for i := range c.shards {
		c.shards[i].close()
	}
	c.region.free()
}

// Get returns a held block, if it is cached.
func (c *Cache) Get(file, offset uint64) (Handle, bool) {
	h := hash(file, offset)
	return c.shard(h).get(c, h, file, offset)
}

// Alloc returns memory for a block of n bytes with unspecified contents. It is held by the caller and found by nobody
// until Publish.
func (c *Cache) Alloc(file, offset uint64, n int) Handle {
	if handle, ok := c.shard(hash(file, offset)).alloc(c, file, offset, n); ok {
		return handle
	}
	return Heap(n)
}

// Publish makes a block findable that was got from Alloc and filled. The returned handle takes the place of h.
func (c *Cache) Publish(h Handle) Handle {
	if h.rec == nil {
		return h
	}
	sum := hash(h.rec.file, h.rec.offset)
	return c.shard(sum).publish(sum, h)
}

// Put caches a copy of a block that was just written, unless that has no room.
func (c *Cache) Put(file, offset uint64, block []byte) {
	sum := hash(file, offset)
	s := c.shard(sum)
	if h, ok := s.alloc(c, file, offset, len(block)); ok {
		copy(h.data, block)
		h = s.publish(sum, h)
		h.Release()
	}
}

// EvictFile forgets all blocks of a file. File numbers are not used again, so this only makes room sooner.
func (c *Cache) EvictFile(file uint64) {
	for i := range c.shards {
		c.shards[i].evictFile(file)
	}
}

// Metrics returns the state of all shards; they are read one after another.
func (c *Cache) Metrics() Metrics {
	m := Metrics{Size: c.size, Pinned: c.pinned.Load()}
	for i := range c.shards {
		c.shards[i].addMetrics(&m)
	}
	return m
}

func (c *Cache) shard(h uint64) *shard {
	return &c.shards[h>>c.shift] // a shift by 64 is 0: one shard
}

// hash mixes a block's name; the upper bits choose the shard, the lower ones the place in its index.
func hash(file, offset uint64) uint64 {
	hi, lo := bits.Mul64(file^0x9e3779b97f4a7c15, (offset+1)*0xbf58476d1ce4e5b9)
	x := (hi ^ lo ^ offset) * 0x94d049bb133111eb
	return x ^ x>>29
}

// Handle holds a block in its place. The zero Handle holds nothing.
type Handle struct {
	cache *Cache // keeps the memory mapped
	rec   *record
	data  []byte
}

// Heap returns a handle on a block of its own, outside any cache.
func Heap(n int) Handle {
	words := make([]uint64, (n+7)/8)
	return Handle{data: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), n)}
}

// Data is the block. It is aligned to eight bytes. It may be written between Alloc and Publish only.
func (h *Handle) Data() []byte { return h.data }

// Held reports whether the handle holds a block.
func (h *Handle) Held() bool { return h.data != nil }

// Release ends the hold. A second call does nothing.
func (h *Handle) Release() {
	if h.rec != nil {
		if atomic.AddInt32(&h.rec.holds, -1) < 0 {
			panic("cache: a block was released twice")
		}
	}
	*h = Handle{}
}
