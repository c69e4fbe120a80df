// Command benchmarks measures kvstore beside Redis on this machine.
//
//	go run ./benchmarks [-short] [-memory] [-csv FILE] [-profile DIR]
//
// It builds kvstore, starts it and redis-server on free loopback ports with
// data in temporary directories, and drives both with redis-benchmark: one
// node beside one redis-server, and three nodes (N=3 R=2 W=2) beside a Redis
// Cluster of three masters and three replicas. The runs alternate, so that
// whatever else the machine does meets both sides, and what is compared is
// the median of the ratios of neighbouring runs.
//
// A part of the program is a topology (redis.go, kvstore.go) that gives a list
// of targets, the first being the reference; a stage starts it afresh, fills
// it where the workload reads, and hands the targets to compare (compare.go),
// which warms them up, chooses how many operations a run has, and measures the
// rounds. A run is one redis-benchmark (run.go, watch.go) and the processor time of the
// servers around it (process.go). Servers are stopped by their process ids,
// also on Ctrl-C. Everything needs Linux's /proc, redis-server, redis-cli and
// redis-benchmark.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options is what the command line says, and the sizes that follow from it.
type options struct {
	rounds   int
	short    bool
	only     string
	memory   bool
	csv      string
	profiles string
	dir      string

	keys       int           // of the key space that runs draw from
	routedKeys int           // the same per slot: redis-benchmark --cluster puts the slot into the key
	runTime    time.Duration // how long a run is meant to take
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case interrupted:
		fmt.Fprintln(os.Stderr, "benchmarks: interrupted; the servers are stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{keys: 1_000_000, routedKeys: 20, runTime: 1800 * time.Millisecond}
	f := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 0, "runs per `target` and workload (default 5, or 2 with -short)")
	f.BoolVar(&o.short, "short", false, "shorter runs on fewer keys: a look, not a figure")
	f.StringVar(&o.only, "only", "", "measure one `part`: one, three, memory or overload")
	f.BoolVar(&o.memory, "memory", false, "also load 10 million keys, and show resident memory and the start after kill -9")
	f.StringVar(&o.csv, "csv", "", "write every run to `file`")
	f.StringVar(&o.profiles, "profile", "", "write profiles of the kvstore nodes, one run of each workload, to `directory`")
	f.StringVar(&o.dir, "dir", "", "put the data into a temporary directory under `directory`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.short {
		o.keys, o.routedKeys, o.runTime = 200_000, 4, 600*time.Millisecond
	}
	if o.rounds == 0 {
		o.rounds = 5
		if o.short {
			o.rounds = 2
		}
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.rounds < 1:
		return o, fmt.Errorf("-rounds = %d: allowed are 1 and more", o.rounds)
	case o.only != "" && o.only != "one" && o.only != "three" && o.only != "memory" && o.only != "overload":
		return o, fmt.Errorf("-only = %q: allowed are one, three, memory and overload", o.only)
	}
	return o, nil
}

// parts are the names that -only knows, for a run of o.
func (o options) parts() []string {
	switch {
	case o.only != "":
		return []string{o.only}
	case o.memory:
		return []string{"one", "three", "memory"}
	}
	return []string{"one", "three"}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "kvstore-benchmarks-")
	if err != nil {
		return fmt.Errorf("make a directory for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{options: o, dir: dir, out: stdout, progress: stderr}
	if err := describeMachine(ctx, stdout, dir); err != nil {
		return err
	}
	if b.executable, err = build(ctx, dir); err != nil {
		return err
	}
	started := time.Now()
	for _, part := range o.parts() {
		switch part {
		case "one":
			err = b.part(ctx, "one node", startPair)
		case "three":
			err = b.part(ctx, "three nodes", startClusters)
		case "memory":
			err = b.memory(ctx)
		case "overload":
			err = b.overload(ctx)
		}
		if err != nil {
			break
		}
	}
	if o.csv != "" && len(b.runs) > 0 {
		err = errors.Join(err, writeCSV(o.csv, b.runs))
	}
	if err == nil {
		fmt.Fprintf(stdout, "\n%.0f s\n", time.Since(started).Seconds())
	}
	return err
}
