package coordinator

import (
	"testing"
	"time"
)

func TestTimeoutsChange(t *testing.T) {
	c := New(Options{})
	t.Cleanup(c.Close)
	expect := func(l Levels, write bool, want time.Duration) {
		t.Helper()
		if _, got := c.levels(l, write); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	expect(Levels{}, false, 500*time.Millisecond)
	expect(Levels{}, true, time.Second)
	c.SetTimeouts(2*time.Second, 3*time.Second)
	expect(Levels{}, false, 2*time.Second)
	expect(Levels{}, true, 3*time.Second)
	expect(Levels{Timeout: time.Minute}, true, time.Minute)
}
