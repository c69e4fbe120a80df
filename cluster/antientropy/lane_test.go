package antientropy

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// With clients slices come one at a time, and rest in between for as long as the part of a
// processor says that is left to them.
func TestSlicesGiveWayToClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients, busy := true, false
		l := newLane(func() bool { return clients }, func() bool { return busy })
		running, most := 0, 0
		var mu sync.Mutex
		slice := func() error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}
		took := func(n int) time.Duration {
			began, most0 := time.Now(), 0
			most = most0
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					if err := l.run(t.Context(), slice); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		if got := took(10); got != 10*time.Millisecond+9*restTimes*time.Millisecond || most != 1 {
			t.Errorf("10 slices took %v, %d at a time", got, most)
		}
		time.Sleep(longestRest)
		busy = true
		if got := took(10); got != 10*time.Millisecond+9*restBusy*time.Millisecond || most != 1 {
			t.Errorf("10 slices of a busy node took %v, %d at a time", got, most)
		}
		clients, busy = false, false
		if got := took(10 * cap(l.all)); got != 10*time.Millisecond || most != cap(l.all) {
			t.Errorf("%d slices of an idle node took %v, %d at a time", 10*cap(l.all), got, most)
		}
	})
}

// Who waits in the lane and is told to end leaves it to the others.
func TestTheLaneIsLeftByWhoEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(func() bool { return true }, func() bool { return false })
		boom := errors.New("boom")
		if err := l.run(t.Context(), func() error { time.Sleep(time.Hour); return boom }); !errors.Is(err, boom) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.run(ctx, func() error { return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		began := time.Now()
		if err := l.run(t.Context(), func() error { return nil }); err != nil || time.Since(began) != longestRest {
			t.Errorf("%v after %v, want %v: a slice that took an hour rests no longer", err, time.Since(began), longestRest)
		}
	})
}
