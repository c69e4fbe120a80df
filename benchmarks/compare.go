package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// bench is one run of the program.
type bench struct {
	options
	dir        string // of the data; removed at the end
	executable string // kvstore, built
	out        io.Writer
	progress   io.Writer
	stages     int // started so far; each has a directory of its own
	runs       []record
}

// record is one measured run.
type record struct {
	part, workload, target string
	round                  int // from 1
	operations             int
	measurement
}

// topology starts servers under dir. The first target is what the others are
// compared with.
type topology func(ctx context.Context, b *bench, dir string) (targets []target, stop func(), err error)

// stage is a list of workloads that may follow each other on the same data.
type stage struct {
	filled    bool // every key is there before the first run
	workloads []workload
}

// stages start both sides afresh for each kind of write, so that no side meets
// data that the other has not.
var stages = [...]stage{
	{workloads: []workload{{"SET", 1}}},
	{workloads: []workload{{"SET", 16}}},
	{filled: true, workloads: []workload{{"GET", 1}, {"GET", 16}}},
}

// startPair starts one redis-server and one kvstore node.
func startPair(ctx context.Context, b *bench, dir string) ([]target, func(), error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, nil, err
	}
	redis, err := startRedis(ctx, "redis", filepath.Join(dir, "redis"), ports[0])
	if err != nil {
		return nil, nil, err
	}
	nodes, err := startNodes(ctx, b.executable, dir, 1)
	if err != nil {
		redis.stop()
		return nil, nil, err
	}
	stop := func() { stopAll(append(processesOf(nodes), redis)) }
	return []target{
		{name: "redis", port: ports[0], processes: []*process{redis}},
		{name: "kvstore", port: nodes[0].port, processes: processesOf(nodes), nodes: nodes},
	}, stop, nil
}

// startClusters starts a Redis Cluster and three kvstore nodes. Each kvstore
// node takes any command, so it is measured with all clients at one node too.
func startClusters(ctx context.Context, b *bench, dir string) ([]target, func(), error) {
	ports, redis, err := startRedisCluster(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := startNodes(ctx, b.executable, dir, 3, "--replication.n=3", "--replication.r=2", "--replication.w=2")
	if err != nil {
		stopAll(redis)
		return nil, nil, err
	}
	kvstore := processesOf(nodes)
	stop := func() { stopAll(append(kvstore, redis...)) }
	return []target{
		{name: "redis cluster", port: ports[0], routed: true, processes: redis},
		{name: "kvstore, one node", port: nodes[0].port, processes: kvstore, nodes: nodes},
		{name: "kvstore, routed", port: nodes[0].port, routed: true, processes: kvstore, nodes: nodes},
	}, stop, nil
}

// part measures every workload on one topology and prints the table.
func (b *bench) part(ctx context.Context, name string, start topology) error {
	for _, s := range stages {
		if err := b.stage(ctx, name, start, s); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.out, "\n%s: %d B values, %d clients, %d keys, %d rounds\n\n", name, valueSize, clients, b.keys, b.rounds)
	return writeTable(b.out, summarize(b.runs, name))
}

func (b *bench) stage(ctx context.Context, part string, start topology, s stage) (err error) {
	b.stages++
	dir := filepath.Join(b.dir, strconv.Itoa(b.stages))
	b.say("%s: starting servers", part)
	targets, stop, err := start(ctx, b, dir)
	if err != nil {
		return err
	}
	defer func() {
		stop()
		if removeErr := os.RemoveAll(dir); err == nil {
			err = removeErr
		}
	}()
	if s.filled {
		b.say("%s: filling", part)
		for _, t := range targets {
			if err := b.fill(ctx, t); err != nil {
				return err
			}
		}
	}
	for _, w := range s.workloads {
		if err := b.compare(ctx, part, targets, w); err != nil {
			return err
		}
	}
	return nil
}

// fill sets every key that GET will ask for. The keys of routed runs contain a
// tag out of redis-benchmark's own table, so it has to write them itself: at
// random, three times as many as there are, which leaves 5 % of them unset.
func (b *bench) fill(ctx context.Context, t target) error {
	if !t.routed {
		return load(ctx, t.port, 0, b.keys)
	}
	const slots = 16384
	_, err := redisBenchmark(ctx, t, workload{"SET", 64}, 3*slots*b.routedKeys, b.routedKeys)
	return err
}

// keySpace is the argument of redis-benchmark -r. Routed GETs draw from few
// numbers, because each of them is a key in every slot.
func (b *bench) keySpace(t target, w workload) int {
	if t.routed && w.test == "GET" {
		return b.routedKeys
	}
	return b.keys
}

// compare warms the targets up and measures them in turn, round by round, with
// the same number of operations.
func (b *bench) compare(ctx context.Context, part string, targets []target, w workload) error {
	count, err := b.warmUp(ctx, targets, w)
	if err != nil {
		return err
	}
	for round := range b.rounds {
		b.say("%s, %s: round %d of %d, %d operations each", part, w, round+1, b.rounds, count)
		for _, t := range targets {
			m, err := measure(ctx, t, w, count, b.keySpace(t, w))
			if err != nil {
				return err
			}
			b.runs = append(b.runs, record{part: part, workload: w.String(), target: t.name, round: round + 1, operations: count, measurement: m})
		}
	}
	if b.profiles == "" {
		return nil
	}
	for _, t := range targets {
		if err := b.profile(ctx, part, t, w); err != nil {
			return err
		}
	}
	return nil
}

// warmUp makes a short run on each target, and chooses how many operations let
// a run take the time it is meant to, in the geometric mean of the targets.
func (b *bench) warmUp(ctx context.Context, targets []target, w workload) (count int, err error) {
	b.say("%s: warming up", w)
	product := 1.0
	for _, t := range targets {
		var m measurement
		for range 2 { // the first run tells how many operations fill the second
			short := 10_000 * min(w.pipeline, 4)
			if m.rate > 0 {
				short = operations(m.rate, b.runTime*2/5)
			}
			if m, err = redisBenchmark(ctx, t, w, short, b.keySpace(t, w)); err != nil {
				return 0, err
			}
		}
		if err := settle(ctx, t.processes); err != nil {
			return 0, err
		}
		product *= m.rate
	}
	return operations(math.Pow(product, 1/float64(len(targets))), b.runTime), nil
}

// operations at a rate fill the time, to the thousand.
func operations(rate float64, d time.Duration) int {
	const unit = 1000
	return max(unit, int(rate*d.Seconds())/unit*unit)
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, "# "+format+"\n", args...) }
