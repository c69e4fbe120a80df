package chaos

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kvstore/tests/lab"
	"kvstore/tests/process"
)

var (
	duration = flag.Duration("for", 10*time.Second, "how long all of it takes, about; half is for faults, a quarter each for growing and for data centres")
	seed     = flag.Uint64("seed", 0, "which faults; 0 chooses")
	always   = flag.Bool("keep", false, "keep logs, history and data though nothing is wrong")
)

func TestMain(m *testing.M) {
	inside, code, err := lab.Enter()
	switch {
	case err != nil && os.Getenv("CI") == "true":
		fmt.Fprintln(os.Stderr, "chaos cannot run:", err)
		code = 1
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos DID NOT RUN on this machine:", err)
	case inside:
		process.Main(m)
	}
	os.Exit(code)
}

// everybody are the clients that most runs have.
func everybody() []role {
	strict := []string{"r", "quorum", "w", "quorum", "strict"}
	return []role{
		{name: "registers", count: 4, levels: strict, work: useRegisters("register")},
		{name: "sets", count: 2, work: useSets},
		{name: "owners", count: 2, work: func() func(*client) { return useOwned }},
		{name: "counters", count: 2, work: func() func(*client) { return useCounters }},
	}
}

// TestChaos makes faults of the network, of processes and of disks.
func TestChaos(t *testing.T) {
	tr := newTrial(t, everybody(), *duration/2)
	tr.w.smallDisk = diskNode
	tr.found(nodeCount)
	faults := plan(tr.seed, *duration/2)
	tr.use(func() { tr.w.suffer(t.Context(), faults) })
	tr.judge()
	var count [kinds]int
	for _, f := range faults {
		count[f.kind]++
	}
	var text strings.Builder
	for k, n := range count {
		if n > 0 {
			fmt.Fprintf(&text, " %v %d,", kind(k), n)
		}
	}
	t.Logf("%d faults:%s", len(faults), strings.TrimSuffix(text.String(), ","))
	tr.report()
}
