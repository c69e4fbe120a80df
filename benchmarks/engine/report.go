package main

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"kvstore/benchmarks/engine/internal/engines"
)

// rival is the engine that the aims are set by.
const rival = "pebble"

// aim is the least ratio to the rival's rate that is aimed at, 0 where there is no aim.
func aim(workload string) float64 {
	switch workload {
	case "fill-1", "fill-16", "fill-1k", "overwrite", "ycsb-a", "ycsb-b", "durable-1", "durable-16", "durable-64", "delete", "checkpoint":
		return 1.3
	case "read-1", "read-16":
		return 1.5
	case "missing":
		return 3
	case "scan-slot", "large-read":
		return 1
	}
	return 0
}

// most is the largest ratio of a figure to the rival's that is aimed at, where there is an aim: of the bytes written while
// data much larger than memory is written over, and of the peak memory of a fill.
func most(workload string) (written, memory float64) {
	switch workload {
	case "amplify":
		return 1, 0
	case "fill-1k":
		return 0, 1
	}
	return 0, 0
}

// stallAim is the longest that a write may take.
const stallAim = 50 * time.Millisecond

// of returns the runs of a workload on an engine, by round.
func (b *bench) of(workload, engine string) []run {
	var found []run
	for _, r := range b.runs {
		if r.workload == workload && r.engine == engine {
			found = append(found, r)
		}
	}
	return found
}

