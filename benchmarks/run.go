package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// clients is the number of connections of every run.
const clients = 50

// workload is one redis-benchmark test at one pipeline depth.
type workload struct {
	test     string // SET or GET
	pipeline int
}

func (w workload) String() string { return fmt.Sprintf("%s -P %d", w.test, w.pipeline) }

// label is the workload in a file name.
func (w workload) label() string {
	return fmt.Sprintf("%s-p%d", strings.ToLower(w.test), w.pipeline)
}

// target is a server or cluster that runs are made against.
type target struct {
	name      string
	port      int
	routed    bool // by redis-benchmark --cluster: each key to the node that has it first
	processes []*process
	nodes     []*node // of kvstore; none for Redis
}

// measurement is what one run showed.
type measurement struct {
	rate          float64       // operations a second
	p50, p99, max time.Duration // latency seen by the clients
	cpu           time.Duration // of the servers, per operation; see settle
	allocations   float64       // of the servers, per operation; kvstore only
}

// redisBenchmark runs count operations of w and reads what redis-benchmark saw.
func redisBenchmark(ctx context.Context, t target, w workload, count, keys int) (measurement, error) {
	args := []string{"-p", strconv.Itoa(t.port), "-t", strings.ToLower(w.test), "-n", strconv.Itoa(count), "-c", strconv.Itoa(clients),
		"-d", strconv.Itoa(valueSize), "-r", strconv.Itoa(keys), "-P", strconv.Itoa(w.pipeline), "--csv", "--precision", "3"}
	if t.routed {
		args = append(args, "--cluster")
	}
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, "redis-benchmark", args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	var idle time.Duration
	var err error
	if t.routed {
		idle, err = runAndWatch(ctx, command, t.port)
	} else {
		err = command.Run()
	}
	var m measurement
	if err == nil {
		m, err = parseBenchmark(stdout.String(), w.test)
	}
	if err != nil {
		return m, fmt.Errorf("redis-benchmark of %s, %s: %w: %s", t.name, w, err,
			strings.TrimSpace(stderr.String()+"\n"+stdout.String()))
	}
	if t.routed {
		m.rate = withoutIdle(m.rate, count, idle)
	}
	return m, nil
}

// parseBenchmark reads the output of redis-benchmark --csv: in cluster mode some
// lines about the nodes, then
//
//	"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
//	"SET","61162.08","0.539","0.136","0.503","0.799","1.751","5.335"
//
// A reply that is an error shows as a line of its own, anywhere; redis-benchmark
// goes on then, and the figures mean nothing.
func parseBenchmark(output, test string) (m measurement, err error) {
	if at := strings.Index(output, "Error from server"); at >= 0 {
		line, _, _ := strings.Cut(output[at:], "\n")
		return m, errors.New(line)
	}
	start := strings.Index(output, `"test",`)
	if start < 0 {
		return m, errors.New("no table in the output")
	}
	rows, err := csv.NewReader(strings.NewReader(output[start:])).ReadAll()
	if err != nil {
		return m, fmt.Errorf("read the table: %w", err)
	}
	for _, row := range rows[1:] {
		if row[0] != test {
			continue
		}
		var err error
		number := func(name string) float64 {
			for i, column := range rows[0] {
				if column == name {
					value, parseErr := strconv.ParseFloat(row[i], 64)
					err = errors.Join(err, parseErr)
					return value
				}
			}
			err = errors.Join(err, fmt.Errorf("no column %s", name))
			return 0
		}
		milliseconds := func(name string) time.Duration {
			return time.Duration(number(name) * float64(time.Millisecond))
		}
		m = measurement{rate: number("rps"), p50: milliseconds("p50_latency_ms"), p99: milliseconds("p99_latency_ms"), max: milliseconds("max_latency_ms")}
		if err == nil && m.rate <= 0 {
			err = errors.New("no throughput")
		}
		return m, err
	}
	return m, fmt.Errorf("no row %s", test)
}

// measure makes one run and adds what it cost the servers. The cost includes
// the work that they put off until after it.
func measure(ctx context.Context, t target, w workload, count, keys int) (m measurement, err error) {
	before, err := cpuTime(t.processes)
	if err != nil {
		return m, err
	}
	allocated, err := allocations(ctx, t.nodes)
	if err != nil {
		return m, err
	}
	if m, err = redisBenchmark(ctx, t, w, count, keys); err != nil {
		return m, err
	}
	if err := settle(ctx, t.processes); err != nil {
		return m, err
	}
	after, err := cpuTime(t.processes)
	if err != nil {
		return m, err
	}
	m.cpu = (after - before) / time.Duration(count)
	then, err := allocations(ctx, t.nodes)
	m.allocations = (then - allocated) / float64(count)
	return m, err
}

const (
	settleInterval = 100 * time.Millisecond
	// settleShare of one core is what resting servers use at most. A cluster of
	// six processes rests at about 2 %.
	settleShare   = 0.1
	settleTimeout = 4 * time.Second
)

// settle waits until the servers rest, so that flushes, compactions and log
// rewrites after a run are not met by the next one. It gives up silently after
// settleTimeout: then the next run is noisier.
func settle(ctx context.Context, processes []*process) error {
	tick := time.NewTicker(settleInterval)
	defer tick.Stop()
	last, err := cpuTime(processes)
	for waited := time.Duration(0); err == nil && waited < settleTimeout; waited += settleInterval {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		var now time.Duration
		if now, err = cpuTime(processes); err == nil {
			if float64(now-last) <= settleShare*float64(settleInterval) && !hasChild(processes) {
				return nil
			}
			last = now
		}
	}
	return err
}
