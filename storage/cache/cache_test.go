package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
)

// fill writes a pattern that names the block, so that a block which got another's bytes is seen.
func fill(b []byte, file, offset uint64) {
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], file<<32^offset+uint64(i))
	}
}

func intact(b []byte, file, offset uint64) bool {
	for i := 0; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != file<<32^offset+uint64(i) {
			return false
		}
	}
	return true
}

func blockSize(file, offset uint64) int { return int(1 + (file*7919+offset*104729)%9000) }

func load(c *Cache, file, offset uint64) (h Handle, hit bool) {
	if h, ok := c.Get(file, offset); ok {
		return h, true
	}
	h = c.Alloc(file, offset, blockSize(file, offset))
	fill(h.Data(), file, offset)
	return c.Publish(h), false
}

func TestBlocksKeepTheirBytes(t *testing.T) {
	for _, size := range []int64{0, 200 << 10, 3 << 20, offHeapSize} {
		c := New(size)
		r := rand.New(rand.NewPCG(1, uint64(size)))
		type held struct {
			h            Handle
			file, offset uint64
		}
		var pins []held
		for step := range 60_000 {
			file, offset := r.Uint64N(4), r.Uint64N(2000)
			if r.IntN(3) > 0 {
				offset %= 20
			}
			h, _ := load(c, file, offset)
			if len(h.Data()) != blockSize(file, offset) || !intact(h.Data(), file, offset) {
				t.Fatalf("size %d step %d: block %d/%d is wrong", size, step, file, offset)
			}
			pins = append(pins, held{h, file, offset})
			for len(pins) > 12 {
				i := r.IntN(len(pins))
				p := pins[i]
				if !intact(p.h.Data(), p.file, p.offset) {
					t.Fatalf("size %d step %d: held block %d/%d changed", size, step, p.file, p.offset)
				}
				p.h.Release()
				pins[i] = pins[len(pins)-1]
				pins = pins[:len(pins)-1]
			}
			if r.IntN(5000) == 0 {
				c.EvictFile(file)
				if _, ok := c.Get(file, offset); ok {
					t.Fatalf("block %d/%d outlived its file", file, offset)
				}
			}
			if step%1000 == 0 {
				checkRings(t, c)
			}
		}
		for _, p := range pins {
			p.h.Release()
		}
		m := c.Metrics()
		if m.Hits == 0 || m.Misses == 0 || m.Bytes > max(size, 64<<10) {
			t.Errorf("size %d: %+v", size, m)
		}
		c.Close()
	}
}

// checkRings walks every ring and its index.
func checkRings(t *testing.T, c *Cache) {
	t.Helper()
	for i := range c.shards {
		s := &c.shards[i]
		blocks, at := 0, 0
		for at < len(s.ring) {
			if at == s.gapLo && s.gapHi > s.gapLo {
				at = s.gapHi
				continue
			}
			r := s.at(at)
			if r.size == 0 || r.size%align != 0 {
				t.Fatalf("a record of %d bytes at %d", r.size, at)
			}
			if r.state&found != 0 {
				blocks++
				if slot, ok := s.lookup(hash(r.file, r.offset), r.file, r.offset); !ok || place(s.index[slot]) != at {
					t.Fatalf("the index does not have the block at %d", at)
				}
			}
			at += int(r.size)
		}
		if at != len(s.ring) || blocks != s.blocks {
			t.Fatalf("ring of %d ends at %d; %d blocks, counted %d", len(s.ring), at, blocks, s.blocks)
		}
	}
}

func TestHotBlocksStay(t *testing.T) {
	c := New(1 << 20)
	defer c.Close()
	hits := 0
	for i := range uint64(20_000) {
		for hot := range uint64(5) {
			h, hit := load(c, 1, hot)
			if hit {
				hits++
			}
			h.Release()
		}
		h, _ := load(c, 2, i)
		h.Release()
	}
	if hits < 99_900 {
		t.Errorf("blocks in constant use were hit %d times of 100000", hits)
	}
}

func TestEverythingHeld(t *testing.T) {
	c := New(0)
	var pins []Handle
	for i := range uint64(100) {
		h := c.Alloc(1, i, 4000)
		fill(h.Data(), 1, i)
		pins = append(pins, c.Publish(h))
	}
	for i := range pins {
		if !intact(pins[i].Data(), 1, uint64(i)) {
			t.Errorf("block %d changed", i)
		}
		pins[i].Release()
	}
	if m := c.Metrics(); m.Uncached == 0 || m.Bytes > 64<<10 {
		t.Errorf("%+v", m)
	}
	c.Close()
}