// median is that of a figure over runs.
func median[T cmp.Ordered](runs []run, figure func(*run) T) T {
	all := make([]T, len(runs))
	for i := range runs {
		all[i] = figure(&runs[i])
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// ratio is the median of the ratios of our rate to another engine's in the same round, 0 without such rounds.
func (b *bench) ratio(workload, other string) float64 {
	return b.ratioOf(workload, other, rateRatio)
}

// cpuRatio is the like of another engine's processor time to ours: what the rates would tell on a machine that does
// nothing else.
func (b *bench) cpuRatio(workload, other string) float64 {
	return b.ratioOf(workload, other, func(ours, theirs *run) float64 { return float64(theirs.CPU) / float64(max(ours.CPU, 1)) })
}

// writtenRatio, storedRatio and memoryRatio compare our bytes with another engine's.
func (b *bench) writtenRatio(workload, other string) float64 {
	return b.ratioOf(workload, other, func(ours, theirs *run) float64 { return ours.Written / max(theirs.Written, 1) })
}

func (b *bench) storedRatio(workload, other string) float64 {
	return b.ratioOf(workload, other, func(ours, theirs *run) float64 { return float64(ours.Stored) / float64(max(theirs.Stored, 1)) })
}

func (b *bench) memoryRatio(workload, other string) float64 {
	return b.ratioOf(workload, other, func(ours, theirs *run) float64 { return float64(ours.Memory) / float64(max(theirs.Memory, 1)) })
}

func rateRatio(ours, theirs *run) float64 { return ours.Rate / theirs.Rate }

func (b *bench) ratioOf(workload, other string, divide func(ours, theirs *run) float64) float64 {
	all := b.ratios(workload, other, divide)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

// ratios are the ratios of the rounds that both engines ran, ascending.
func (b *bench) ratios(workload, other string, divide func(ours, theirs *run) float64) (all []float64) {
	for _, ours := range b.of(workload, engines.Ours) {
		for _, theirs := range b.of(workload, other) {
			if theirs.round == ours.round {
				all = append(all, divide(&ours, &theirs))
			}
		}
	}
	slices.Sort(all)
	return all
}

// printStage prints the medians of a stage's workloads.
func (b *bench) printStage(s *stage) {
	for _, w := range s.workloads {
		rounds := len(b.of(w, engines.Ours))
		fmt.Fprintf(b.out, "\n%s, %d rounds, %.0f s into the run\n", w, rounds, time.Since(b.began).Seconds())
		t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "engine\tops/s\tours/it\tp50\tp99\tp99.9\tlongest\tCPU\tallocs\twritten\tstored MB\tmemory MB\t\n")
		for _, engine := range b.options.engines {
			runs := b.of(w, engine)
			if len(runs) == 0 {
				fmt.Fprintf(t, "%s\t-\t\t\t\t\t\t\t\t\t\t\t\n", engine)
				continue
			}
			duration := func(figure func(*run) time.Duration) string { return short(median(runs, figure)) }
			fmt.Fprintf(t, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%.0f\t%.1f\t%.0f\t %s\n", engine,
				median(runs, func(r *run) float64 { return r.Rate }), showRatio(b.ratio(w, engine)),
				duration(func(r *run) time.Duration { return r.P50 }), duration(func(r *run) time.Duration { return r.P99 }),
				duration(func(r *run) time.Duration { return r.P999 }), duration(func(r *run) time.Duration { return r.Longest }),
				duration(func(r *run) time.Duration { return r.CPU }),
				median(runs, func(r *run) float64 { return r.Allocations }), median(runs, func(r *run) float64 { return r.Written }),
				float64(median(runs, func(r *run) int64 { return r.Stored }))/1e6, float64(median(runs, func(r *run) int64 { return r.Memory }))/1e6,
				runs[len(runs)-1].Note)
		}
		t.Flush()
	}
}

// printSummary prints a line for each workload.
func (b *bench) printSummary(list []stage) {
	fmt.Fprintf(b.out, "\nmedians of at most %d rounds, operations a second; ratio is the rate of %s to that of %s,\nCPU the latter's processor time an operation to the former's; written, stored and memory are the former's bytes to the\nlatter's\n", b.options.rounds, engines.Ours, rival)
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "workload\t")
	for _, engine := range b.options.engines {
		fmt.Fprintf(t, "%s\t", engine)
	}
	fmt.Fprint(t, "ratio\taim\tCPU\twritten\tstored\tmemory\tour stall\tits stall\t\n")
	for _, s := range list {
		for _, w := range s.workloads {
			fmt.Fprintf(t, "%s\t", w)
			for _, engine := range b.options.engines {
				if runs := b.of(w, engine); len(runs) > 0 {
					fmt.Fprintf(t, "%.0f\t", median(runs, func(r *run) float64 { return r.Rate }))
				} else {
					fmt.Fprint(t, "-\t")
				}
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t %s\n", showRatio(b.ratio(w, rival)), showRatio(aim(w)), showRatio(b.cpuRatio(w, rival)),
				showRatio(b.writtenRatio(w, rival)), showRatio(b.storedRatio(w, rival)), showRatio(b.memoryRatio(w, rival)),
				b.stall(w, engines.Ours), b.stall(w, rival), b.verdict(w))
		}
	}
	t.Flush()
}

func (b *bench) stall(workload, engine string) string {
	runs := b.of(workload, engine)
	if len(runs) == 0 {
		return "-"
	}
	return short(median(runs, func(r *run) time.Duration { return r.Longest }))
}

// verdict says what of its aims a workload misses.
func (b *bench) verdict(workload string) string {
	verdict := ""
	if r := b.ratio(workload, rival); r != 0 && r < aim(workload) {
		verdict = "below"
	}
	runs := b.of(workload, engines.Ours)
	if aim(workload) != 0 && len(runs) > 0 && median(runs, func(r *run) time.Duration { return r.Longest }) > stallAim {
		verdict += " stalls"
	}
	written, memory := most(workload)
	if written > 0 && b.writtenRatio(workload, rival) > written {
		verdict += " writes more"
	}
	if memory > 0 && b.memoryRatio(workload, rival) > memory {
		verdict += " takes more memory"
	}
	return verdict
}

func showRatio(r float64) string {
	if r == 0 {
		return ""
	}
	return strconv.FormatFloat(r, 'f', 2, 64)
}

// short shows a duration in three digits.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return d.Round(10 * time.Nanosecond).String()
	case d < 10*time.Millisecond:
		return d.Round(time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// writeCSV writes every run; durations are in nanoseconds.
func (b *bench) writeCSV() error {
	f, err := os.Create(b.options.csv)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	rows := [][]string{{"workload", "engine", "round", "operations", "per second", "p50 ns", "p99 ns", "p99.9 ns", "longest ns",
		"cpu ns", "allocations", "bytes written", "bytes stored", "bytes of memory", "note"}}
	for _, r := range b.runs {
		row := []string{r.workload, r.engine, strconv.Itoa(r.round + 1), strconv.FormatInt(r.Operations, 10), strconv.FormatFloat(r.Rate, 'f', 1, 64)}
		for _, d := range []time.Duration{r.P50, r.P99, r.P999, r.Longest, r.CPU} {
			row = append(row, strconv.FormatInt(int64(d), 10))
		}
		row = append(row, strconv.FormatFloat(r.Allocations, 'f', 2, 64), strconv.FormatFloat(r.Written, 'f', 1, 64),
			strconv.FormatInt(r.Stored, 10), strconv.FormatInt(r.Memory, 10), r.Note)
		rows = append(rows, row)
	}
	return joinFirst(w.WriteAll(rows), f.Close())
}
