package hot

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
	"unsafe"

	"kvstore/cluster/ring"
)

const partitions = 256

func partOf(token ring.Token) ring.Partition { return ring.Partition(token.Slot() >> 6) }

// load is a stream of requests at a Tracker, by a clock of its own.
type load struct {
	*Tracker
	now           time.Time
	reads, writes uint64
}

func newLoad() *load {
	l := &load{Tracker: New(1, 0), now: time.Unix(1000, 0)}
	l.tick()
	return l
}

func (l *load) tick() { l.Tick(l.now, l.reads, l.writes) }

func (l *load) read(n uint64) {
	l.reads++
	if l.Reads.Due(l.reads) {
		token, name := keyOf(n)
		l.Reads.Sample(l.reads, token, partOf(token), 0, name)
	}
}

func (l *load) write(n uint64) {
	l.writes++
	if l.Writes.Due(l.writes) {
		token, name := keyOf(n)
		l.Writes.Sample(l.writes, token, partOf(token), 0, name)
	}
}

// pass lets time pass, four ticks a second, in which a second has so many requests.
func (l *load) pass(d time.Duration, perSecond int, request func()) {
	const every = 250 * time.Millisecond
	for ; d > 0; d -= every {
		for range perSecond / 4 {
			request()
		}
		l.now = l.now.Add(every)
		l.tick()
	}
}

// rateOf returns what is reported of a key.
func rateOf(r *Report, n uint64) KeyRate {
	token, _ := keyOf(n)
	for _, k := range r.Keys {
		if k.Token == token {
			return k
		}
	}
	return KeyRate{}
}

func near(got, want, apart float64) bool { return math.Abs(got-want) <= apart*want }

// Rates hold whatever the load is: each is known to a few hundredths, from all requests or from a sample.
func TestRates(t *testing.T) {
	for _, perSecond := range []int{40, 400, 8000, 40_000} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) {
			l, r := newLoad(), rand.New(rand.NewPCG(uint64(perSecond), 1))
			l.pass(6*time.Second, perSecond, func() {
				switch n := r.IntN(10); {
				case n < 2:
					l.read(1 << 50) // a fifth
				case n < 3:
					l.write(1 << 51) // a tenth
				default:
					l.read(r.Uint64N(1e6))
				}
			})
			got, all := l.Report(l.now, l.reads, l.writes), float64(perSecond)
			hot, written := rateOf(got, 1<<50), rateOf(got, 1<<51)
			apart := 0.1 + 3/math.Sqrt(min(all, SamplesPerSecond)) // by chance, and by the errors of the counters
			if !near(hot.Reads, 0.2*all, apart) || hot.Writes != 0 || !near(written.Writes, 0.1*all, apart) || written.Reads != 0 {
				t.Errorf("of %v a second: %v reads, not a fifth; %v writes, not a tenth", all, hot.Reads, written.Writes)
			}
			if !near(got.Reads, 0.9*all, 0.05+apart) || !near(got.Writes, 0.1*all, 0.05+apart) {
				t.Errorf("%v reads and %v writes a second of %v", got.Reads, got.Writes, all)
			}
			token, _ := keyOf(1 << 50)
			if p := got.Partitions[0]; p.Partition != partOf(token) || !near(p.Reads, (0.2+0.7/partitions)*all, apart) {
				t.Errorf("the busiest partition is %v, with %v reads", p.Partition, p.Reads)
			}
			if got.Keys[0].Token != token {
				t.Errorf("the first key is %s", got.Keys[0].Name)
			}
			per := float64(l.Reads.stride)
			if want := max(1, 0.9*all/SamplesPerSecond); per < want/2 || per > 2*want+1 {
				t.Errorf("one of %v reads is sampled at %v a second", per, all)
			}
		})
	}
}

// A pipeline that repeats itself is not met at the same place again and again.
func TestSamplingDoesNotAlias(t *testing.T) {
	for _, length := range []uint64{2, 10, 16, 100} {
		l := newLoad()
		next := uint64(0)
		l.pass(6*time.Second, 20_000, func() { next++; l.read(next % length) })
		r := l.Report(l.now, l.reads, l.writes)
		for i := range length {
			if k := rateOf(r, i); !near(k.Reads, 2e4/float64(length), 0.4) {
				t.Errorf("command %d of %d: %.0f a second, not %d", i, length, k.Reads, 20_000/length)
			}
		}
	}
}

