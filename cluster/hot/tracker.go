package hot

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"kvstore/cluster/ring"
)

const (
	// HalfLife is after how long a request counts half.
	HalfLife = 5 * time.Second
	// SamplesPerSecond is how many requests of a stream are looked at when there are more: a key of a
	// hundredth of them is known to a tenth or so, for a thousandth of a processor or two.
	SamplesPerSecond = 2000
	// strideFor is how long a stride holds at least, unless it is too small.
	strideFor = 200 * time.Millisecond
	// maxStride bounds how many requests one sample stands for.
	maxStride = 1 << 14
	// leastSeconds keeps rates from being made of a moment.
	leastSeconds = 1.0
)

// What makes a key hot among the reads that a node coordinates. It stays so above half of either. A key
// below that is no burden to the few replicas that are asked for it, and is better kept in the memory of
// these than of all.
const (
	EnterRate  = 100.0    // reads a second
	EnterShare = 1.0 / 64 // of all reads
)

// Tracker follows the requests of a node.
type Tracker struct {
	Reads, Writes Stream
	hot           atomic.Pointer[set]
	enter         float64 // EnterRate, or what New was told
	mu            sync.Mutex
	scratch       []ring.Token // guarded by mu: of the last Tick
}

// Stream follows the reads or the writes of a node, which its caller numbers from 1 on.
type Stream struct {
	next atomic.Uint64 // the number of the request that is the next sample; changes under mu
	mu   sync.Mutex
	// The fields below are guarded by mu.
	base    uint64 // where the stretch begins that the next sample stands for
	length  uint64 // of that stretch
	stride  uint64 // the length of those to come
	random  uint64
	taken   int    // samples since Tick, or since the stride was doubled
	seen    uint64 // requests when the stride was chosen
	chosen  time.Time
	last    time.Time // when what was counted last faded
	seconds float64   // time in which requests were counted, decayed as they are
	keys    *Summary
	parts   []float64 // by partition
}

// New returns a Tracker whose samples follow from seed. A key is hot from so many reads a second on; 0 is
// EnterRate.
func New(seed uint64, enter float64) *Tracker {
	if enter == 0 {
		enter = EnterRate
	}
	t := &Tracker{enter: enter}
	for i, s := range t.streams() {
		s.keys, s.random, s.base, s.stride = NewSummary(counters), seed+uint64(i), 1, 1
		s.length = 1
		s.next.Store(1)
	}
	return t
}

func (t *Tracker) streams() [2]*Stream { return [2]*Stream{&t.Reads, &t.Writes} }

// Due reports whether a request is to be sampled.
func (s *Stream) Due(n uint64) bool { return n >= s.next.Load() }

// Sample counts the request with number n, of a partition, for those since the last sample. Where two
// are due at once, the later is left out.
func (s *Stream) Sample(n uint64, token ring.Token, part ring.Partition, db uint8, key []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Due(n) {
		return
	}
	s.base += s.length
	weight := float64(s.length)
	if s.base <= n { // others were due before, and have not come here
		weight += float64(n + 1 - s.base)
		s.base = n + 1
	}
	s.keys.Add(token, db, key, weight)
	for int(part) >= len(s.parts) {
		s.parts = append(s.parts, 0)
	}
	s.parts[part] += weight
	if s.taken++; s.taken >= SamplesPerSecond && s.stride < maxStride {
		s.stride, s.taken = 2*s.stride, 0 // the rate has grown; Tick would be too late
	}
	s.draw()
}

// draw chooses the next sample. The caller holds mu.
func (s *Stream) draw() {
	// splitmix64 (Steele, Lea, Flood, 2014)
	s.random += 0x9e3779b97f4a7c15
	x := s.random
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	s.length = s.stride
	s.next.Store(s.base + (x^x>>31)%s.length)
}

// tick lets what was counted fade until now, when n requests had begun, and chooses the stride. The caller
// holds mu.
func (s *Stream) tick(now time.Time, n uint64) {
	passed := now.Sub(s.last).Seconds()
	if s.last.IsZero() || passed < 0 {
		s.last, s.chosen, s.seen = now, now, n
		return
	}
	factor := math.Exp2(-passed / HalfLife.Seconds())
	s.keys.Decay(factor)
	for i := range s.parts {
		s.parts[i] *= factor
	}
	s.seconds = (s.seconds + passed) * factor
	s.last = now
	if passed = now.Sub(s.chosen).Seconds(); passed < strideFor.Seconds() {
		return // the rate of a moment says nothing
	}
	stride := uint64(min(max(math.Ceil(float64(n-s.seen)/passed/SamplesPerSecond), 1), maxStride))
	s.chosen, s.seen, s.taken = now, n, 0
	if stride < s.stride { // the next sample may be far away
		s.base, s.stride = n+1, stride
		s.draw()
	}
	s.stride = stride
}

// rate turns what was counted into a rate a second. The caller holds mu.
func (s *Stream) rate(count float64) float64 { return count / max(s.seconds, leastSeconds) }

// Tick is to be called a few times a second, with the number of reads and writes so far: what was counted
// fades, and who is hot is looked at again.
func (t *Tracker) Tick(now time.Time, reads, writes uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Writes.mu.Lock()
	t.Writes.tick(now, writes)
	t.Writes.mu.Unlock()
	before := t.hot.Load()
	s := &t.Reads
	s.mu.Lock()
	s.tick(now, reads)
	t.scratch = t.scratch[:0]
	total := s.keys.Total()
	s.keys.Keys(total*EnterShare/2, func(k Key) {
		sure, need := k.Count-k.Err, 1.0
		if before.has(k.Token) {
			need = 0.5
		}
		if sure >= need*EnterShare*total && s.rate(sure) >= need*t.enter {
			t.scratch = append(t.scratch, k.Token)
		}
	})
	s.mu.Unlock()
	if !before.is(t.scratch) {
		t.hot.Store(newSet(t.scratch))
	}
}

// Hot reports whether the key of a token is hot among the reads.
func (t *Tracker) Hot(token ring.Token) bool { return t.hot.Load().has(token) }

// HotKeys returns how many keys are.
func (t *Tracker) HotKeys() int { return t.hot.Load().len() }

// Bytes returns the memory of a tracker of a ring with so many partitions, the most it takes.
func Bytes(partitions int) int {
	summary := int(unsafe.Sizeof(Summary{})) + counters*(int(unsafe.Sizeof(entry{}))+KeyShown+2) + 2*2*counters
	hotKeys := int(2 / EnterShare)
	sets := 2 * 8 * (4*2*hotKeys + hotKeys) // the one there is, and the one that replaces it
	parts := 8 * 2 * partitions             // append doubles at most
	return int(unsafe.Sizeof(Tracker{})) + 2*(summary+parts) + sets
}
