package compaction

import (
	"testing"
	"time"
)

func TestPaceRest(t *testing.T) {
	p := Pace{Trigger: 4, Stop: 24}
	const ms = time.Millisecond
	for _, c := range []struct {
		name            string
		worked, elapsed time.Duration
		writes          uint64
		tables          int
		want            time.Duration
	}{
		{"nobody writes", 2 * ms, 10 * ms, 0, 4, 0},
		{"hardly anybody writes", 2 * ms, 10 * ms, 19, 4, 0},
		{"writes, little in level 0", 2 * ms, 10 * ms, 20, 4, 6 * ms},
		{"merging deeper levels", 2 * ms, 10 * ms, 1000, 0, 6 * ms},
		{"some of the room is left", 2 * ms, 10 * ms, 1000, 7, 2400 * time.Microsecond},
		{"nearly a quarter of the way to the stop", 2 * ms, 10 * ms, 1000, 8, 1200 * time.Microsecond},
		{"a quarter of the way to the stop", 2 * ms, 10 * ms, 1000, 9, 0},
		{"beyond the stop", 2 * ms, 10 * ms, 1000, 30, 0},
		{"the machine stood still", time.Second, time.Second, 1 << 20, 4, maxRest},
	} {
		if got := p.Rest(c.worked, c.elapsed, c.writes, c.tables); got != c.want {
			t.Errorf("%s: %v instead of %v", c.name, got, c.want)
		}
	}
	if got := (Pace{Trigger: 1, Stop: 2}).Rest(ms, ms, 1000, 1); got != 0 {
		t.Errorf("a compaction without room rests %v", got)
	}
}

// TestPaceKeepsUp simulates flushes at a steady rate against a paced compaction of all of level 0: as long as there are
// processors enough, level 0 stays below its stop, and where there is time to spare it is rested.
func TestPaceKeepsUp(t *testing.T) {
	p := Pace{Trigger: 4, Stop: 24}
	const step = time.Millisecond
	for _, c := range []struct {
		// flush is the time between flushes, table the time of work a table of level 0 needs, and level that for the base.
		flush, table, level time.Duration
	}{
		{4000 * step, 300 * step, 300 * step},
		{1000 * step, 300 * step, 1000 * step},
		{500 * step, 300 * step, 1000 * step},
		{400 * step, 250 * step, 1000 * step},
	} {
		tables, merging, left := 0, 0, time.Duration(0)
		var rest, resting, sinceFlush time.Duration
		most := 0
		for range 200_000 {
			if sinceFlush += step; sinceFlush >= c.flush {
				tables, sinceFlush = tables+1, 0
			}
			most = max(most, tables)
			switch {
			case rest > 0:
				rest -= step
				resting += step
			case left > 0:
				if left -= step; left <= 0 {
					tables, merging = tables-merging, 0
				} else {
					rest = p.Rest(step, step, 1000, tables)
				}
			case tables >= p.Trigger:
				merging = tables
				left = c.level + time.Duration(tables)*c.table
			}
		}
		if most >= p.Stop {
			t.Errorf("%+v: level 0 came to %d tables", c, most)
		}
		if resting == 0 {
			t.Errorf("%+v: the compaction never rested", c)
		}
	}
}