func TestWhatWasHotFades(t *testing.T) {
	l, r := newLoad(), rand.New(rand.NewPCG(1, 1))
	token, _ := keyOf(7)
	l.pass(10*time.Second, 4000, func() { l.read(7) })
	if !l.Hot(token) || l.HotKeys() != 1 {
		t.Fatal("the only key that is read is not hot")
	}
	before := rateOf(l.Report(l.now, l.reads, l.writes), 7).Reads
	l.pass(HalfLife, 4000, func() { l.read(1000 + r.Uint64N(1e6)) })
	after := rateOf(l.Report(l.now, l.reads, l.writes), 7).Reads
	if !near(after, before/2, 0.15) {
		t.Errorf("%v reads a second, %v after a half-life", before, after)
	}
	l.pass(12*HalfLife, 4000, func() { l.read(1000 + r.Uint64N(1e6)) })
	if k := rateOf(l.Report(l.now, l.reads, l.writes), 7); k.Reads > 10 || l.Hot(token) {
		t.Errorf("a minute later: %v reads a second, hot: %v", k.Reads, l.Hot(token))
	}
	// A key that becomes hot is so within a second; when nothing is read any more, nothing is hot.
	l.pass(time.Second, 4000, func() { l.read(8 + r.Uint64N(2)) })
	if l.HotKeys() != 2 {
		t.Errorf("%d keys are hot after a second", l.HotKeys())
	}
	l.pass(10*HalfLife, 0, nil)
	if l.HotKeys() != 0 {
		t.Errorf("%d keys are hot when nothing is read", l.HotKeys())
	}
}

// A key at the threshold does not go in and out: it leaves at half of what makes it hot.
func TestHotKeysStay(t *testing.T) {
	l, r := newLoad(), rand.New(rand.NewPCG(1, 1))
	token, _ := keyOf(7)
	mixed := func(share float64) func() {
		return func() {
			if r.Float64() < share {
				l.read(7)
			} else {
				l.read(1000 + r.Uint64N(1e6))
			}
		}
	}
	for _, step := range []struct {
		share float64
		hot   bool
	}{{0.7 * EnterShare, false}, {1.6 * EnterShare, true}, {0.75 * EnterShare, true}, {0.3 * EnterShare, false}, {0.7 * EnterShare, false}} {
		l.pass(4*HalfLife, 8000, mixed(step.share))
		if l.Hot(token) != step.hot {
			t.Errorf("with %.4f of all reads a key is hot: %v", step.share, l.Hot(token))
		}
	}
	quiet := newLoad()
	quiet.pass(10*HalfLife, 40, func() { quiet.read(7) })
	if quiet.Hot(token) {
		t.Error("a key that is read 40 times a second is hot")
	}
}

// The samples a second are bounded at once when a load begins, and few requests are looked at when it has ended.
func TestTheSampleFollowsTheLoad(t *testing.T) {
	l := newLoad()
	samples := 0
	for range 200_000 { // before the first tick
		l.reads++
		if l.Reads.Due(l.reads) {
			samples++
			l.Reads.Sample(l.reads, 1, 0, 0, nil)
		}
	}
	if samples > 8*SamplesPerSecond {
		t.Errorf("%d samples of 200,000 requests that came at once", samples)
	}
	if total := l.Reads.keys.Total(); !near(total, 2e5, 0.01) {
		t.Errorf("they count for %v", total)
	}
	l.pass(time.Second, 0, nil)
	l.read(5)
	if l.reads == 0 || l.Reads.stride != 1 {
		t.Errorf("one of %d is sampled of a load that has ended", l.Reads.stride)
	}
}

// Who looks just after a burst sees all of it.
func TestLookingChangesNothing(t *testing.T) {
	l := newLoad()
	l.pass(time.Second, 100, func() { l.read(1) })
	for range 5 {
		for range 100 {
			l.read(2)
		}
		l.now = l.now.Add(time.Microsecond)
		if k := rateOf(l.Report(l.now, l.reads, l.writes), 2); k.Reads < 50 || l.Reads.stride != 1 {
			t.Fatalf("%v reads a second, one of %d is looked at", k.Reads, l.Reads.stride)
		}
	}
}

