package chaos

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"kvstore/tests/lab"
)

// diskSize is that of the small disk: enough for all that a run writes.
const diskSize = "256m"

// healWithin bounds how long a cluster may take to be whole again.
const healWithin = 3 * time.Minute

// world is the cluster that is broken.
type world struct {
	net       *lab.Net
	program   string
	dir       string
	start     time.Time
	smallDisk int    // the node that has one; -1 for none
	mounted   string // where it is
	normal    func() // makes the network what it is without faults; nil when it needs nothing

	mu       sync.Mutex
	nodes    []*lab.Node        // guarded by mu: those that clients know of; a slice that is replaced, never changed
	all      map[*lab.Node]bool // guarded by mu: these, and those that were
	story    []string           // guarded by mu
	down     map[*lab.Node]bool // guarded by mu; nodes that have been ended
	problems []error            // guarded by mu
	whole    time.Duration      // from the end of the faults until the nodes saw each other; set by heal
	level    time.Duration      // and until no hint was left; set by heal
}

// newWorld makes a network for a cluster that has its data in dir.
func newWorld(program, dir string) (*world, error) {
	w := &world{program: program, dir: dir, smallDisk: -1, start: time.Now(), down: map[*lab.Node]bool{}, all: map[*lab.Node]bool{}}
	var err error
	w.net, err = lab.New()
	return w, err
}

// found starts a cluster.
func (w *world) found(ctx context.Context, nodes int, settings ...string) error {
	if w.smallDisk >= 0 {
		small := filepath.Join(w.dir, fmt.Sprintf("n%d", w.smallDisk+1))
		if err := os.Mkdir(small, 0o700); err != nil {
			return err
		}
		// It goes away with this program's mount namespace.
		if err := syscall.Mount("small", small, "tmpfs", 0, "mode=700,size="+diskSize); err != nil {
			return fmt.Errorf("make a small disk: %w", err)
		}
		w.mounted = small
	}
	all, err := w.net.Cluster(ctx, w.program, w.dir, nodes, slices.Concat(memory(), settings)...)
	w.now(all)
	w.start = time.Now()
	return err
}

// memory keeps nodes small, so that they flush and compact.
func memory() []string { return []string{"storage.memtable_size=4MiB", "storage.cache_size=16MiB"} }

// living are the nodes that clients know of.
func (w *world) living() []*lab.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes
}

// doorsOf are where clients reach nodes.
func doorsOf(nodes []*lab.Node) (doors []door) {
	for _, n := range nodes {
		doors = append(doors, door{n.Name, n.Client})
	}
	return doors
}

// now says which nodes clients know of.
func (w *world) now(nodes []*lab.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = slices.Clone(nodes)
	for _, n := range nodes {
		w.all[n] = true
	}
}

// close ends all processes and takes the small disk away, with what is on it.
func (w *world) close() error {
	for n := range w.all {
		n.Kill()
	}
	w.net.Close()
	if w.mounted == "" {
		return nil
	}
	if err := syscall.Unmount(w.mounted, 0); err != nil {
		return fmt.Errorf("take the small disk away: %w", err)
	}
	return nil
}

// tell notes what happens.
func (w *world) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, fmt.Sprintf("%8.3f ", time.Since(w.start).Seconds())+fmt.Sprintf(format, args...))
}

// problem notes what must not happen.
func (w *world) problem(err error) {
	w.tell("PROBLEM: %v", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, err)
}

// event is the beginning or the end of a fault.
type event struct {
	at  time.Duration
	do  func(fault) error
	of  fault
	how string
}

// suffer runs faults to their ends, from now on.
func (w *world) suffer(ctx context.Context, faults []fault) {
	var events []event
	for _, f := range faults {
		events = append(events, event{f.at, w.begin, f, "begins"}, event{f.at + f.length, w.end, f, "ends"})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	begun := time.Now()
	for _, e := range events {
		select {
		case <-time.After(time.Until(begun.Add(e.at))):
		case <-ctx.Done():
			return
		}
		w.tell("%s: %v", e.how, e.of)
		if err := e.do(e.of); err != nil {
			w.problem(fmt.Errorf("%v %s: %w", e.of, e.how, err))
		}
		w.look()
	}
}

// look finds nodes that have ended without being told to.
func (w *world) look() {
	for _, n := range w.living() {
		w.mu.Lock()
		down := w.down[n]
		w.mu.Unlock()
		if !down && !n.Running() {
			w.ended(n, true)
			w.problem(fmt.Errorf("%s has ended by itself: see %s", n.Name, n.Log()))
		}
	}
}

func (w *world) ended(n *lab.Node, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[n] = yes
}

// heal removes every trace of faults and waits until the cluster is whole and every
// node has what others kept for it.
func (w *world) heal(ctx context.Context) error {
	w.net.Heal()
	if w.normal != nil {
		w.normal()
	}
	healed := time.Now()
	w.tell("everything is healed")
	if err := lab.AwaitWhole(ctx, w.living()); err != nil {
		return err
	}
	w.tell("the nodes see each other")
	w.whole = time.Since(healed)
	if err := lab.AwaitHanded(ctx, w.living()); err != nil {
		return err
	}
	w.tell("no hint is left")
	w.level = time.Since(healed)
	return nil
}
