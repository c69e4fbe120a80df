package hlc

import (
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// epoch is the physical time at which tests begin.
var epoch = time.UnixMilli(1_700_000_000_000)

// host is the world of a clock: a physical clock to set and a bound on disk.
type host struct {
	physical time.Time
	bound    Timestamp
	writes   int
	err      error
}

func (h *host) clock() *Clock {
	return New(Options{
		Now:      func() time.Time { return h.physical },
		Reserved: h.bound,
		Reserve: func(upTo Timestamp) error {
			if h.err != nil {
				return h.err
			}
			if upTo <= h.bound {
				panic("bound does not grow")
			}
			h.bound = upTo
			h.writes++
			return nil
		},
	})
}

func mustNow(t *testing.T, c *Clock) Timestamp {
	t.Helper()
	ts, err := c.Now()
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

func TestTimestampParts(t *testing.T) {
	ts := FromTime(epoch) + 7
	if ts.Millis() != 1_700_000_000_000 || ts.Logic() != 7 || !ts.Time().Equal(epoch) || ts.String() != "1700000000000.7" {
		t.Fatalf("parts of %x: %d, %d, %v, %s", uint64(ts), ts.Millis(), ts.Logic(), ts.Time(), ts)
	}
	for ms, want := range map[int64]Timestamp{-5: 0, 0: 0, 1: 1 << 16, math.MaxInt64: MaxTimestamp &^ 0xffff} {
		if got := FromMillis(ms); got != want {
			t.Errorf("FromMillis(%d) = %x, want %x", ms, uint64(got), uint64(want))
		}
	}
}

func TestNowFollowsThePhysicalClock(t *testing.T) {
	h := &host{physical: epoch}
	c := h.clock()
	first := mustNow(t, c)
	if first != FromTime(epoch) {
		t.Fatalf("first %v", first)
	}
	if second := mustNow(t, c); second != first+1 {
		t.Fatalf("same millisecond: %v after %v", second, first)
	}
	h.physical = epoch.Add(-time.Hour)
	if third := mustNow(t, c); third != first+2 {
		t.Fatalf("physical clock set back: %v after %v", third, first+1)
	}
	h.physical = epoch.Add(time.Second)
	if fourth := mustNow(t, c); fourth != FromTime(h.physical) {
		t.Fatalf("physical clock ahead again: %v", fourth)
	}
}

func TestLogicCarriesIntoMilliseconds(t *testing.T) {
	c := (&host{physical: epoch}).clock()
	last := mustNow(t, c)
	for range 1<<16 + 10 {
		next := mustNow(t, c)
		if next != last+1 {
			t.Fatalf("%v after %v", next, last)
		}
		last = next
	}
	if last.Millis() != epoch.UnixMilli()+1 {
		t.Fatalf("no carry: %v", last)
	}
}

func TestObserve(t *testing.T) {
	tests := []struct {
		name    string
		offset  time.Duration
		refused bool
	}{
		{"behind", -time.Hour, false},
		{"equal", 0, false},
		{"within the limit", 500 * time.Millisecond, false},
		{"over the limit", 501 * time.Millisecond, true},
		{"ten minutes", 10 * time.Minute, true},
		{"ten thousand years", math.MaxInt64, true},
	}
	for _, test := range tests {
		h := &host{physical: epoch}
		c := h.clock()
		before := mustNow(t, c)
		remote := FromTime(epoch.Add(test.offset)) + 3
		if test.offset == math.MaxInt64 {
			remote = MaxTimestamp
		}
		seen, err := c.After(remote)
		if !test.refused {
			if err != nil || seen <= max(remote, before) {
				t.Errorf("%s: %v, %v after %v", test.name, seen, err, remote)
			}
			continue
		}
		ahead, ok := errors.AsType[*AheadError](err)
		if !ok || ahead.Remote != remote || ahead.Ahead <= ahead.Max || ahead.Error() == "" {
			t.Errorf("%s: error %v", test.name, err)
		}
		if next := mustNow(t, c); next != before+1 {
			t.Errorf("%s: the refused clock moved ours to %v", test.name, next)
		}
	}
}

func TestObserveTakesWhatItIssuedItself(t *testing.T) {
	h := &host{physical: epoch, bound: FromTime(epoch.Add(time.Minute))}
	c := h.clock()
	own := mustNow(t, c)
	if err := c.Observe(own); err != nil {
		t.Fatalf("own timestamp after a restart: %v", err)
	}
	if err := c.Observe(own + 1); err == nil {
		t.Fatal("a minute ahead and not our own was taken")
	}
}

func TestRestartBeginsAboveTheBound(t *testing.T) {
	h := &host{physical: epoch}
	issued := map[Timestamp]bool{}
	last := Timestamp(0)
	for life := range 20 {
		c := h.clock()
		for range 50 {
			ts := mustNow(t, c)
			if issued[ts] || ts <= last || ts > h.bound {
				t.Fatalf("life %d: %v after %v, bound %v", life, ts, last, h.bound)
			}
			issued[ts], last = true, ts
			h.physical = h.physical.Add(100 * time.Millisecond)
		}
		h.physical = h.physical.Add(-time.Duration(life) * time.Second)
	}
}

func TestLead(t *testing.T) {
	h := &host{physical: epoch}
	mustNow(t, h.clock())
	c := h.clock()
	if lead := c.Lead(); lead != DefaultWindow {
		t.Fatalf("lead %v right after a kill", lead)
	}
	h.physical = epoch.Add(DefaultWindow + time.Millisecond)
	if lead := c.Lead(); lead != 0 {
		t.Fatalf("lead %v a window later", lead)
	}
}

func TestExtendKeepsReserveOutOfNow(t *testing.T) {
	h := &host{physical: epoch}
	c := h.clock()
	if !c.Low() {
		t.Fatal("a new clock is not low")
	}
	for range 1000 {
		if c.Low() {
			if err := c.Extend(); err != nil {
				t.Fatal(err)
			}
		}
		writes := h.writes
		mustNow(t, c)
		if h.writes != writes {
			t.Fatal("Now wrote a bound")
		}
		h.physical = h.physical.Add(DefaultWindow / 20)
	}
	if h.writes > 1000/9 {
		t.Fatalf("%d bounds for %d windows", h.writes, 1000/20)
	}
	if err := c.Extend(); err != nil || h.writes > 1000/9 {
		t.Fatal("Extend writes when it need not")
	}
}

func TestReserveFails(t *testing.T) {
	h := &host{physical: epoch, err: errors.New("disk full")}
	c := h.clock()
	if ts, err := c.Now(); !errors.Is(err, h.err) || ts != 0 {
		t.Fatalf("%v, %v", ts, err)
	}
	h.err = nil
	mustNow(t, c)
	h.err = errors.New("disk full")
	mustNow(t, c)
	h.physical = h.physical.Add(time.Hour)
	if _, err := c.Now(); !errors.Is(err, h.err) {
		t.Fatalf("beyond the bound: %v", err)
	}
}

// A kept clock leaves the disk to its keeper: who needs a timestamp beyond the bound
// waits a moment for all together, and is refused until the keeper is done.
func TestAKeptClockWaitsForNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var takes atomic.Int64
		var isFull atomic.Bool
		full := errors.New("full")
		c := New(Options{Kept: true, Reserve: func(Timestamp) error {
			if isFull.Load() {
				return full
			}
			time.Sleep(time.Duration(takes.Load()))
			return nil
		}})
		quit := make(chan struct{})
		var keeper sync.WaitGroup
		keeper.Go(func() {
			for {
				select {
				case <-quit:
					return
				case <-c.Wanted():
				case <-time.After(c.UntilLow() + DefaultWindow/16):
				}
				_ = c.Extend()
			}
		})
		defer keeper.Wait()
		defer close(quit)
		mustNow(t, c) // it waits for a disk that is fast
		time.Sleep(time.Hour)
		mustNow(t, c)

		takes.Store(int64(2 * time.Second))
		refused := 0
		for i := range 200 {
			time.Sleep(100 * time.Millisecond)
			began := time.Now()
			if _, err := c.Now(); err != nil {
				if refused++; !errors.Is(err, ErrReserving) || i > 60 { // after that more is reserved
					t.Fatal(err)
				}
			}
			if waited := time.Since(began); waited > patience {
				t.Fatalf("waited for %v", waited)
			}
		}
		if refused == 0 {
			t.Error("a disk that is slower than what was reserved")
		}

		takes.Store(0)
		time.Sleep(time.Minute)
		isFull.Store(true)
		time.Sleep(time.Minute)
		if _, err := c.Now(); !errors.Is(err, full) {
			t.Errorf("on a full disk: %v", err)
		}
	})
}