func TestSecondPublisherGetsTheFirstBlock(t *testing.T) {
	c := New(0)
	a, b := c.Alloc(1, 2, 10), c.Alloc(1, 2, 10)
	copy(a.Data(), "first")
	copy(b.Data(), "second")
	a = c.Publish(a)
	b = c.Publish(b)
	if string(b.Data()[:5]) != "first" {
		t.Errorf("%q", b.Data())
	}
	a.Release()
	b.Release()
	b.Release() // does nothing
	c.Close()
}

func TestConcurrentUse(t *testing.T) {
	c := New(1 << 20)
	var wg sync.WaitGroup
	for worker := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(worker, 9))
			for range 10_000 {
				file, offset := r.Uint64N(3), r.Uint64N(300)
				h, _ := load(c, file, offset)
				if !intact(h.Data(), file, offset) {
					t.Error("a block is wrong")
				}
				h.Release()
				if r.IntN(1000) == 0 {
					c.EvictFile(file)
				}
			}
		})
	}
	wg.Wait()
	checkRings(t, c)
	c.Close()
}

func BenchmarkHit(b *testing.B) {
	c := New(64 << 20)
	defer c.Close()
	for i := range uint64(10_000) {
		h := c.Alloc(1, i*4096, 4096)
		h = c.Publish(h)
		h.Release()
	}
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i = (i + 7919) % 10_000
		h, ok := c.Get(1, i*4096)
		if !ok {
			b.Fatal("not cached")
		}
		h.Release()
	}
}

func BenchmarkMiss(b *testing.B) {
	c := New(64 << 20)
	defer c.Close()
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		h := c.Alloc(1, i*4096, 4096)
		h = c.Publish(h)
		h.Release()
	}
}

// TestPinned checks that pinned blocks stay where they are, within their share, while the rest of the cache turns.
func TestPinned(t *testing.T) {
	const size = 1 << 20
	c := New(size)
	defer c.Close()
	var pins []Handle
	for _, hot := range []bool{false, true} {
		for i := uint64(len(pins)); ; i++ {
			h, _ := load(c, 1, i)
			if !c.Pin(&h, hot) {
				h.Release()
				break
			}
			pins = append(pins, h)
		}
		limit := int64(size / coldShare)
		if hot {
			limit = size / pinShare
		}
		if n := c.Metrics().Pinned; n > limit || n < limit/2 {
			t.Errorf("hot %v: %d bytes are pinned of %d", hot, n, limit)
		}
	}
	for range 3 {
		for i := range uint64(1000) {
			h, _ := load(c, 2, i)
			h.Release()
		}
		checkRings(t, c)
	}
	if m := c.Metrics(); m.Uncached > 0 || m.Bytes < size/2 {
		t.Errorf("%+v", m)
	}
	for i := range pins {
		if !intact(pins[i].Data(), 1, uint64(i)) {
			t.Errorf("pinned block %d changed", i)
		}
		c.Unpin(&pins[i])
	}
	heap := Heap(10)
	if m := c.Metrics(); m.Pinned != 0 || c.Pin(&heap, true) {
		t.Errorf("a block outside the cache was pinned, or %d bytes are still", m.Pinned)
	}
}

func TestPut(t *testing.T) {
	c := New(0)
	b := make([]byte, 3000)
	for offset := range uint64(100) { // more than there is room for
		fill(b, 1, offset)
		c.Put(1, offset, b)
		h, ok := c.Get(1, offset)
		if !ok || len(h.Data()) != len(b) || !intact(h.Data(), 1, offset) {
			t.Fatalf("block %d is not there as it was put", offset)
		}
		h.Release()
	}
	c.Put(1, 99, []byte("another")) // the first one stays, like that of the first reader
	if h, ok := c.Get(1, 99); !ok || !intact(h.Data(), 1, 99) {
		t.Error("a block was replaced")
	} else {
		h.Release()
	}
	c.Put(2, 0, make([]byte, 1<<20))
	if _, ok := c.Get(2, 0); ok {
		t.Error("a block larger than the cache is in it")
	}
	c.Close()
}