// A clock that stands still or goes back changes nothing but itself.
func TestOddClocks(t *testing.T) {
	l := newLoad()
	l.pass(2*time.Second, 1000, func() { l.read(1) })
	want := l.Report(l.now, l.reads, l.writes).Reads
	for _, now := range []time.Time{l.now, l.now, l.now.Add(-time.Hour), l.now.Add(-time.Hour)} {
		if got := l.Report(now, l.reads, l.writes).Reads; got != want || math.IsNaN(got) {
			t.Errorf("%v reads a second, not %v", got, want)
		}
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	l := newLoad()
	long := bytes.Repeat([]byte("k"), 1<<20)
	for i := range uint64(20_000) {
		token := ring.Token(i * 0x9e3779b97f4a7c15 >> 2)
		l.reads, l.writes = l.reads+1, l.writes+1
		l.Reads.Sample(l.reads, token, partOf(token), 0, long)
		l.Writes.Sample(l.writes, token, partOf(token), 0, long)
	}
	took := int(unsafe.Sizeof(*l.Tracker))
	for _, s := range l.streams() {
		k := s.keys
		took += int(unsafe.Sizeof(*k)) + cap(k.entries)*int(unsafe.Sizeof(entry{})) + cap(k.names) + 2*cap(k.heap) + 2*cap(k.slots) + 8*cap(s.parts)
	}
	if bound := Bytes(partitions); took > bound || bound > 400<<10 {
		t.Errorf("a tracker takes %d bytes, %d at most", took, bound)
	}
}

func TestRequestsAllocateNothing(t *testing.T) {
	l := newLoad()
	names := make([][]byte, 4096)
	for i := range names {
		_, names[i] = keyOf(uint64(i))
	}
	l.pass(time.Second, 8000, func() { l.read(l.reads % 4096) })
	i := uint64(0)
	if n := testing.AllocsPerRun(5000, func() {
		i++
		l.reads++
		if name := names[i*7%4096]; l.Reads.Due(l.reads) {
			l.Reads.Sample(l.reads, ring.Token(i*0x9e3779b97f4a7c15), ring.Partition(i%partitions), 0, name)
		}
		l.Hot(ring.Token(i))
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

// Requests come from all goroutines while others look.
func TestConcurrency(t *testing.T) {
	tracker, now := New(1, 0), time.Unix(1000, 0)
	var numbers sync.Mutex
	var n uint64
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for i := range uint64(5000) {
				numbers.Lock()
				n++
				own := n
				numbers.Unlock()
				if tracker.Reads.Due(own) {
					token, name := keyOf(i % (g + 2))
					tracker.Reads.Sample(own, token, partOf(token), 0, name)
				}
				tracker.Hot(ring.Token(i))
			}
		})
	}
	wg.Go(func() {
		for i := range 200 {
			numbers.Lock()
			seen := n
			numbers.Unlock()
			tracker.Tick(now.Add(time.Duration(i)*time.Millisecond), seen, 0)
			tracker.Report(now.Add(time.Duration(i)*time.Millisecond), seen, 0)
		}
	})
	wg.Wait()
	if r := tracker.Report(now.Add(time.Second), n, 0); len(r.Keys) == 0 {
		t.Error("nothing was counted")
	}
}

// BenchmarkRequest is what a request pays: beside nothing, and beside the counting that is there anyhow.
func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct {
		name    string
		follows bool
	}{{"counted", false}, {"counted and sampled", true}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLoad()
			l.pass(2*time.Second, 200_000, func() { l.read(l.reads) })
			token, name := keyOf(1)
			b.ReportAllocs()
			for b.Loop() {
				l.reads++
				if c.follows && l.Reads.Due(l.reads) {
					l.Reads.Sample(l.reads, token, 1, 0, name)
				}
			}
		})
	}
}

func BenchmarkSample(b *testing.B) {
	for _, c := range []struct {
		name string
		keys uint64
	}{{"known keys", 100}, {"new keys", 1 << 40}} {
		b.Run(c.name, func(b *testing.B) {
			s, r, name := NewSummary(counters), rand.New(rand.NewPCG(1, 1)), []byte("user:1234:profile")
			b.ReportAllocs()
			for b.Loop() {
				s.Add(ring.Token(r.Uint64N(c.keys)*0x9e3779b97f4a7c15>>9), 0, name, 1)
			}
		})
	}
}

func BenchmarkTick(b *testing.B) {
	l, r := newLoad(), rand.New(rand.NewPCG(1, 1))
	l.pass(2*time.Second, 8000, func() { l.read(r.Uint64N(1000)) })
	b.ReportAllocs()
	for b.Loop() {
		l.now = l.now.Add(time.Microsecond)
		l.tick()
	}
}
