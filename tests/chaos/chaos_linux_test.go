package chaos

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kvstore/tests/lab"
	"kvstore/tests/process"
)

var (
	duration = flag.Duration("for", 10*time.Second, "how long faults go on")
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

// healWithin bounds how long a cluster may take to be whole again.
const healWithin = 3 * time.Minute

// crew is who uses the cluster: how many clients do what, strictly or not.
var crew = []struct {
	name   string
	count  int
	strict bool
	work   func() func(*client)
}{
	{"registers", 4, true, func() func(*client) { return useRegisters }},
	{"sets", 2, false, useSets},
	{"owners", 2, false, func() func(*client) { return useOwned }},
	{"counters", 2, false, func() func(*client) { return useCounters }},
}

func TestChaos(t *testing.T) {
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64N(1_000_000) + 1
	}
	t.Logf("seed %d: go test ./tests/chaos -run TestChaos -count=1 -for=%v -seed=%d", chosen, *duration, chosen)
	dir, err := os.MkdirTemp("", "kvstore-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	w, err := newWorld(ctx, process.Binary(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var clients []*client
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
		if !t.Failed() && !*always {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
			return
		}
		keep(t, w, clients)
	}()
	faults := plan(chosen, *duration)
	clients = use(w, chosen, func() { w.suffer(t.Context(), faults) })
	if err := judgeRun(t, w, clients); err != nil {
		t.Error(err)
	}
	t.Logf("after the last fault the nodes saw each other in %.1f s, and no hint was left after %.1f s", w.whole.Seconds(), w.level.Seconds())
	report(t, faults, clients)
	for _, err := range w.problems {
		t.Error(err)
	}
}

// use runs the clients while faults happen, until the cluster is whole again.
func use(w *world, seed uint64, faults func()) (clients []*client) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, c := range crew {
		for range c.count {
			n := newClient(len(clients), seed, lab.Addresses(w.nodes), w.start, c.strict)
			clients = append(clients, n)
			work := c.work()
			wg.Go(func() { n.run(ctx, work) })
		}
	}
	faults()
	heal, cancel := context.WithTimeout(context.Background(), healWithin)
	defer cancel()
	if err := w.heal(heal); err != nil {
		w.problem(err)
	}
	stop()
	wg.Wait()
	return clients
}

// judgeRun reads everything and checks it.
func judgeRun(t *testing.T, w *world, clients []*client) error {
	var history []op
	for _, c := range clients {
		history = append(history, c.history...)
	}
	keys := byKey(history)
	names := slices.Sorted(maps.Keys(keys))
	if err := awaitLevel(t, w, names); err != nil {
		return err
	}
	end, err := readAll(lab.Addresses(w.nodes), names, "all")
	if err != nil {
		return err
	}
	v := verify(keys, end)
	for _, n := range w.nodes {
		alone, err := readAll([]string{n.Client}, names, "one")
		if err != nil {
			return err
		}
		v.violations = append(v.violations, differ(n.Name, end, alone)...)
	}
	t.Logf("%d keys checked, %d violations, %d undecided", len(keys), len(v.violations), v.undecided)
	const shown = 10
	for _, text := range v.violations[:min(shown, len(v.violations))] {
		t.Errorf("VIOLATION: %s", text)
	}
	return nil
}

// awaitLevel waits until replicas say the same of every key, each asked alone. They
// find out by comparing; no read brings them level.
func awaitLevel(t *testing.T, w *world, keys []string) error {
	begun, differed := time.Now(), -1
	for {
		differing, err := spread(lab.Addresses(w.nodes), keys)
		if err != nil {
			return err
		}
		if differed < 0 {
			differed = len(differing)
		}
		if len(differing) == 0 {
			t.Logf("replicas differed in %d keys when no hint was left, and in none after %.1f s", differed, time.Since(begun).Seconds())
			return nil
		}
		if time.Since(begun) > healWithin {
			return fmt.Errorf("replicas still differ in %d keys after %v, such as %q", len(differing), healWithin, differing[:min(5, len(differing))])
		}
		keys = differing // what is level stays so
		time.Sleep(10 * lab.Pause)
	}
}

// report prints what the run was.
func report(t *testing.T, faults []fault, clients []*client) {
	t.Helper()
	var kindsCount [kinds]int
	for _, f := range faults {
		kindsCount[f.kind]++
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d faults:", len(faults))
	for k, n := range kindsCount {
		if n > 0 {
			fmt.Fprintf(&text, " %v %d,", kind(k), n)
		}
	}
	t.Log(strings.TrimSuffix(text.String(), ","))
	next := 0
	for _, c := range crew {
		var count [outcomes]int
		errors := map[string]int{}
		var gap, gapAt time.Duration
		for _, n := range clients[next : next+c.count] {
			for i := range n.history {
				count[n.history[i].outcome]++
				if text := n.history[i].err; text != "" {
					errors[brief(text)]++
				}
			}
			if n.gap > gap {
				gap, gapAt = n.gap, n.gapAt
			}
		}
		next += c.count
		t.Logf("%-9s %6d operations: %d acknowledged, %d unknown, %d refused; longest gap of a client %.2f s, at %.1f s; %v",
			c.name, count[acknowledged]+count[unknown]+count[refused], count[acknowledged], count[unknown], count[refused],
			gap.Seconds(), gapAt.Seconds(), errors)
	}
}

// brief is what errors are counted by: the class, and more where that says little.
func brief(text string) string {
	words := strings.Fields(text)
	switch {
	case strings.Contains(text, "i/o timeout"):
		return "no reply"
	case words[0] == "ERR":
		return strings.Join(words[:min(len(words), 3)], " ")
	}
	return words[0]
}

// keep leaves what is needed to understand a failure.
func keep(t *testing.T, w *world, clients []*client) {
	var all []*op
	for _, c := range clients {
		for i := range c.history {
			all = append(all, &c.history[i])
		}
	}
	slices.SortFunc(all, func(a, b *op) int { return int(a.call - b.call) })
	w.mu.Lock()
	story := strings.Join(w.story, "\n") + "\n"
	w.mu.Unlock()
	for name, text := range map[string]string{"history": tell(all, len(all)), "story": story} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	t.Logf("history, story, the nodes' logs and data are in %s\n%s", w.dir, story)
}
