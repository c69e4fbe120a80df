package chaos

import (
	"cmp"
	"context"
	"errors"
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

// world is the cluster that is broken.
type world struct {
	net   *lab.Net
	nodes []*lab.Node
	dir   string
	start time.Time

	mu       sync.Mutex
	story    []string      // guarded by mu
	down     map[int]bool  // guarded by mu; nodes that have been ended
	problems []error       // guarded by mu
	whole    time.Duration // from the end of the faults until the nodes saw each other; set by heal
	level    time.Duration // and until no hint was left; set by heal
}

// newWorld starts the cluster, with its data in dir.
func newWorld(ctx context.Context, program, dir string) (*world, error) {
	w := &world{dir: dir, down: map[int]bool{}}
	small := filepath.Join(dir, fmt.Sprintf("n%d", diskNode+1))
	if err := os.Mkdir(small, 0o700); err != nil {
		return nil, err
	}
	// It goes away with this program's mount namespace.
	if err := syscall.Mount("small", small, "tmpfs", 0, "mode=700,size="+diskSize); err != nil {
		return nil, fmt.Errorf("make a small disk: %w", err)
	}
	var err error
	if w.net, err = lab.New(); err != nil {
		return nil, err
	}
	w.nodes, err = w.net.Cluster(ctx, program, dir, nodeCount, "storage.memtable_size=4MiB", "storage.cache_size=16MiB")
	w.start = time.Now()
	return w, err
}

// close ends all processes and takes the small disk away, with what is on it.
func (w *world) close() error {
	for _, n := range w.nodes {
		n.Kill()
	}
	w.net.Close()
	if err := syscall.Unmount(filepath.Join(w.dir, fmt.Sprintf("n%d", diskNode+1)), 0); err != nil {
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
	for i, n := range w.nodes {
		w.mu.Lock()
		down := w.down[i]
		w.mu.Unlock()
		if !down && !n.Running() {
			w.ended(i, true)
			w.problem(fmt.Errorf("%s has ended by itself: see %s", n.Name, n.Log()))
		}
	}
}

func (w *world) ended(i int, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[i] = yes
}

// begin makes a fault.
func (w *world) begin(f fault) error {
	n, cut := w.nodes[f.node], lab.Rule{Cut: true}
	switch f.kind {
	case kill:
		w.ended(f.node, true)
		n.Kill()
	case killAll:
		for i := range w.nodes {
			w.ended(i, true)
		}
		var wg sync.WaitGroup
		for _, n := range w.nodes {
			wg.Go(n.Kill)
		}
		wg.Wait()
	case restart:
		w.ended(f.node, true)
		ctx, cancel := context.WithTimeout(context.Background(), lab.Patience)
		defer cancel()
		return n.Stop(ctx)
	case pause:
		return n.Signal(syscall.SIGSTOP)
	case fullDisk:
		return fill(filler(n))
	default:
		w.links(f, cut)
	}
	return nil
}

// links makes or, with the zero rule, ends a fault of the network.
func (w *world) links(f fault, r lab.Rule) {
	n, other := w.nodes[f.node].Host, w.nodes[f.other].Host
	if r.Cut && f.kind == delay {
		r = lab.Rule{Delay: 30 * time.Millisecond, Jitter: 100 * time.Millisecond}
	} else if r.Cut && f.kind == loss {
		r = lab.Rule{Loss: 0.15}
	}
	switch f.kind {
	case isolate, delay, loss:
		w.net.Around(n, r)
	case mute, deafen:
		for _, o := range w.nodes {
			if o.Host == n {
				continue
			}
			if f.kind == mute {
				w.net.Set(n, o.Host, r)
			} else {
				w.net.Set(o.Host, n, r)
			}
		}
	case unlink:
		w.net.Both(n, other, r)
	case oneWay:
		w.net.Set(n, other, r)
	case split:
		for _, o := range w.nodes {
			if o.Host != n && o.Host != other {
				w.net.Both(n, o.Host, r)
				w.net.Both(other, o.Host, r)
			}
		}
	}
}

// end ends a fault.
func (w *world) end(f fault) error {
	n := w.nodes[f.node]
	switch f.kind {
	case kill, restart:
		w.ended(f.node, false)
		return n.Start()
	case killAll:
		var errs []error
		for i, n := range w.nodes {
			w.ended(i, false)
			errs = append(errs, n.Start())
		}
		return errors.Join(errs...)
	case pause:
		return n.Signal(syscall.SIGCONT)
	case fullDisk:
		return os.Remove(filler(n))
	default:
		w.links(f, lab.Rule{})
	}
	return nil
}

// heal removes every trace of faults and waits until the cluster is whole and every
// node has what others kept for it.
func (w *world) heal(ctx context.Context) error {
	w.net.Heal()
	healed := time.Now()
	w.tell("everything is healed")
	if err := lab.AwaitWhole(ctx, w.nodes); err != nil {
		return err
	}
	w.tell("the nodes see each other")
	w.whole = time.Since(healed)
	if err := lab.AwaitHanded(ctx, w.nodes); err != nil {
		return err
	}
	w.tell("no hint is left")
	w.level = time.Since(healed)
	return nil
}

// filler is the file that fills the disk of a node.
func filler(n *lab.Node) string { return filepath.Join(n.Dir, "filler") }

// fill writes to a file until the disk is full.
func fill(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // down to the last byte
		} else if err != nil {
			return err
		}
	}
	return nil
}
