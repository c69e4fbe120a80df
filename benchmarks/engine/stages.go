package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// stage is a list of workloads on the same data.
type stage struct {
	workloads []string
	setup     setup
	// afresh has each round begin with a new directory and process.
	afresh bool
	// run, which may be nil, replaces the usual run of an engine.
	run func(ctx context.Context, b *bench, s *stage, engine string, round int) error
}

// largeCacheShare is how much larger than the cache the large data is.
const largeCacheShare = 16

// logShare is how full the log is that reopen finds: less than a memtable, in per cent, so that no engine has flushed.
const logShare = 70

func stages(o *options) []stage {
	small := setup{Keys: o.keys, ValueSize: 100}
	loaded := small
	loaded.Load = true
	kilo := setup{Keys: o.keys, ValueSize: 1000}
	large := setup{Keys: o.large, ValueSize: 1000, Load: true, Memtable: 16 << 20, Cache: max(int64(o.large)*1000/largeCacheShare, 1<<20)}
	durable := small
	durable.Durable = true
	log := small
	const record = 100 + 26
	log.Keys = defaultMemtable * logShare / 100 / record
	return []stage{
		{workloads: []string{"fill-1"}, setup: small, afresh: true},
		{workloads: []string{"fill-16"}, setup: small, afresh: true},
		{workloads: []string{"read-1", "read-16", "missing", "scan-slot", "ycsb-b", "ycsb-a", "overwrite", "checkpoint"}, setup: loaded},
		{workloads: []string{"fill-1k"}, setup: kilo, afresh: true},
		{workloads: []string{"large-read"}, setup: large},
		{workloads: []string{"durable-1", "durable-16", "durable-64"}, setup: durable},
		{workloads: []string{"delete", "deleted-read"}, setup: loaded, afresh: true},
		{workloads: []string{"reopen"}, setup: log, afresh: true, run: reopen},
	}
}

const defaultMemtable = 64 << 20

// chosen leaves the stages with workloads that were asked for. delete stays where what follows it needs it.
func chosen(all []stage, only []string) ([]stage, error) {
	if len(only) == 0 {
		return all, nil
	}
	known := []string{}
	var left []stage
	for _, s := range all {
		known = append(known, s.workloads...)
		s.workloads = slices.DeleteFunc(slices.Clone(s.workloads), func(w string) bool {
			return !slices.Contains(only, w) && !(w == "delete" && slices.Contains(only, "deleted-read"))
		})
		if len(s.workloads) > 0 {
			left = append(left, s)
		}
	}
	for _, w := range only {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("workload %q is none of %s", w, strings.Join(known, ", "))
		}
	}
	return left, nil
}

// runStage runs every round of a stage, the engines in turn for each workload.
func (b *bench) runStage(ctx context.Context, s *stage) (err error) {
	processes := map[string]*process{}
	defer func() {
		for _, p := range processes {
			err = joinFirst(err, p.end())
		}
	}()
	for round := range b.options.rounds {
		if s.run != nil {
			for _, engine := range b.turns(round) {
				if err := s.run(ctx, b, s, engine, round); err != nil {
					return err
				}
			}
			continue
		}
		for _, engine := range b.turns(round) {
			if s.afresh && len(s.workloads) > 1 || !s.afresh && processes[engine] == nil {
				if processes[engine], err = b.replace(ctx, s, engine, processes[engine]); err != nil {
					return err
				}
			}
		}
		for _, w := range s.workloads {
			for _, engine := range b.turns(round) {
				if s.afresh && len(s.workloads) == 1 {
					// Nothing is loaded before, so the process need not wait for the others' runs.
					if processes[engine], err = b.replace(ctx, s, engine, processes[engine]); err != nil {
						return err
					}
				}
				a, err := processes[engine].do(order{w, uint64(round + 1)})
				if err != nil {
					return fmt.Errorf("%s of %s: %w", w, engine, err)
				}
				if !a.Unsupported {
					b.record(w, engine, round, a.Result)
				}
			}
		}
	}
	return nil
}

// replace ends a process, if there is one, and its data, and starts another on a new directory.
func (b *bench) replace(ctx context.Context, s *stage, engine string, old *process) (*process, error) {
	if err := old.end(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, engine+"-")
	if err != nil {
		return nil, err
	}
	p, _, err := b.start(ctx, s.setup, engine, dir)
	return p, err
}

// reopen fills a log, kills the process, and measures how long another takes to open the engine.
func reopen(ctx context.Context, b *bench, s *stage, engine string, round int) error {
	dir, err := os.MkdirTemp(b.dir, engine+"-")
	if err != nil {
		return err
	}
	p, _, err := b.start(ctx, s.setup, engine, dir)
	if err != nil {
		return err
	}
	if _, err := p.do(order{}); err != nil {
		p.kill()
		return fmt.Errorf("fill the log of %s: %w", engine, err)
	}
	p.kill()
	again := s.setup
	again.Recover = true
	p, a, err := b.start(ctx, again, engine, dir)
	if err != nil {
		return err
	}
	n := s.setup.Keys
	m := measurement{
		Operations: int64(n), Rate: float64(n) / a.Opened.Seconds(), Longest: a.Opened,
		CPU: a.Result.CPU / max(1, asDuration(n)), Memory: a.Result.Memory, Stored: stored(filepath.Clean(dir)),
	}
	if a.Lost > 0 {
		m.Note = fmt.Sprintf("%d of %d keys lost", a.Lost, n)
	}
	b.record("reopen", engine, round, m)
	return p.end()
}
