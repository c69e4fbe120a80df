package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kvstore/tests/lab"
)

const (
	threeNodes = 3
	// changeWithin is how long a node may take to join, leave or catch up.
	changeWithin = 10 * time.Minute
)

// system is a cluster that grows and shrinks.
type system interface {
	// newClient makes a client's way to the cluster; number tells clients apart.
	newClient(number int) requester
	// route names the server that takes a key when all are set or read.
	route(key string) string
	// settle waits until there is nothing left to do of what was loaded.
	settle(ctx context.Context) error
	// grow adds the fourth node and returns when it has its share; shrink takes it away.
	grow(ctx context.Context) (change, error)
	shrink(ctx context.Context) (change, error)
	// absent kills the third node and returns when the others know; back starts it again and
	// returns when it has what it missed.
	absent(ctx context.Context) error
	back(ctx context.Context) (change, error)
	// servers are the processes that run.
	servers() []*lab.Server
	// close ends them.
	close()
}

// change is what was moved.
type change struct {
	keys, bytes int64 // bytes is 0 where the server does not count them
	parts       int   // of the keys, that changed their place
	least       int   // that had to
	all         int   // that there are of one copy
}

// bench measures all that was asked for.
type bench struct {
	keys, rate, rounds int
	quiet              time.Duration
	warmUp             time.Duration // of work that is not counted
	systems, settings  []string
	programs           []string
	dir                string
	returns            bool // a node was away and comes back; none joins or leaves
	verbose            bool
	out, progress      io.Writer
	bytes              int64 // of all keys and values
}

func parse(args []string, stderr io.Writer) (*bench, error) {
	b := &bench{warmUp: 2 * time.Second}
	f := flag.NewFlagSet("rebalance", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&b.keys, "keys", 200_000, "how many `keys` there are")
	f.IntVar(&b.rate, "rate", 2000, "`requests` a second, of all clients together")
	f.IntVar(&b.rounds, "rounds", 1, "how often every system is measured")
	f.DurationVar(&b.quiet, "quiet", 8*time.Second, "how long a quiet `time` is")
	f.BoolVar(&b.returns, "returns", false, "measure a node that comes back and has missed all keys, instead of one that joins and leaves")
	systems := f.String("systems", "", "the `systems` to measure: kvstore, kvstore-routed, redis; kvstore,redis when empty, kvstore with -returns")
	programs := f.String("kvstore", "", "`files` to measure instead of the working tree's kvstore")
	settings := f.String("settings", "", "`settings` of kvstore, section.key=value, with commas between")
	f.StringVar(&b.dir, "dir", "", "put the data into a temporary directory under `directory`")
	f.BoolVar(&b.verbose, "v", false, "also print the p99 of every second, and errors by their kind")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	list := func(text string) []string {
		return slices.DeleteFunc(strings.Split(text, ","), func(s string) bool { return s == "" })
	}
	if *systems == "" && b.returns {
		*systems = "kvstore"
	} else if *systems == "" {
		*systems = "kvstore,redis"
	}
	b.systems, b.programs, b.settings = list(*systems), list(*programs), list(*settings)
	switch {
	case b.returns && slices.Contains(b.systems, "redis"):
		return nil, errors.New("-returns measures kvstore only: a master of Redis that comes back has missed nothing, because its slots took no writes")
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case b.keys < 1000:
		return nil, fmt.Errorf("-keys = %d: allowed are 1000 and more", b.keys)
	case b.rate < clientCount:
		return nil, fmt.Errorf("-rate = %d: allowed are %d and more", b.rate, clientCount)
	case b.rounds < 1:
		return nil, fmt.Errorf("-rounds = %d: allowed are 1 and more", b.rounds)
	}
	for _, name := range b.systems {
		if !slices.Contains([]string{"kvstore", "kvstore-routed", "redis"}, name) {
			return nil, fmt.Errorf("-systems: %q is none of kvstore, kvstore-routed, redis", name)
		}
	}
	return b, nil
}

func run(args []string, stdout, stderr io.Writer) (int, error) {
	b, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0, nil
	case err != nil:
		return 2, err
	}
	b.out, b.progress = stdout, stderr
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if b.dir, err = os.MkdirTemp(b.dir, "kvstore-rebalance-"); err != nil {
		return 1, fmt.Errorf("make a directory for the data: %w", err)
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return 1, err
	}
	if err := b.all(ctx); err != nil {
		return 1, fmt.Errorf("%w; logs are in %s", err, b.dir)
	}
	return 0, os.RemoveAll(b.dir)
}