func TestExhausted(t *testing.T) {
	c := New(Options{Reserved: MaxTimestamp})
	if _, err := c.Now(); !errors.Is(err, ErrExhausted) {
		t.Fatal(err)
	}
}

func TestConcurrentNowIsUnique(t *testing.T) {
	var bound atomic.Uint64
	c := New(Options{Window: time.Millisecond, Reserve: func(upTo Timestamp) error {
		if uint64(upTo) <= bound.Swap(uint64(upTo)) {
			return errors.New("bound does not grow")
		}
		return nil
	}})
	const goroutines, each = 8, 5000
	all := make([]Timestamp, goroutines*each)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			mine := all[g*each : (g+1)*each]
			for i := range mine {
				ts, err := c.Now()
				if err != nil || uint64(ts) > bound.Load() || i > 0 && ts <= mine[i-1] {
					t.Errorf("%v, %v", ts, err)
					return
				}
				mine[i] = ts
				if i%100 == 0 {
					if err := c.Observe(ts + 1000); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if len(slices.Compact(all)) != goroutines*each {
		t.Fatal("a timestamp was issued twice")
	}
}

func TestNowAllocatesNothing(t *testing.T) {
	c := New(Options{Reserve: func(Timestamp) error { return nil }})
	if n := testing.AllocsPerRun(1000, func() {
		ts, _ := c.Now()
		_ = c.Observe(ts)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkNow(b *testing.B) {
	c := New(Options{Reserve: func(Timestamp) error { return nil }})
	b.ReportAllocs()
	for b.Loop() {
		_, _ = c.Now()
	}
}

// TestReadingOfTheCaller: the system's clock is not read again, another one is.
func TestReadingOfTheCaller(t *testing.T) {
	now := time.UnixMilli(5_000_000_000_000) // far from what the system says
	c := New(Options{})
	if got := c.Present(now); got != FromTime(now) {
		t.Errorf("present is %v, not %v", got, FromTime(now))
	}
	if age := c.Age(FromTime(now), now.Add(time.Second)); age != time.Second {
		t.Errorf("an age of %v", age)
	}
	first, err := c.AfterAt(0, now)
	if err != nil || first != FromTime(now) {
		t.Errorf("%v, %v", first, err)
	}
	if next, err := c.AfterAt(0, now.Add(-time.Hour)); err != nil || next <= first {
		t.Errorf("%v after %v, %v", next, first, err)
	}
	own := now.Add(time.Hour)
	c = New(Options{Now: func() time.Time { return own }})
	if got := c.Present(now); got != FromTime(own) {
		t.Errorf("present is %v, not %v", got, FromTime(own))
	}
	if got, err := c.AfterAt(0, now); err != nil || got != FromTime(own) {
		t.Errorf("%v, %v", got, err)
	}
}
