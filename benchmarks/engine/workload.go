package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/storage/key"
)

// workload is one measured run.
type workload struct {
	name    string
	threads int
	// every says that the run has a turn for each, or each second, key and then ends, if three times the usual time are not
	// over before; with 0 it ends with the time.
	every int
	// passes, where it is not 0, is how many operations for each key make the run, however long they take, up to four times
	// the usual time.
	passes int
	// writes says that the engine has work left when the run is over, which is waited for and counted.
	writes bool
	// reads says that a run that writes reads too.
	reads bool
	step  func(w *worker) error
	// beside, which may be nil, runs once beside the workers, which go on until it returns. It returns a note.
	beside func(c *child) (note string, err error)
}

// warms says that a run finds what it reads in memory: the time before it is not that of the data's first touch.
func (w *workload) warms() bool { return !w.writes || w.reads }

// workloads are all that a child can run. Those of one stage (stages.go) follow each other on the same data.
func workloads() []workload {
	return []workload{
		{name: "fill-1", threads: 1, every: 1, writes: true, step: (*worker).write},
		{name: "fill-16", threads: 16, every: 1, writes: true, step: (*worker).write},
		{name: "fill-1k", threads: 1, every: 1, writes: true, step: (*worker).write},
		{name: "read-1", threads: 1, step: (*worker).read},
		{name: "read-16", threads: 16, step: (*worker).read},
		{name: "missing", threads: 1, step: (*worker).readMissing},
		{name: "scan-slot", threads: 1, step: (*worker).scanSlot},
		{name: "ycsb-b", threads: 16, writes: true, reads: true, step: func(w *worker) error { return w.mix(5) }},
		{name: "ycsb-a", threads: 16, writes: true, reads: true, step: func(w *worker) error { return w.mix(50) }},
		{name: "overwrite", threads: 1, writes: true, step: (*worker).overwrite},
		{name: "checkpoint", threads: 1, writes: true, step: (*worker).overwrite, beside: checkpointBeside},
		{name: "large-read", threads: 16, step: (*worker).read},
		{name: "durable-1", threads: 1, writes: true, step: (*worker).overwrite},
		{name: "durable-16", threads: 16, writes: true, step: (*worker).overwrite},
		{name: "durable-64", threads: 64, writes: true, step: (*worker).overwrite},
		{name: "amplify", threads: 1, passes: 1, writes: true, step: (*worker).overwrite},
		{name: "delete", threads: 1, every: 2, writes: true, step: (*worker).delete},
		{name: "deleted-read", threads: 16, step: (*worker).readHalf},
	}
}

// worker is one of the goroutines of a run.
type worker struct {
	c    *child
	rand *rand.Rand
	// i is the number of the step's key where every key has its turn.
	i         uint64
	key, hi   []byte
	value     []byte
	latencies latencies
}

// errWrongAnswer says that an engine answered what it should not have.
var errWrongAnswer = errors.New("wrong answer")

func (w *worker) any() uint64 { return w.rand.Uint64N(uint64(w.c.setup.Keys)) }

func (w *worker) write() error { return w.set(w.i) }

func (w *worker) overwrite() error { return w.set(w.any()) }

func (w *worker) set(i uint64) error {
	w.key = appendKey(w.key[:0], i)
	return w.c.engine.Set(w.key, w.c.values.at(i+w.rand.Uint64N(16)))
}

func (w *worker) read() error { return w.get(w.any(), true) }

// readMissing reads a key that lies among those that are there.
func (w *worker) readMissing() error { return w.get(w.any()+1<<39, false) }

func (w *worker) get(i uint64, there bool) error {
	w.key = appendKey(w.key[:0], i)
	value, found, err := w.c.engine.Get(w.value[:0], w.key)
	if err != nil {
		return err
	}
	w.value = value
	if found != there || found && len(value) != w.c.setup.ValueSize {
		return fmt.Errorf("key %d: found %v with %d bytes: %w", i, found, len(value), errWrongAnswer)
	}
	return nil
}

