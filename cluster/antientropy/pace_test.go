package antientropy

import (
	"testing"
	"testing/synctest"
	"time"
)

// Repair halves its pace with every failure and while clients need the node, keeps
// a part of it, and is at its full pace again soon after.
func TestThePaceHalvesAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := false
		const full = 64 << 20
		p := newPacer(full, func() bool { return busy })
		step := func() float64 {
			time.Sleep(paceEvery)
			if !p.take(t.Context(), 1) {
				t.Fatal("it was stopped")
			}
			return p.rate
		}
		if got := step(); got != full {
			t.Fatalf("it begins with %v", got)
		}
		busy = true
		for want := full / 2.0; want > full/slowest/4; want /= 2 {
			if got := step(); got != max(want, full/slowest) {
				t.Errorf("busy: %v, want %v", got, max(want, full/slowest))
			}
		}
		busy = false
		for range 16 {
			step()
		}
		if p.rate != full {
			t.Errorf("afterwards: %v", p.rate)
		}
		p.failed()
		p.failed()
		if p.rate != full/4 {
			t.Errorf("after two failures: %v", p.rate)
		}
		began := time.Now()
		p.take(t.Context(), full)
		if took := time.Since(began); took < 3*time.Second {
			t.Errorf("a second's work at a quarter of the pace took %v", took)
		}
	})
}
