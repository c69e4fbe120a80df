package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// profileTime is what a CPU profile covers.
const profileTime = 3 * time.Second

// profile makes a run that is not counted, and writes profiles of the kvstore
// nodes during it into the directory that -profile names.
func (b *bench) profile(ctx context.Context, part string, t target, w workload) error {
	if len(t.nodes) == 0 {
		return nil
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return fmt.Errorf("make the directory of profiles: %w", err)
	}
	b.say("%s, %s: profiling %s", part, w, t.name)
	name := func(i int, kind string) string {
		return filepath.Join(b.profiles, fmt.Sprintf("%s-n%d.%s.pprof", fileName(part+" "+t.name+" "+w.label()), i+1, kind))
	}
	// Only a collection brings the heap's profile up to date, so it cannot be
	// asked for the difference itself.
	heap := func(kind string) error {
		return saveAll(ctx, t.nodes, "/debug/pprof/heap?gc=1", func(i int) string { return name(i, kind) })
	}
	if err := heap("heap-before"); err != nil {
		return err
	}
	finished := make(chan error, 1) // sent once by the goroutine below
	go func() {
		_, err := redisBenchmark(ctx, t, w, operations(b.lastRate(part, t, w), profileTime+time.Second), b.keySpace(t, w))
		finished <- err
	}()
	path := fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(profileTime.Seconds()))
	err := saveAll(ctx, t.nodes, path, func(i int) string { return name(i, "cpu") })
	return errors.Join(err, <-finished, heap("heap-after"))
}

// profileFlood writes profiles of nodes that are offered too much, if -profile asks for them.
func (b *bench) profileFlood(ctx context.Context, nodes []*node) error {
	if b.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return fmt.Errorf("make the directory of profiles: %w", err)
	}
	return saveAll(ctx, nodes, fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(profileTime.Seconds())), func(i int) string {
		return filepath.Join(b.profiles, fmt.Sprintf("overload%d-n%d.cpu.pprof", len(nodes), i+1))
	})
}

// lastRate is the throughput of the last run of w on t.
func (b *bench) lastRate(part string, t target, w workload) (rate float64) {
	for _, r := range b.runs {
		if r.part == part && r.workload == w.String() && r.target == t.name {
			rate = r.rate
		}
	}
	return rate
}

// saveAll asks all nodes at the same time for path, and writes the answer of the
// i-th into the file name(i).
func saveAll(ctx context.Context, nodes []*node, path string, name func(i int) string) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			text, err := n.get(ctx, path)
			if err == nil {
				err = os.WriteFile(name(i), text, 0o644)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
