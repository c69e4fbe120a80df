package replica

import (
	"context"
	"errors"
	"testing"

	"kvstore/cluster/ring"
)

// Drain waits for what was parked before, and only in its range.
func TestDrainWaitsForWhatIsParked(t *testing.T) {
	d := newDisk()
	r := New(d, Options{Workers: 1})
	defer r.Close()
	k := named("k", 7*stripes)
	if err := apply(t, r, k, 1, "0"); err != nil {
		t.Fatal(err)
	}
	release := d.chill()
	stored := make(chan error, 1)
	r.Do(&change{key: k, at: 2, text: "1", done: func(err error) { stored <- err }})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Drain(ended, 0, ring.TokenEnd); !errors.Is(err, context.Canceled) {
		t.Errorf("it did not wait: %v", err)
	}
	if err := r.Drain(t.Context(), 0, k.Token); err != nil {
		t.Errorf("beside the range: %v", err)
	}
	release()
	if err := r.Drain(t.Context(), k.Token, k.Token+1); err != nil {
		t.Error(err)
	}
	select {
	case err := <-stored:
		if err != nil {
			t.Error(err)
		}
	default:
		t.Error("the task had not ended")
	}
}

// What is abandoned is not counted any more, unless the drop failed.
func TestWhatIsAbandonedIsNotCounted(t *testing.T) {
	r := New(newDisk(), Options{Workers: 1})
	defer r.Close()
	here, there := named("a", 5<<slotShift), named("b", 6<<slotShift)
	for _, k := range []Key{here, there} {
		if err := apply(t, r, k, 1, "v"); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int64 {
		n, err := r.Count(t.Context(), 0, 0, ring.Slots-1)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	failure := errors.New("not now")
	if err := r.Abandon(5, 5, func() error { return failure }); !errors.Is(err, failure) || count() != 2 {
		t.Error(err, count())
	}
	if err := r.Abandon(5, 5, func() error { return nil }); err != nil || count() != 1 {
		t.Error(err, count())
	}
}
