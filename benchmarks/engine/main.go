// Command engine compares the storage engine with other embedded engines, side by side.
//
//	go run . [-short] [-rounds N] [-engines LIST] [-workloads LIST] [-csv FILE]
//
// in benchmarks/engine, which is a module of its own so that the rivals are no dependencies of kvstore.
//
// Every workload has each engine in a process of its own, this program started again as a child, so that processor time
// and memory are its own. A stage (stages.go) is a list of workloads on the same data, which is loaded once for each
// engine, with the same keys, values and options. The children are told one after another to run a workload
// (workload.go): the engines' runs alternate, so that whatever else the machine does meets all of them, and what is
// compared is the median of the ratios of neighbouring runs. An engine that fails or hangs in a workload is reported and
// left out of the rest of it; the program goes on, and fails at its end. A child (child.go) measures itself: the latency
// of each operation as its caller sees it, and the processor time, allocations and bytes written until its background
// work is done.
//
// Keys are the server's: a uniform token of 8 bytes, the database, "key:%012d", the kind. Values compress to a half.
// Without a durable workload's flushes the engines do not sync their logs; package engines says what each promises.
//
// The columns: CPU, allocations and bytes written are for one operation; stored are the bytes of the files at the end;
// memory is the resident peak, which for engines that map their files (bbolt, Badger) has the page cache in it. Of
// reopen the operations are the records recovered and the longest stall is the time until the first read. A run that
// does not come by all keys in time is cut short; its rate stands for what it did. The last table is for the README: its
// ratios are the median, least and largest of the rounds, and "(of 3)" says that an engine had three rounds only, because
// the time of the workload was running out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"kvstore/benchmarks/engine/internal/engines"
)

// childFlag has the program be a child.
const childFlag = "-child"

type options struct {
	engines, workloads []string
	rounds             int
	keys, large        int
	time, limit        time.Duration
	csv, dir, profiles string
}

// bench is one run of the program.
type bench struct {
	options options
	dir     string
	out     io.Writer
	runs    []run
	// began is when the first stage did, total how many workloads there are, and done how many of them are over.
	began       time.Time
	total, done int
	// failures counts the runs that an engine did not come through.
	failures int
}

// run is one measurement and where it belongs.
type run struct {
	workload, engine string
	round            int
	measurement
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == childFlag {
		if err := runChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "engine:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := compare(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("engine", flag.ContinueOnError)
	f.SetOutput(stderr)
	short := f.Bool("short", false, "one round of short runs on 200,000 keys: a look, not a figure")
	names := f.String("engines", strings.Join(engines.Names(), ","), "the engines to run, separated by commas")
	only := f.String("workloads", "", "the workloads to run, separated by commas (default all)")
	f.IntVar(&o.rounds, "rounds", 0, "runs of each workload (default 5, with -short 1)")
	f.IntVar(&o.keys, "keys", 0, "keys in the data (default 1,000,000, with -short 200,000)")
	f.IntVar(&o.large, "large", 0, "keys of 1 KB in the data that the cache is small for (default 500,000, with -short 200,000)")
	f.DurationVar(&o.time, "time", 0, "how long a run takes, and a third of the longest that one over all keys does (default 1s, with -short 0.5s)")
	f.DurationVar(&o.limit, "limit", 24*time.Minute, "how long the whole may take: a workload that has used most of its share has rounds of ours and pebble only, and one that is over it has no more")
	f.StringVar(&o.csv, "csv", "", "write every run to `file`")
	f.StringVar(&o.dir, "dir", "", "put the data into a temporary directory under `directory`")
	f.StringVar(&o.profiles, "profile", "", "write a profile of the processor for every run into `directory`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	orDefault(&o.rounds, 5, 1, *short)
	orDefault(&o.keys, 1_000_000, 200_000, *short)
	orDefault(&o.large, 500_000, 200_000, *short)
	orDefault(&o.time, time.Second, 500*time.Millisecond, *short)
	o.engines = strings.Split(*names, ",")
	if *only != "" {
		o.workloads = strings.Split(*only, ",")
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.rounds < 1 || o.keys < 1 || o.large < 1 || o.time <= 0:
		return o, errors.New("-rounds, -keys, -large and -time are 1 and more")
	}
	return o, engines.Check(o.engines)
}

// patience is how long a child may take for anything: loading all keys in the slowest engine, and then some.
func (o *options) patience() time.Duration {
	return 2*time.Minute + time.Duration(o.keys+10*o.large)*50*time.Microsecond + 20*o.time
}

func orDefault[T int | time.Duration](field *T, long, short T, isShort bool) {
	switch {
	case *field != 0:
	case isShort:
		*field = short
	default:
		*field = long
	}
}

func compare(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	list, err := chosen(stages(&o), o.workloads)
	if err != nil {
		return err
	}
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o755); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(o.dir, "kvstore-engine-")
	if err != nil {
		return fmt.Errorf("make a directory for the data: %w", err)
	}
	defer func() { err = joinFirst(err, removeAll(dir)) }()
	b := &bench{options: o, dir: dir, out: stdout}
	b.began = time.Now()
	fmt.Fprintf(stdout, "%s; %d rounds, %d keys, %v a run\n", b.began.UTC().Format("2006-01-02 15:04 UTC"), o.rounds, o.keys, o.time)
	describeMachine(ctx, stdout, dir)
	for i := range list {
		b.total += len(list[i].workloads)
	}
	for i := range list {
		if err = b.runStage(ctx, &list[i]); err != nil {
			break
		}
		b.done += len(list[i].workloads)
		b.printStage(&list[i])
	}
	if len(b.runs) > 0 {
		b.printSummary(list)
		b.printMarkdown(stdout, list)
		if o.csv != "" {
			err = joinFirst(err, b.writeCSV())
		}
	}
	fmt.Fprintf(stdout, "\n%.0f s\n", time.Since(b.began).Seconds())
	if b.failures > 0 {
		err = joinFirst(err, fmt.Errorf("%d runs failed", b.failures))
	}
	return err
}

// haste is the part of a workload's share of the time from which on only ours and the rival have rounds.
const haste = 0.75

// used returns how much of its share of the time the program has used when so many workloads are done, 1 being all.
func (b *bench) used(done int) float64 {
	share := float64(done) / float64(max(b.total, 1))
	return float64(time.Since(b.began)) / (share * float64(b.options.limit))
}

// turns is the order of the engines in a round, another one each time. Every engine has a first round; when it is getting
// late with a workload, which with it would be so many, the aims' two engines go on alone, and when it is late nobody does.
func (b *bench) turns(round, done int) []string {
	turns := slices.Clone(b.options.engines)
	switch used := b.used(done); {
	case round == 0:
	case used > 1:
		return nil
	case used > haste:
		turns = slices.DeleteFunc(turns, func(name string) bool { return name != engines.Ours && name != rival })
	}
	rand.New(rand.NewPCG(uint64(round), 0)).Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	return turns
}

func (b *bench) record(workload, engine string, round int, m measurement) {
	b.runs = append(b.runs, run{workload, engine, round, m})
}
