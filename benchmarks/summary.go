package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is what the rounds of one workload showed about one target.
type row struct {
	workload, target string
	rounds           int
	measurement              // the median of the rounds, figure by figure
	slowest, fastest float64 // operations a second

	// Medians over the rounds of this target's figure divided by the
	// reference's in the same round; not set for the reference.
	compared                      bool
	rateRatio, p99Ratio, cpuRatio float64
}

// summarize makes a row of each workload and target of part, in the order in
// which they were measured. The first target of a workload is the reference.
func summarize(runs []record, part string) (rows []row) {
	type series struct{ workload, target string }
	var order []series
	of := map[series][]record{}
	reference := map[string]string{}
	for _, r := range runs {
		if r.part != part {
			continue
		}
		s := series{r.workload, r.target}
		if of[s] == nil {
			order = append(order, s)
		}
		of[s] = append(of[s], r)
		if reference[r.workload] == "" {
			reference[r.workload] = r.target
		}
	}
	for _, s := range order {
		row := summary(of[s])
		if theirs := reference[s.workload]; theirs != s.target {
			row.compare(of[s], of[series{s.workload, theirs}])
		}
		rows = append(rows, row)
	}
	return rows
}

func summary(runs []record) row {
	rates := each(runs, func(r record) float64 { return r.rate })
	return row{
		workload: runs[0].workload, target: runs[0].target, rounds: len(runs),
		slowest: slices.Min(rates), fastest: slices.Max(rates),
		measurement: measurement{
			rate:        median(rates),
			p50:         median(each(runs, func(r record) time.Duration { return r.p50 })),
			p99:         median(each(runs, func(r record) time.Duration { return r.p99 })),
			max:         median(each(runs, func(r record) time.Duration { return r.max })),
			cpu:         median(each(runs, func(r record) time.Duration { return r.cpu })),
			allocations: median(each(runs, func(r record) float64 { return r.allocations })),
		},
	}
}

// compare sets the ratios; ours and theirs have a run of each round.
func (r *row) compare(ours, theirs []record) {
	ratio := func(figure func(record) float64) float64 {
		ratios := make([]float64, len(ours))
		for i := range ours {
			ratios[i] = figure(ours[i]) / figure(theirs[i])
		}
		return median(ratios)
	}
	r.compared = true
	r.rateRatio = ratio(func(r record) float64 { return r.rate })
	r.p99Ratio = ratio(func(r record) float64 { return float64(r.p99) })
	r.cpuRatio = ratio(func(r record) float64 { return float64(r.cpu) })
}

func each[T any](runs []record, figure func(record) T) []T {
	figures := make([]T, len(runs))
	for i, r := range runs {
		figures[i] = figure(r)
	}
	return figures
}

// median is the middle of values, which are not empty; of an even number the
// mean of the middle two.
func median[T time.Duration | float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// writeCSV writes a line for every run.
func writeCSV(name string, runs []record) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write the runs: %w", err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("write the runs: %w", closeErr)
		}
	}()
	w := csv.NewWriter(f)
	lines := [][]string{{"part", "workload", "target", "round", "operations", "ops_per_second",
		"p50_ms", "p99_ms", "max_ms", "server_cpu_us_per_op", "server_allocations_per_op"}}
	for _, r := range runs {
		lines = append(lines, []string{r.part, r.workload, r.target, strconv.Itoa(r.round), strconv.Itoa(r.operations), decimals(r.rate, 0),
			decimals(milliseconds(r.p50), 3), decimals(milliseconds(r.p99), 3), decimals(milliseconds(r.max), 3),
			decimals(microseconds(r.cpu), 3), decimals(r.allocations, 3)})
	}
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("write the runs: %w", err)
	}
	return nil
}

func decimals(f float64, n int) string { return strconv.FormatFloat(f, 'f', n, 64) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// fileName makes "three-nodes-kvstore-routed" of "three nodes kvstore, routed".
func fileName(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' }), "-")
}
