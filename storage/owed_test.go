package storage

import (
	"errors"
	"math"
	"testing"
	"time"

	"kvstore/storage/vfs"
)

// What writers owe who pace themselves is told by Owed, and no write rests.
func TestOwed(t *testing.T) {
	d, err := Open("db", Options{FS: vfs.NewMem(), SelfPaced: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	owe := func(on bool, paid time.Duration, memtables float64) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.backpressure.on, d.backpressure.paid = on, time.Now().Add(paid)
		d.owe(memtables)
	}
	limit := float64(d.options.MaxImmutable + 1)
	for _, c := range []struct {
		name      string
		on        bool
		paid      time.Duration
		memtables float64
		low, high time.Duration
	}{
		{"no backlog", false, time.Hour, 1, 0, 0},
		{"paid", true, -time.Second, 2, 0, 0},
		{"too little for a rest", true, leastDelay / 2, 2, 0, 0},
		{"a while", true, time.Hour, 2, mostDelay, mostDelay},
		{"at the brim", true, -time.Second, limit - brim/2, mostDelay, mostDelay},
	} {
		owe(c.on, c.paid, c.memtables)
		if got := d.Owed(); got < c.low || got > c.high {
			t.Errorf("%s: owed %v", c.name, got)
		}
	}
	owe(true, time.Hour, 2)
	began := time.Now()
	for range 100 {
		if _, err := d.Set([]byte("k"), []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	if d.Metrics().Delays != 0 {
		t.Errorf("writes rested: %d times in %v", d.Metrics().Delays, time.Since(began))
	}
	d.Rested(time.Second)
	if d.Metrics().Delays != 1 {
		t.Error("a rest is not counted")
	}
	d.owed.Store(math.MaxInt64)
	if err := d.refuse(errors.New("the disk is gone")); err == nil || d.Owed() != 0 {
		t.Errorf("after a refusal, %v, writers rest for %v", err, d.Owed())
	}
}
