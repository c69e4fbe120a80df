package membership_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kvstore/cluster/membership"
)

// TestTrackerScripts plays events and compares the state after each. A line is "time event -> state"; "tick" is time alone.
func TestTrackerScripts(t *testing.T) {
	for name, script := range map[string]string{
		"a new peer": `
			0s    gossip-alive -> suspect
			10ms  connected    -> alive
			20ms  disconnected -> suspect
			5s    tick         -> suspect
			5.02s tick         -> dead
			6s    connected    -> alive`,
		"never connected": `
			0s   disconnected -> suspect
			5s   tick         -> dead`,
		"gossip is first": `
			0s   connected    -> alive
			1s   gossip-dead  -> dead
			2s   disconnected -> dead
			3s   gossip-alive -> suspect
			4s   connected    -> alive`,
		"a new connection contradicts gossip": `
			0s   connected    -> alive
			1s   disconnected -> suspect
			2s   gossip-dead  -> dead
			100s connected    -> alive`,
		"an answer contradicts gossip": `
			0s   connected    -> alive
			1s   gossip-dead  -> dead
			2s   answered     -> alive`,
		"an answer without a connection contradicts nothing": `
			0s   connected    -> alive
			1s   disconnected -> suspect
			2s   gossip-dead  -> dead
			3s   answered     -> dead`,
		"who leaves is dead until it is connected again": `
			0s   connected    -> alive
			1s   parting      -> dead
			1.1s answered     -> dead
			1.2s gossip-alive -> dead
			1.3s gossip-dead  -> dead
			1.4s answered     -> dead
			1.5s tick         -> dead
			2s   disconnected -> dead
			3s   gossip-alive -> suspect
			4s   connected    -> alive`,
		"timeouts in a row": `
			1s   connected    -> alive
			1s   timed-out    -> alive
			1s   timed-out    -> alive
			1s   answered     -> alive
			1s   timed-out    -> alive
			1s   timed-out    -> alive
			1s   timed-out    -> suspect
			9s   tick         -> suspect
			9s   answered     -> alive`,
		"one timeout without any sign of life": `
			0s    connected    -> alive
			0.19s timed-out    -> alive
			0.4s  answered     -> alive
			0.59s timed-out    -> alive
			0.6s  timed-out    -> suspect
			0.61s timed-out    -> suspect
			0.8s  answered     -> alive`,
		"flapping holds longer each time, until it is stable": `
			0s     connected    -> alive
			1s     disconnected -> suspect
			1s     connected    -> alive
			2s     disconnected -> suspect
			2.1s   connected    -> suspect
			2.24s  tick         -> suspect
			2.25s  tick         -> alive
			3s     disconnected -> suspect
			3.1s   connected    -> suspect
			3.49s  tick         -> suspect
			3.5s   tick         -> alive
			4s     disconnected -> suspect
			4.1s   connected    -> suspect
			4.99s  tick         -> suspect
			5s     tick         -> alive
			65s    disconnected -> suspect
			65s    connected    -> alive`,
		"holding ends": `
			0s   connected    -> alive
			1s   flap-20      -> suspect
			30s  tick         -> suspect
			31s  tick         -> alive`,
	} {
		t.Run(name, func(t *testing.T) {
			tracker := membership.NewTracker(membership.TrackerOptions{})
			for line := range strings.Lines(strings.TrimSpace(script)) {
				play(t, tracker, strings.Fields(line))
			}
		})
	}
}

func play(t *testing.T, tracker *membership.Tracker, words []string) {
	t.Helper()
	at, err := time.ParseDuration(words[0])
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0).Add(at)
	before := tracker.State(1)
	events := map[string]membership.Event{"connected": membership.Connected, "disconnected": membership.Disconnected, "gossip-alive": membership.GossipAlive,
		"gossip-dead": membership.GossipDead, "timed-out": membership.TimedOut, "answered": membership.Answered,
		"parting": membership.Parting}
	switch e, known := events[words[1]]; {
	case words[1] == "tick":
		changes := tracker.Tick(now)
		if want := tracker.State(1) != before; (len(changes) == 1) != want {
			t.Fatalf("%v: changes %v", words, changes)
		}
	case words[1] == "flap-20":
		for range 20 {
			tracker.Observe(now, 1, membership.Disconnected)
			tracker.Observe(now, 1, membership.Connected)
		}
	case known:
		c, changed := tracker.Observe(now, 1, e)
		if before != membership.Dead && changed != (before != c.To) || changed && c.From == c.To {
			t.Fatalf("%v: change %+v %v", words, c, changed)
		}
	default:
		t.Fatalf("unknown event in %v", words)
	}
	if got := tracker.State(1).String(); got != words[3] {
		t.Fatalf("%v: it is %s", words, got)
	}
}

