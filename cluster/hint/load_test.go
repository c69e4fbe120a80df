package hint

import (
	"testing"
	"time"
)

// Clients come before hints, and hints before repair: whatever slows hints stops
// repair from going on as before, and not the other way round.
func TestWhoGivesWayToWhat(t *testing.T) {
	for _, c := range []struct {
		name string
		load Load
		busy bool // repair halves
		rate int  // hints a second, 0 for any
	}{
		{"idle", Load{}, false, 0},
		{"clients", Load{Requests: 5000}, false, busyRate},
		{"many clients", Load{Requests: 5000, Waiting: 1000}, true, busyRate},
		{"late", Load{Requests: 5000, Late: 5 * time.Millisecond}, true, lateRate},
		{"much too late", Load{Requests: 5000, Late: time.Second}, true, starvedRate},
		{"a disk that is behind", Load{Requests: 5000, Pressed: true}, true, starvedRate},
	} {
		var g Granter
		now := time.Unix(1000, 0)
		pause := g.Grant(now, c.load, 100).Pause
		want := time.Duration(0)
		if c.rate > 0 {
			want = 100 * time.Second / time.Duration(c.rate)
		}
		if got := c.load.Busy(); got != c.busy || pause != want {
			t.Errorf("%s: repair gives way %v, hints pause for %v, want %v and %v", c.name, got, pause, c.busy, want)
		}
	}
}
