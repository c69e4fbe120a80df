package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
)

var (
	seeds    = flag.Int("seeds", 24, "how many seeds to run")
	fromSeed = flag.Uint64("seed", 1, "the first seed")
	only     = flag.String("profile", "", "run only seeds of this profile")
	logged   = flag.String("log", "", "a file that takes the nodes' logs")
)

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
	t.Errorf("the story is in %s; run it again with\n\tgo test ./tests/sim -run '^TestSim$' -seeds=1 -seed=%d", name, r.Config.Seed)
}

// TestSim runs seeds and checks every invariant.
func TestSim(t *testing.T) {
	for seed := *fromSeed; seed < *fromSeed+uint64(*seeds); seed++ {
		if *only != "" && FromSeed(seed).Profile != *only {
			continue
		}
		c := FromSeed(seed)
		t.Run(fmt.Sprintf("%d %s", seed, c.Profile), func(t *testing.T) { report(t, runs(t, c)) })
	}
}