func TestTrackerOfStrangers(t *testing.T) {
	tracker := membership.NewTracker(membership.TrackerOptions{})
	if tracker.State(9) != membership.Dead || tracker.P95(9) != 0 {
		t.Error("a peer nothing was observed of is not dead")
	}
	now := time.Unix(0, 0)
	if _, changed := tracker.Answered(now, 9, time.Second); changed {
		t.Error("an answer of a stranger made it known")
	}
	tracker.Observe(now, 9, membership.Connected)
	tracker.Forget(9)
	if tracker.State(9) != membership.Dead {
		t.Error("forgotten, but not dead")
	}
}

func TestTrackerConcurrently(t *testing.T) {
	tracker := membership.NewTracker(membership.TrackerOptions{})
	now := time.Unix(0, 0)
	tracker.Observe(now, 1, membership.Connected)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2000 {
				tracker.Answered(now, 1, time.Duration(i)*time.Microsecond)
				tracker.Observe(now, 1, membership.TimedOut)
				tracker.State(1)
				tracker.P95(1)
				tracker.Tick(now)
			}
		})
	}
	wg.Wait()
	tracker.Answered(now, 1, 0)
	if tracker.State(1) != membership.Alive {
		t.Error(tracker.State(1))
	}
}

func TestTrackerHotPathAllocatesNothing(t *testing.T) {
	tracker := membership.NewTracker(membership.TrackerOptions{})
	now := time.Unix(0, 0)
	tracker.Observe(now, 1, membership.Connected)
	if n := testing.AllocsPerRun(1000, func() {
		tracker.Answered(now, 1, time.Millisecond)
		tracker.State(1)
		tracker.P95(1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLatencyIsCloseToTheTruth(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var l membership.Latency
		var all []time.Duration
		scale := time.Duration(1 << (15 + r.IntN(15)))
		for range latencySample {
			d := time.Duration(r.ExpFloat64() * float64(scale))
			l.Record(d)
			all = append(all, d)
		}
		slices.Sort(all)
		truth := all[len(all)*95/100]
		if got := l.P95(); got < truth*8/10 || got > truth*3/2+16*time.Microsecond {
			t.Errorf("seed %d: %v, the truth is %v", seed, got, truth)
		}
	}
}

const latencySample = 960 // a multiple of the steps in which the estimate is renewed, within one window

func TestLatencyForgets(t *testing.T) {
	var l membership.Latency
	for range 10_000 {
		l.Record(time.Second)
	}
	for range 5_000 {
		l.Record(time.Millisecond)
	}
	if got := l.P95(); got > 2*time.Millisecond {
		t.Errorf("after 5000 fast answers it is still %v", got)
	}
	l.Record(-time.Second)
	l.Record(1 << 62)
}

func BenchmarkTrackerAnswered(b *testing.B) {
	tracker := membership.NewTracker(membership.TrackerOptions{})
	now := time.Unix(0, 0)
	tracker.Observe(now, 1, membership.Connected)
	b.ReportAllocs()
	for b.Loop() {
		tracker.Answered(now, 1, time.Millisecond)
	}
}

func ExampleTracker() {
	tracker := membership.NewTracker(membership.TrackerOptions{})
	now := time.Unix(0, 0)
	tracker.Observe(now, 7, membership.Connected)
	fmt.Println(tracker.State(7))
	tracker.Observe(now.Add(time.Second), 7, membership.Disconnected)
	fmt.Println(tracker.State(7))
	fmt.Println(tracker.Tick(now.Add(7 * time.Second))[0].To)
	// Output:
	// alive
	// suspect
	// dead
}
