package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

const (
	memoryKeys = 10_000_000
	// memoryStep is the number of keys between two lines of the table.
	memoryStep = 1_000_000
	// verifyStep-th keys are read back after kill -9.
	verifyStep   = 97
	startTimeout = 2 * time.Minute
)

// memory loads one node with far more data than it keeps in memory, shows what
// it occupies on the way, and starts it again after kill -9. With -short it
// loads a tenth.
func (b *bench) memory(ctx context.Context) error {
	keys, step := memoryKeys, memoryStep
	if b.short {
		keys, step = keys/10, step/10
	}
	dir := filepath.Join(b.dir, "memory")
	nodes, err := startNodes(ctx, b.executable, dir, 1)
	if err != nil {
		return err
	}
	n := nodes[0]
	defer func() { n.stop() }() // which is another process by then
	fmt.Fprintf(b.out, "\nmemory of one node, %d B values\n", valueSize)
	lines := [][]string{{"", "", "", ""}, {"keys", "RSS MB", "peak MB", "loaded/s"}}
	for from := 0; from < keys; from += step {
		b.say("memory: %d keys loaded", from)
		started := time.Now()
		if err := load(ctx, n.port, from, from+step); err != nil {
			return fmt.Errorf("load: %w (%s)", err, n.lastWords())
		}
		rate := float64(step) / time.Since(started).Seconds()
		now, peak, err := n.resident()
		if err != nil {
			return err
		}
		lines = append(lines, []string{fmt.Sprint(from + step), megabytes(now), megabytes(peak), thousands(rate)})
	}
	if err := settle(ctx, []*process{n.process}); err != nil {
		return err
	}
	now, peak, err := n.resident()
	if err != nil {
		return err
	}
	lines = append(lines, []string{"at rest", megabytes(now), megabytes(peak), ""})
	if err := align(b.out, lines, 0); err != nil {
		return err
	}
	n, err = b.restart(ctx, n, keys)
	return err
}

func megabytes(bytes int64) string { return decimals(float64(bytes)/1e6, 0) }

// restart kills the node, prints how long it takes to serve again, and checks
// that nothing is lost.
func (b *bench) restart(ctx context.Context, n *node, keys int) (*node, error) {
	n.kill()
	started := time.Now()
	again, err := n.startAgain(ctx)
	if err != nil {
		return n, err
	}
	if err := again.await(ctx, startTimeout, func() bool { return again.sees(ctx, 1) }); err != nil {
		return again, err
	}
	took := time.Since(started)
	if err := verify(ctx, again.port, keys, verifyStep); err != nil {
		return again, fmt.Errorf("read back after kill -9: %w", err)
	}
	now, peak, err := again.resident()
	if err != nil {
		return again, err
	}
	_, err = fmt.Fprintf(b.out, "\nafter kill -9 it serves within %.2f s; %d of the keys read back, all there; RSS %s MB, peak %s MB\n",
		took.Seconds(), (keys+verifyStep-1)/verifyStep, megabytes(now), megabytes(peak))
	return again, err
}
