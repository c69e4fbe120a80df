package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kvstore/benchmarks/engine/internal/engines"
)

// setup is the first thing a child is told: what to open and how to fill it.
type setup struct {
	Engine          string
	Dir             string
	Durable         bool
	Memtable, Cache int64
	Keys, ValueSize int
	// Load has all keys written, and the engine closed, opened again and at rest, before the first run.
	Load bool
	// Recover has it read all keys first, of which some may be lost.
	Recover  bool
	Time     time.Duration
	Profiles string
}

// order tells a child to run a workload. No workload is the order to fill the engine with the keys and do nothing more.
type order struct {
	Workload string
	Seed     uint64
}

// answer is what a child says when it has done its setup or an order. A failure ends it.
type answer struct {
	// Opened is what opening took, up to the first read.
	Opened time.Duration
	Lost   int
	Result measurement
	// Unsupported says that the engine cannot do the workload.
	Unsupported bool
	Error       string
}

// measurement is what one run showed. Times are per operation.
type measurement struct {
	Operations              int64
	Rate                    float64 // operations a second
	P50, P99, P999, Longest time.Duration
	CPU                     time.Duration
	Allocations             float64
	Written                 float64 // bytes an operation, of pages made dirty
	Stored, Memory          int64   // bytes
	Note                    string
}

// child is a process with one engine open, which does what it is told on its standard input.
type child struct {
	setup   setup
	engine  engines.Engine
	values  *values
	zipf    *zipf
	seed    uint64
	deleted atomic.Uint64 // how many of the keys delete has come by
}

// runChild is the whole life of a child.
func runChild(in io.Reader, out io.Writer) error {
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	c := &child{}
	if err := orders.Decode(&c.setup); err != nil {
		return fmt.Errorf("read the setup: %w", err)
	}
	ready, err := c.prepare()
	if err != nil {
		return errors.Join(err, answers.Encode(answer{Error: err.Error()}))
	}
	if err := answers.Encode(ready); err != nil {
		return err
	}
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return c.engine.Close()
		} else if err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		a := answer{}
		err := c.obey(o, &a)
		if a.Unsupported = engines.Unsupported(err); err != nil && !a.Unsupported {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

func (c *child) open() (err error) {
	s := &c.setup
	c.engine, err = engines.Open(s.Engine, engines.Options{Dir: s.Dir, Durable: s.Durable, Memtable: s.Memtable, Cache: s.Cache})
	return err
}

func (c *child) prepare() (a answer, err error) {
	s := &c.setup
	c.values, c.zipf = newValues(s.ValueSize), newZipf(s.Keys)
	began := time.Now()
	if err := c.open(); err != nil {
		return a, err
	}
	if _, _, err := c.engine.Get(nil, appendKey(nil, 0)); err != nil {
		return a, err
	}
	a.Opened = time.Since(began)
	switch {
	case s.Recover:
		a.Result.Memory = peakMemory()
		a.Result.CPU = cpuTime()
		a.Lost, err = c.countLost()
	case s.Load:
		if err = c.load(); err == nil {
			err = c.engine.Close()
		}
		if err == nil {
			err = c.open()
		}
	}
	if !s.Recover {
		settle()
	}
	runtime.GC()
	return a, err
}

// loadBatch is how many pairs are loaded at once.
const loadBatch = 5000

func (c *child) load() error {
	var k []byte
	for from := 0; from < c.setup.Keys; from += loadBatch {
		err := c.engine.SetMany(min(loadBatch, c.setup.Keys-from), func(i int) ([]byte, []byte) {
			n := uint64(from + i)
			k = appendKey(k[:0], n)
			return k, c.values.at(n)
		})
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	return nil
}

func (c *child) countLost() (lost int, err error) {
	var k, v []byte
	for i := range uint64(c.setup.Keys) {
		k = appendKey(k[:0], i)
		value, found, err := c.engine.Get(v[:0], k)
		if err != nil {
			return lost, err
		}
		if v = value; !found {
			lost++
		}
	}
	return lost, nil
}

func (c *child) obey(o order, a *answer) error {
	if o.Workload == "" {
		return c.load()
	}
	all := workloads()
	at := slices.IndexFunc(all, func(w workload) bool { return w.name == o.Workload })
	if at < 0 {
		return fmt.Errorf("workload %q is unknown", o.Workload)
	}
	load := all[at]
	c.seed = o.Seed
	if load.warms() {
		// What was read once is warm.
		c.seed++
		warming := workload{threads: load.threads, step: load.step}
		if load.writes {
			warming.step = (*worker).read
		}
		if _, _, _, err := c.drive(warming, c.setup.Time/2); err != nil {
			return err
		}
	}
	debug.FreeOSMemory() // what went before is not the run's memory
	stop, err := c.profile(o)
	if err != nil {
		return err
	}
	resetPeak()
	before := currentUsage()
	sum, took, note, err := c.drive(load, c.setup.Time)
	if load.writes && err == nil {
		settle()
	}
	after := currentUsage()
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	n := float64(max(sum.total, 1))
	if load.passes > 0 {
		pair := float64(len(appendKey(nil, 0)) + c.setup.ValueSize)
		note = strings.TrimSpace(fmt.Sprintf("%.1f bytes written for each of the caller's %s", float64(after.written-before.written)/n/pair, note))
	}
	a.Result = measurement{
		Operations: sum.total, Rate: n / took.Seconds(),
		P50: sum.quantile(0.5), P99: sum.quantile(0.99), P999: sum.quantile(0.999), Longest: sum.max,
		CPU:         time.Duration(float64(after.cpu-before.cpu) / n),
		Allocations: float64(after.allocs-before.allocs) / n,
		Written:     float64(after.written-before.written) / n,
		Stored:      stored(c.setup.Dir), Memory: peakMemory(), Note: note,
	}
	return nil
}

// profile begins a profile of the processor, if asked to, and returns what ends it.
func (c *child) profile(o order) (stop func() error, err error) {
	if c.setup.Profiles == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(c.setup.Profiles, fmt.Sprintf("%s-%s-%d.prof", o.Workload, c.setup.Engine, o.Seed)))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what a run has left: %w", err)
	}
	return nil
}
