package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"kvstore/tests/lab"
)

// Times of a measurement.
const (
	warmUp     = 3 * time.Second
	afterwards = 3 * time.Second // the work goes on after the fault is undone
)

// faultNames are the faults, in the order of the table.
var faultNames = []string{"kill", "pause", "blackhole", "restart"}

// systems are what is measured; lost is how long a fault lasts.
var systems = []struct {
	name  string
	lost  time.Duration
	start func(ctx context.Context, n *lab.Net, program, dir string) (system, error)
}{
	{"kvstore", 10 * time.Second, startKvstore},
	{"redis", 35 * time.Second, redisWith(15 * time.Second)},
	{"redis-1s", 10 * time.Second, redisWith(time.Second)},
}

// system is a cluster that one of its servers is taken from.
type system interface {
	// newClient makes a client's way to the cluster; number tells clients apart.
	newClient(number int) requester
	// victim is the server that is lost.
	victim() *lab.Server
	// prepare makes ready for an orderly restart.
	prepare(ctx context.Context) error
	// whole waits until the cluster is as it was before the fault.
	whole(ctx context.Context) error
	// close ends the servers.
	close()
}

func run(args []string) (int, error) {
	f := flag.NewFlagSet("failover", flag.ContinueOnError)
	only := f.String("faults", strings.Join(faultNames, ","), "the `faults` to measure")
	which := f.String("systems", "kvstore,redis,redis-1s", "the `systems` to measure")
	verbose := f.Bool("v", false, "also print the requests that failed or took over 100 ms, by the time since the fault")
	dir := f.String("dir", "", "put the data into a temporary directory under `directory`")
	if err := f.Parse(args); err != nil {
		return 2, nil // Parse has said what is wrong
	}
	inside, code, err := lab.Enter()
	if !inside || err != nil {
		return code, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{faults: strings.Split(*only, ","), systems: strings.Split(*which, ","), verbose: *verbose}
	for _, name := range b.faults {
		if !slices.Contains(faultNames, name) {
			return 2, fmt.Errorf("-faults: %q is none of %v", name, faultNames)
		}
	}
	if b.dir, err = os.MkdirTemp(*dir, "kvstore-failover-"); err != nil {
		return 1, fmt.Errorf("make a directory for the data: %w", err)
	}
	err = b.all(ctx)
	if err != nil {
		return 1, fmt.Errorf("%w; logs are in %s", err, b.dir)
	}
	return 0, os.RemoveAll(b.dir)
}

// bench measures all that was asked for.
type bench struct {
	faults, systems []string
	dir, program    string
	verbose         bool
}

func (b *bench) all(ctx context.Context) error {
	b.program = filepath.Join(b.dir, "kvstore")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.program, "kvstore").CombinedOutput(); err != nil {
		return fmt.Errorf("build kvstore: %w: %s", err, out)
	}
	lab.DescribeMachine(ctx, os.Stdout)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\tsystem\tgap before\tgap in writes\tgap in reads\tover 100 ms\terrors\tacknowledged\tlost\trequests")
	for _, fault := range b.faults {
		for _, s := range systems {
			if !slices.Contains(b.systems, s.name) {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s, %s ...\n", fault, s.name)
			m, err := b.one(ctx, fault, s.name, s.lost, s.start)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", fault, s.name, err)
			}
			fmt.Fprintf(table, "%s\t%s\t%v\t%v\t%v\t%d\t%d\t%d\t%d\t%d\n", fault, s.name, m.quietGap.Round(time.Millisecond), m.writeGap.Round(time.Millisecond),
				m.readGap.Round(time.Millisecond), m.slow, m.errors, m.acknowledged, m.lost, m.requests)
			fmt.Fprintf(os.Stderr, "  gap before %v, in writes %v, in reads %v, %d over 100 ms, %d lost; errors: %v\n", m.quietGap.Round(time.Millisecond), m.writeGap.Round(time.Millisecond),
				m.readGap.Round(time.Millisecond), m.slow, m.lost, m.texts)
		}
	}
	return table.Flush()
}

// one measures one fault in a new cluster.
func (b *bench) one(ctx context.Context, fault, name string, lost time.Duration,
	start func(context.Context, *lab.Net, string, string) (system, error)) (m measure, err error) {
	dir := filepath.Join(b.dir, fault+"-"+name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return m, err
	}
	network, err := lab.New()
	if err != nil {
		return m, err
	}
	defer network.Close()
	starting, cancel := context.WithTimeout(ctx, lab.Patience)
	defer cancel()
	s, err := start(starting, network, b.program, dir)
	if err != nil {
		return m, err
	}
	defer s.close()
	clients := work(s)
	err = pass(ctx, warmUp)
	for _, c := range clients {
		c.suffers()
	}
	begun := time.Now()
	if err == nil {
		err = suffer(ctx, fault, lost, network, s)
	}
	for _, c := range clients {
		m.add(c.finish())
	}
	if b.verbose {
		slices.SortFunc(m.story, func(a, b event) int { return a.at.Compare(b.at) })
		for _, e := range m.story {
			fmt.Fprintf(os.Stderr, "  %8.3f s  %7.3f s  client %d: %s\n", e.at.Sub(begun).Seconds(), e.took.Seconds(), e.client, e.what)
		}
	}
	if err != nil {
		return m, err
	}
	return m, m.verify(s, clients)
}

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// suffer lets a server be lost and come back.
func suffer(ctx context.Context, fault string, lost time.Duration, n *lab.Net, s system) error {
	var errs []error
	v := s.victim()
	switch fault {
	case "kill":
		v.Kill()
		errs = append(errs, pass(ctx, lost), v.Start())
	case "pause":
		errs = append(errs, v.Signal(syscall.SIGSTOP), pass(ctx, lost), v.Signal(syscall.SIGCONT))
	case "blackhole":
		n.Around(v.Host, lab.Rule{Cut: true})
		errs = append(errs, pass(ctx, lost))
		n.Heal()
	case "restart":
		patient, cancel := context.WithTimeout(ctx, lab.Patience)
		defer cancel()
		errs = append(errs, s.prepare(patient), v.Stop(patient), v.Start())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	whole, cancel := context.WithTimeout(ctx, 2*lab.Patience)
	defer cancel()
	return errors.Join(s.whole(whole), pass(ctx, afterwards))
}
