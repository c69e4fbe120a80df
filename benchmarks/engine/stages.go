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

// pairSize is the size of a key with a value of 100 bytes.
const pairSize = 100 + 26

// amplifiedShare is how much larger than memtable and cache together the data is that amplify writes over.
const amplifiedShare = 10

// logShare is how full the log is that reopen finds: less than a memtable, in per cent, so that no engine has flushed.
const logShare = 70

func stages(o *options) []stage {
	small := setup{Keys: o.keys, ValueSize: 100}
	loaded := small
	loaded.Load = true
	kilo := setup{Keys: o.keys, ValueSize: 1000}
	large := setup{Keys: o.large, ValueSize: 1000, Load: true, Memtable: 16 << 20, Cache: max(int64(o.large)*1000/largeCacheShare, 1<<20)}
	amplified := loaded
	amplified.Keys = o.keys / 2
	amplified.Memtable = int64(amplified.Keys) * pairSize / amplifiedShare / 3
	amplified.Cache = 2 * amplified.Memtable
	deleted := loaded
	deleted.Keys = o.keys / 4
	durable := small
	durable.Durable = true
	log := small
	log.Keys = defaultMemtable * logShare / 100 / pairSize
	return []stage{
		{workloads: []string{"fill-1"}, setup: small, afresh: true},
		{workloads: []string{"fill-16"}, setup: small, afresh: true},
		{workloads: []string{"read-1", "read-16", "missing", "scan-slot", "ycsb-b", "ycsb-a", "overwrite", "checkpoint"}, setup: loaded},
		{workloads: []string{"fill-1k"}, setup: kilo, afresh: true},
		{workloads: []string{"large-read"}, setup: large},
		{workloads: []string{"amplify"}, setup: amplified},
		{workloads: []string{"durable-1", "durable-16", "durable-64"}, setup: durable},
		{workloads: []string{"delete", "deleted-read"}, setup: deleted, afresh: true},
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

// runStage runs every round of a stage, the engines in turn for each workload. An engine that fails is left out of the
// rest of the workload and tried again in the next.
func (b *bench) runStage(ctx context.Context, s *stage) error {
	if s.afresh {
		for round := range b.options.rounds {
			for _, engine := range b.turns(round, b.done+len(s.workloads)) {
				run := s.run
				if run == nil {
					run = runAfresh
				}
				if err := b.excuse(ctx, s.workloads[0], engine, run(ctx, b, s, engine, round)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	dirs := map[string]string{}
	defer func() {
		for _, dir := range dirs {
			// What cannot be removed goes with the directory of the whole.
			_ = removeAll(dir)
		}
	}()
	for i, w := range s.workloads {
		if err := b.runWorkload(ctx, s, w, b.done+i+1, dirs); err != nil {
			return err
		}
	}
	return nil
}

// excuse reports the failure of an engine and goes on, but not when the program is being stopped.
func (b *bench) excuse(ctx context.Context, workload, engine string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.failures++
		fmt.Fprintf(b.out, "\n%s of %s FAILED: %v\n", workload, engine, err)
	}
	return nil
}

// runAfresh runs all workloads of a stage on new data.
func runAfresh(ctx context.Context, b *bench, s *stage, engine string, round int) error {
	dir, err := os.MkdirTemp(b.dir, engine+"-")
	if err != nil {
		return err
	}
	p, _, err := b.start(ctx, s.setup, engine, dir)
	if err != nil {
		return err
	}
	for _, w := range s.workloads {
		if err := b.measure(p, w, engine, round); err != nil {
			p.kill()
			return joinFirst(err, removeAll(dir))
		}
	}
	return joinFirst(p.end(), removeAll(dir))
}

// measure has a child run a workload.
func (b *bench) measure(p *process, workload, engine string, round int) error {
	a, err := p.do(order{workload, uint64(round + 1)})
	if err == nil && !a.Unsupported {
		b.record(workload, engine, round, a.Result)
	}
	return err
}

// runWorkload runs all rounds of a workload on data that is loaded once for the stage, each engine in a process that has
// done nothing before. With it so many workloads are done.
func (b *bench) runWorkload(ctx context.Context, s *stage, workload string, done int, dirs map[string]string) error {
	processes := map[string]*process{}
	defer func() {
		for _, p := range processes {
			p.kill()
		}
	}()
	for round := range b.options.rounds {
		for _, engine := range b.turns(round, done) {
			p := processes[engine]
			if p == nil && round > 0 {
				continue // It has failed.
			}
			var err error
			if p == nil {
				p, err = b.onLoaded(ctx, s, engine, dirs)
			}
			if err == nil {
				processes[engine] = p
				err = b.measure(p, workload, engine, round)
			}
			if err != nil && p != nil {
				p.kill()
				delete(processes, engine)
			}
			if err := b.excuse(ctx, workload, engine, err); err != nil {
				return err
			}
		}
	}
	for engine, p := range processes {
		delete(processes, engine)
		if err := b.excuse(ctx, workload, engine, p.end()); err != nil {
			return err
		}
	}
	return nil
}

// onLoaded starts a child on the engine's data, which is loaded by another one if it is not there.
func (b *bench) onLoaded(ctx context.Context, s *stage, engine string, dirs map[string]string) (*process, error) {
	if dirs[engine] == "" {
		dir, err := os.MkdirTemp(b.dir, engine+"-")
		if err != nil {
			return nil, err
		}
		p, _, err := b.start(ctx, s.setup, engine, dir)
		if err == nil {
			err = p.end()
		}
		if err != nil {
			return nil, joinFirst(err, removeAll(dir))
		}
		dirs[engine] = dir
	}
	again := s.setup
	again.Load = false
	p, _, err := b.start(ctx, again, engine, dirs[engine])
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
		return fmt.Errorf("fill the log: %w", err)
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
	return joinFirst(p.end(), removeAll(dir))
}
