package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

var (
	seeds    = flag.Int("seeds", 20, "how many seeds to run")
	fromSeed = flag.Uint64("seed", 1, "the first seed")
	stride   = flag.Uint64("stride", 1, "from a seed to the next; several processes share seeds so")
	only     = flag.String("profile", "", "run only seeds of this profile")
	logged   = flag.String("log", "", "a file that takes the nodes' logs")
	shrinks  = flag.Int("shrink", 40, "how many runs may be spent on making a failure smaller")

	// What a shrunk run has left of its seed's.
	strikes = flag.String("strikes", "", "only these faults of the plan, by number; none: no fault")
	length  = flag.Duration("length", 0, "a shorter run")
	ops     = flag.Int("ops", 0, "fewer operations")
	clients = flag.Int("clients", 0, "fewer clients")
	keys    = flag.String("keys", "", "work on these keys only")
)

// configured is a seed's configuration, as the flags shorten it.
func configured(t *testing.T, seed uint64) Config {
	c := FromSeed(seed)
	if *strikes != "" {
		var numbers []int
		for s := range strings.SplitSeq(*strikes, ",") {
			if n, err := strconv.Atoi(s); err == nil {
				numbers = append(numbers, n)
			} else if s != "none" {
				t.Fatal(err)
			}
		}
		c.Plan = c.Plan.keep(numbers)
	}
	if *length > 0 {
		c.Plan.Length = *length
	}
	if *ops > 0 {
		c.Ops = *ops
	}
	if *clients > 0 {
		c.Clients = *clients
	}
	for i := range c.Keys {
		c.Keys[i].Idle = *keys != "" && !slices.Contains(strings.Split(*keys, ","), c.Keys[i].Name)
	}
	return c
}

// runs runs a configuration in a bubble.
func runs(t *testing.T, c Config) (r *Result) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	cryptotest.SetGlobalRandom(t, c.Seed)
	if *logged != "" {
		f, err := os.Create(*logged)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		c.Log = f
	}
	tidy()
	synctest.Test(t, func(*testing.T) { r = Run(c) })
	return r
}

// report fails the test for each violation and leaves the story in a file.
func report(t *testing.T, r *Result) {
	t.Helper()
	t.Log(r.Summary())
	bad := r.Verify()
	if len(bad) == 0 {
		return
	}
	name := filepath.Join(os.TempDir(), fmt.Sprintf("kvstore-sim-%d.txt", r.Config.Seed))
	story := strings.Join(r.Story, "\n") + "\n"
	for _, v := range bad {
		t.Error(v)
		story += v.String() + "\n"
	}
	if err := os.WriteFile(name, []byte(story), 0o644); err != nil {
		t.Error(err)
	}
	t.Errorf("the story is in %s", name)
}

// shrunk makes a failing run smaller and says how to run that again.
func shrunk(t *testing.T, r *Result) *Result {
	bad := r.Verify()
	if len(bad) == 0 || *shrinks == 0 {
		return r
	}
	began := time.Now()
	least := Shrink(r.Config, *shrinks, func(c Config) bool {
		smaller := runs(t, c)
		same := slices.ContainsFunc(smaller.Verify(), func(v Violation) bool { return v.Invariant == bad[0].Invariant })
		if same {
			r = smaller
		}
		return same
	})
	t.Logf("it was made smaller in %v; run it again with\n\tgo test ./tests/sim -run '^TestSim$' -shrink=0 %s", time.Since(began).Round(time.Second), least.Flags())
	for _, s := range least.Plan.Strikes {
		t.Log(s)
	}
	return r
}

// The heap is looked through between seeds, once it has grown to much, and in their
// midst only when it gets too large.
const much, tooLarge = 192 << 20, 640 << 20

// tidy collects what seeds have left behind.
func tidy() {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	if metrics.Read(heap); heap[0].Value.Uint64() > much {
		runtime.GC()
	}
}

// frugal leaves that to tidy, in a test and its parts: of what a seed allocates
// little lives, and looking through that again and again is a tenth of its time.
func frugal(t *testing.T) {
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(tooLarge)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
}

// TestSim runs seeds and checks every invariant.
func TestSim(t *testing.T) {
	frugal(t)
	p := progress{began: time.Now(), seeds: *seeds}
	for seed := *fromSeed; p.done < p.seeds; seed += *stride {
		ok := true
		if c := configured(t, seed); *only == "" || c.Profile == *only {
			ok = t.Run(fmt.Sprintf("%d %s", seed, c.Profile), func(t *testing.T) { report(t, shrunk(t, runs(t, c))) })
		}
		if line := p.ran(seed, ok, time.Now()); line != "" {
			fmt.Fprintln(os.Stderr, line)
		}
	}
	if *seeds > 1 {
		fmt.Fprintln(os.Stderr, p.end(time.Now()))
	}
}
