package cache

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"kvstore/storage/prefetch"
)

// record is the header of a block in a ring. Its fields but holds are under the shard's mutex.
type record struct {
	size   uint32 // of header, block and padding
	length uint32 // of the block
	file   uint64
	offset uint64
	holds  int32 // atomic; it rises under the mutex only
	state  uint32
}

const (
	headerSize = int(unsafe.Sizeof(record{}))
	align      = 32 // a header's size, so that any gap can be made a filler

	// A record is filler, a block nobody can find (being filled, or evicted while held), or an indexed block.
	filler = 0
	hidden = 1
	found  = 2
	used   = 4 // with found: used since the hand passed

	// maxSaved bounds how many used records one allocation moves, and so how long it holds the mutex.
	maxSaved = 16

	// minBlock is the size of block the index is dimensioned for; smaller ones on the average get less of the ring.
	minBlock = 512
)

type shard struct {
	mu sync.Mutex
	// ring is [0, gapLo) of records, a gap, and [gapHi, end) of records.
	ring                              []byte
	gapLo, gapHi                      int
	index                             []uint64 // open addressing: the upper half is a part of the hash, the lower the place + 1 in units of align
	blocks                            int
	bytes                             int64
	hits, misses, evictions, uncached uint64
	_                                 [64]byte // keeps neighbours' mutexes on other cache lines
}

func (s *shard) init(ring []byte) {
	s.ring, s.gapHi = ring, len(ring)
	s.index = make([]uint64, 64)
}

func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.ring, s.blocks = nil, nil, 0
}

func (s *shard) at(place int) *record { return (*record)(unsafe.Pointer(&s.ring[place])) }

func (s *shard) placeOf(r *record) int {
	return int(uintptr(unsafe.Pointer(r)) - uintptr(unsafe.Pointer(unsafe.SliceData(s.ring))))
}

func (r *record) block() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(r), headerSize)), r.length)
}

func (s *shard) get(c *Cache, h, file, offset uint64) (Handle, bool) {
	s.mu.Lock()
	i, ok := s.lookup(h, file, offset)
	if !ok {
		s.misses++
		s.mu.Unlock()
		return Handle{}, false
	}
	s.hits++
	r := s.at(place(s.index[i]))
	// A search begins with the next few lines. The atomic operations wait for what was read, not for what was asked for.
	for n := 64; n < 256; n += 64 {
		prefetch.Behind(unsafe.Pointer(r), n)
	}
	r.state |= used
	atomic.AddInt32(&r.holds, 1)
	s.mu.Unlock()
	return Handle{c, r, r.block()}, true
}

func (s *shard) alloc(c *Cache, file, offset uint64, n int) (Handle, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := (headerSize + n + align - 1) &^ (align - 1)
	if n > len(s.ring)/4 || !s.makeRoom(size) {
		s.uncached++
		return Handle{}, false
	}
	r := s.at(s.gapLo)
	*r = record{size: uint32(size), length: uint32(n), file: file, offset: offset, holds: 1, state: hidden}
	s.gapLo += size
	return Handle{c, r, r.block()}, true
}

func (s *shard) publish(h uint64, handle Handle) Handle {
	s.mu.Lock()
	r := handle.rec
	if i, ok := s.lookup(h, r.file, r.offset); ok {
		first := s.at(place(s.index[i]))
		atomic.AddInt32(&first.holds, 1)
		s.mu.Unlock()
		c := handle.cache
		handle.Release()
		return Handle{c, first, first.block()}
	}
	r.state = found
	s.blocks++
	s.bytes += int64(r.size)
	if s.blocks*2 > len(s.index) {
		s.growIndex()
	}
	s.insert(h, s.placeOf(r))
	s.mu.Unlock()
	return handle
}

// makeRoom widens the gap to size bytes.
func (s *shard) makeRoom(size int) bool {
	saved, budget := 0, 2*len(s.ring)
	limit := len(s.ring) / minBlock
	for s.gapHi-s.gapLo < size || s.blocks >= limit {
		if s.gapHi >= len(s.ring) {
			s.fillGap()
			s.gapLo, s.gapHi = 0, 0
			if budget <= 0 {
				return false
			}
			budget-- // so that an empty ring cannot turn for ever
			continue
		}
		r := s.at(s.gapHi)
		n := int(r.size)
		budget -= n
		switch {
		case budget < 0:
			return false
		case atomic.LoadInt32(&r.holds) > 0:
			s.fillGap()
			s.gapLo = s.gapHi + n
		case r.state == found|used && saved < maxSaved:
			r.state = found
			s.slide(r)
			s.gapLo += n
			saved++
		case r.state&found != 0:
			s.remove(r)
			s.evictions++
		}
		s.gapHi += n
	}
	return true
}

// fillGap makes a record of the gap, so that the ring is whole when the gap goes elsewhere.
func (s *shard) fillGap() {
	if n := s.gapHi - s.gapLo; n > 0 {
		*s.at(s.gapLo) = record{size: uint32(n), state: filler}
	}
}

// slide moves the record behind the gap to the gap's near end.
func (s *shard) slide(r *record) {
	if s.gapLo == s.gapHi {
		return
	}
	i, ok := s.lookup(hash(r.file, r.offset), r.file, r.offset)
	if !ok {
		panic("cache: a block is not in its index")
	}
	copy(s.ring[s.gapLo:], s.ring[s.gapHi:s.gapHi+int(r.size)])
	s.index[i] = s.index[i]>>32<<32 | uint64(s.gapLo/align+1)
}

// remove takes a record out of the index.
func (s *shard) remove(r *record) {
	i, ok := s.lookup(hash(r.file, r.offset), r.file, r.offset)
	if !ok {
		panic("cache: a block is not in its index")
	}
	s.delete(i)
	r.state = hidden
	s.blocks--
	s.bytes -= int64(r.size)
}

func (s *shard) evictFile(file uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var doomed []*record
	for _, x := range s.index {
		if x != 0 {
			if r := s.at(place(x)); r.file == file {
				doomed = append(doomed, r)
			}
		}
	}
	for _, r := range doomed {
		s.remove(r)
	}
}

func (s *shard) addMetrics(m *Metrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Hits += s.hits
	m.Misses += s.misses
	m.Evictions += s.evictions
	m.Uncached += s.uncached
	m.Blocks += int64(s.blocks)
	m.Bytes += s.bytes
}