// mix is YCSB's mix of reads and updates, percent of them updates.
func (w *worker) mix(percent uint64) error {
	i := w.c.zipf.draw(w.rand)
	if w.rand.Uint64N(100) < percent {
		return w.set(i)
	}
	return w.get(i, true)
}

func (w *worker) scanSlot() error {
	slot := token(w.any()) >> slotShift
	w.key = key.AppendToken(w.key[:0], slot<<slotShift)
	w.hi = key.AppendToken(w.hi[:0], (slot+1)<<slotShift)
	n := 0
	err := w.c.engine.Scan(w.key, w.hi, func(k, v []byte) { n += len(k) + len(v) })
	if err == nil && n == 0 {
		err = fmt.Errorf("slot %d is empty: %w", slot, errWrongAnswer)
	}
	return err
}

func (w *worker) delete() error {
	w.key = appendKey(w.key[:0], w.i)
	return w.c.engine.Delete(w.key)
}

// readHalf reads keys of which delete deleted every second one, as far as it came.
func (w *worker) readHalf() error {
	i := w.any()
	return w.get(i, i%2 == 0 || i >= w.c.deleted.Load())
}

// checkpointBeside makes a checkpoint after a little while.
func checkpointBeside(c *child) (string, error) {
	time.Sleep(c.setup.Time / 4)
	dir := filepath.Join(filepath.Dir(c.setup.Dir), "checkpoint-"+filepath.Base(c.setup.Dir))
	began := time.Now()
	if err := c.engine.Checkpoint(dir); err != nil {
		return "", err
	}
	took := time.Since(began)
	time.Sleep(c.setup.Time / 4)
	return fmt.Sprintf("checkpoint in %v", took.Round(time.Millisecond)), removeAll(dir)
}

// passTimes is how many times the usual time a run of passes may take: what it shows is not the rate.
const passTimes = 4

// everyTimes is the like for a run over all keys, which must be long enough for memtables to fill.
const everyTimes = 3

// drive runs the workload's steps in its goroutines and returns what they took.
func (c *child) drive(load workload, limit time.Duration) (sum *latencies, took time.Duration, note string, err error) {
	var next atomic.Uint64
	var stop atomic.Bool
	var group sync.WaitGroup
	var once sync.Once
	fail := func(failed error) {
		once.Do(func() { err = failed })
		stop.Store(true)
	}
	if load.every > 0 {
		limit *= everyTimes
	}
	most := uint64(math.MaxUint64)
	if load.passes > 0 {
		most, limit = uint64(load.passes*c.setup.Keys), passTimes*limit
	}
	workers := make([]*worker, load.threads)
	began := time.Now()
	for n := range workers {
		w := &worker{c: c, rand: rand.New(rand.NewPCG(c.seed, uint64(n)))}
		workers[n] = w
		group.Go(func() {
			for last := began; !stop.Load() && (load.beside != nil || last.Sub(began) < limit); {
				if load.passes > 0 && next.Add(1) > most {
					return
				}
				if load.every > 0 {
					if w.i = next.Add(uint64(load.every)) - 1; w.i >= uint64(c.setup.Keys) {
						return
					}
				}
				if failed := load.step(w); failed != nil {
					fail(failed)
					return
				}
				now := time.Now()
				w.latencies.add(now.Sub(last))
				last = now
			}
		})
	}
	if load.beside != nil {
		var failed error
		if note, failed = load.beside(c); failed != nil {
			fail(failed)
		}
		stop.Store(true)
	}
	group.Wait()
	took = time.Since(began)
	if load.passes > 0 && next.Load() < most {
		note = "cut short"
	}
	if load.every > 0 {
		c.deleted.Store(next.Load())
		if next.Load() < uint64(c.setup.Keys) {
			note = "cut short"
		}
	}
	sum = &latencies{}
	for _, w := range workers {
		sum.merge(&w.latencies)
	}
	return sum, took, note, err
}
