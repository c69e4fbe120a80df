package chaos

import (
	"context"
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

// role is what some clients do: how many they are, at which levels, and through which
// nodes.
type role struct {
	name   string
	count  int
	levels []string // as QUORUM SET has them
	work   func() func(*client)
	serves func() []door // nil: all that there are
}

// trial is one run: a cluster, its clients, and what becomes of them.
type trial struct {
	t       *testing.T
	seed    uint64
	random  *rand.Rand // of who makes the faults
	w       *world
	crew    []role
	clients []*client // in the order of the crew
	loaded  *client   // what was there before; nil for nothing
}

// newTrial prepares a run. What is left of it when it fails stays in its directory.
func newTrial(t *testing.T, crew []role, takes time.Duration) *trial {
	t.Helper()
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64N(1_000_000) + 1
	}
	t.Logf("seed %d: go test ./tests/chaos -run '^%s$' -count=1 -v -for=%v -seed=%d", chosen, t.Name(), *duration, chosen)
	dir, err := os.MkdirTemp("", "kvstore-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(process.Binary(), dir)
	if err != nil {
		t.Fatal(err)
	}
	tr := &trial{t: t, seed: chosen, random: rand.New(rand.NewPCG(chosen, uint64(takes))), w: w, crew: crew}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
		if t.Failed() || *always {
			tr.keep()
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// found starts the cluster.
func (tr *trial) found(nodes int, settings ...string) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), lab.Patience)
	defer cancel()
	if err := tr.w.found(ctx, nodes, settings...); err != nil {
		tr.t.Fatal(err)
	}
}

// anotherRound reports whether there is time for one more, after so many. One there always
// is.
func anotherRound(begun time.Time, rounds int, takes time.Duration) bool {
	return rounds == 0 || time.Since(begun)*time.Duration(rounds+1)/time.Duration(rounds) <= takes
}

// use runs the clients while something happens, until the cluster is whole again.
func (tr *trial) use(happens func()) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, r := range tr.crew {
		serves := r.serves
		if serves == nil {
			serves = tr.doors
		}
		for range r.count {
			c := newClient(len(tr.clients), tr.seed, serves, tr.w.start, r.levels...)
			tr.clients = append(tr.clients, c)
			work := r.work()
			wg.Go(func() { c.run(ctx, work) })
		}
	}
	happens()
	heal, cancel := context.WithTimeout(context.Background(), healWithin)
	defer cancel()
	if err := tr.w.heal(heal); err != nil {
		tr.w.problem(err)
	}
	stop()
	wg.Wait()
}

// doors are those of all nodes.
func (tr *trial) doors() []door { return doorsOf(tr.w.living()) }

// judge reads everything and checks it.
func (tr *trial) judge() {
	tr.t.Helper()
	if err := tr.check(); err != nil {
		tr.t.Error(err)
	}
	for _, err := range tr.w.problems {
		tr.t.Error(err)
	}
}

func (tr *trial) check() error {
	t, nodes := tr.t, tr.w.living()
	var history []op
	for _, c := range tr.all() {
		history = append(history, c.history...)
	}
	keys := byKey(history)
	names := slices.Sorted(maps.Keys(keys))
	if err := awaitLevel(t, nodes, names); err != nil {
		return err
	}
	end, err := readAll(lab.Addresses(nodes), names, "all")
	if err != nil {
		return err
	}
	v := verify(keys, end)
	for _, n := range nodes {
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

// all are the clients, and who loaded.
func (tr *trial) all() []*client {
	if tr.loaded == nil {
		return tr.clients
	}
	return append(slices.Clip(tr.clients), tr.loaded)
}

// awaitLevel waits until replicas say the same of every key, each asked alone. They
// find out by comparing; no read brings them level.
func awaitLevel(t *testing.T, nodes []*lab.Node, keys []string) error {
	begun, differed := time.Now(), -1
	for {
		differing, err := spread(lab.Addresses(nodes), keys)
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

// report prints what the clients met with.
func (tr *trial) report() {
	t := tr.t
	t.Helper()
	t.Logf("after the last fault the nodes saw each other in %.1f s, and no hint was left after %.1f s", tr.w.whole.Seconds(), tr.w.level.Seconds())
	next := 0
	for _, r := range tr.crew {
		var count [outcomes]int
		errors := map[string]int{}
		var gap, gapAt time.Duration
		var took []time.Duration
		for _, c := range tr.clients[next : next+r.count] {
			for i := range c.history {
				o := &c.history[i]
				if count[o.outcome]++; o.outcome == acknowledged {
					took = append(took, o.end-o.call)
				}
				if text := o.err; text != "" {
					errors[brief(text)]++
				}
			}
			if c.gap > gap {
				gap, gapAt = c.gap, c.gapAt
			}
		}
		next += r.count
		t.Logf("%-17s %6d operations: %d acknowledged, %d unknown, %d refused; half within %.1f ms; longest gap of a client %.2f s, at %.1f s; %v",
			r.name, count[acknowledged]+count[unknown]+count[refused], count[acknowledged], count[unknown], count[refused],
			1e3*median(took).Seconds(), gap.Seconds(), gapAt.Seconds(), errors)
	}
}

func median(of []time.Duration) time.Duration {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[len(of)/2]
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
func (tr *trial) keep() {
	var all []*op
	for _, c := range tr.all() {
		for i := range c.history {
			all = append(all, &c.history[i])
		}
	}
	slices.SortFunc(all, func(a, b *op) int { return int(a.call - b.call) })
	w := tr.w
	w.mu.Lock()
	story := strings.Join(w.story, "\n") + "\n"
	w.mu.Unlock()
	for name, text := range map[string]string{"history": tell(all, len(all)), "story": story} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
			tr.t.Error(err)
		}
	}
	tr.t.Logf("history, story, the nodes' logs and data are in %s\n%s", w.dir, story)
}