// starter makes a system, new.
type starter = func(ctx context.Context, dir string) (system, error)

// prepare builds kvstore where that is what is measured, and names the systems.
func (b *bench) prepare(ctx context.Context) (start map[string]starter, err error) {
	if len(b.programs) == 0 && slices.ContainsFunc(b.systems, func(name string) bool { return name != "redis" }) {
		program := filepath.Join(b.dir, "kvstore")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "kvstore").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build kvstore: %w: %s", err, out)
		}
		b.programs = []string{program}
	}
	start = map[string]starter{}
	var names []string
	for _, name := range b.systems {
		if name == "redis" {
			names = append(names, name)
			start[name] = startRedis
			continue
		}
		for _, program := range b.programs {
			called := name
			if len(b.programs) > 1 {
				called += " " + filepath.Base(program)
			}
			names = append(names, called)
			start[called] = func(ctx context.Context, dir string) (system, error) {
				return startKvstore(ctx, program, dir, name == "kvstore-routed", b.settings)
			}
		}
	}
	b.systems = names
	return start, nil
}

func (b *bench) all(ctx context.Context) error {
	start, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	lab.DescribeMachine(ctx, b.out)
	fmt.Fprintf(b.out, "%d keys of %d bytes with values of %d to %d, %.0f MB; %d clients, %d requests a second, half of them writes; %d round(s)\n\n",
		b.keys, keySize, minValue, minValue+valueSpread-1, float64(payload(b.keys))/1e6, clientCount, b.rate, b.rounds)
	return b.measure(ctx, start)
}

// measure measures all systems in turns, and prints what came of it.
func (b *bench) measure(ctx context.Context, start map[string]starter) error {
	b.bytes = payload(b.keys)
	results := map[string][]result{}
	for round := range b.rounds {
		for _, name := range b.systems {
			fmt.Fprintf(b.progress, "round %d, %s ...\n", round+1, name)
			dir := filepath.Join(b.dir, strings.ReplaceAll(name, " ", "-")+strconv.Itoa(round))
			r, err := b.one(ctx, start[name], dir)
			if err == nil { // its servers have ended
				err = os.RemoveAll(dir)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			results[name] = append(results[name], r)
		}
	}
	return b.print(results)
}

// one measures one system, new.
func (b *bench) one(ctx context.Context, start starter, dir string) (r result, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return r, err
	}
	starting, cancel := context.WithTimeout(ctx, lab.Patience)
	defer cancel()
	s, err := start(starting, dir)
	if err != nil {
		return r, err
	}
	defer s.close()
	keys := newLedger(b.keys)
	if err := b.fill(ctx, s); err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	c := employ(s.newClient, keys, b.rate)
	m := newMeter(b, s, c)
	err = m.phases(ctx)
	if err = errors.Join(err, c.finish()); err != nil {
		return r, err
	}
	r = m.result()
	if r.lost, err = lost(ctx, keys, s.route); err != nil {
		return r, fmt.Errorf("read all keys: %w", err)
	}
	b.tell(m, &r)
	return r, nil
}

// fill sets all keys, while a node is away if it is that what is measured.
func (b *bench) fill(ctx context.Context, s system) error {
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	if b.returns {
		return errors.Join(s.absent(ctx), load(ctx, b.keys, s.route))
	}
	return errors.Join(load(ctx, b.keys, s.route), s.settle(ctx))
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts finds ports that are free for TCP and UDP, below those that the kernel gives to
// outgoing connections: the clients' would meet them.
func freePorts(count int) (ports []int, err error) {
	const first, last = 10000, 32000
	at := first + (os.Getpid()*397+int(time.Now().UnixNano()/1000))%(last-first)
	for range last - first {
		if at++; at == last {
			at = first
		}
		l, err := net.Listen("tcp", loopback(at))
		if err != nil {
			continue
		}
		defer l.Close() // all stay taken until all are found
		p, err := net.ListenPacket("udp", loopback(at))
		if err != nil {
			continue
		}
		defer p.Close()
		if ports = append(ports, at); len(ports) == count {
			return ports, nil
		}
	}
	return nil, errors.New("there are no free ports")
}
