package main

import (
	"fmt"
	"io"
	"strconv"

	"kvstore/benchmarks/engine/internal/engines"
)

// printMarkdown prints the medians as a table for the README.
func (b *bench) printMarkdown(w io.Writer, list []stage) {
	fmt.Fprint(w, "\n| workload |")
	for _, engine := range b.options.engines {
		fmt.Fprintf(w, " %s |", engine)
	}
	fmt.Fprintf(w, " ratio to %s, median (min–max) | aim | CPU | memory | longest: ours, %s | rounds |\n|---|", rival, rival)
	for range b.options.engines {
		fmt.Fprint(w, "---:|")
	}
	fmt.Fprintln(w, "---:|---:|---:|---:|---:|---:|")
	for _, s := range list {
		for _, load := range s.workloads {
			fmt.Fprintf(w, "| %s |", load)
			for _, engine := range b.options.engines {
				fmt.Fprintf(w, " %s |", b.shortRate(load, engine))
			}
			fmt.Fprintf(w, " %s | %s | %s | %s | %s, %s | %d |\n", b.showSpread(load), showRatio(aim(load)), showRatio(b.cpuRatio(load, rival)),
				showRatio(b.memoryRatio(load, rival)), b.stall(load, engines.Ours), b.stall(load, rival), len(b.of(load, engines.Ours)))
		}
	}
}

// shortRate is the median rate in three digits or so, marked when time ran out before the engine had all rounds.
func (b *bench) shortRate(workload, engine string) string {
	runs := b.of(workload, engine)
	if len(runs) == 0 {
		return "–"
	}
	shown := ""
	switch rate := median(runs, func(r *run) float64 { return r.Rate }); {
	case rate < 1000:
		shown = strconv.FormatFloat(rate, 'f', 0, 64)
	case rate < 10_000:
		shown = strconv.FormatFloat(rate/1000, 'f', 1, 64) + " k"
	default:
		shown = strconv.FormatFloat(rate/1000, 'f', 0, 64) + " k"
	}
	if len(runs) < len(b.of(workload, engines.Ours)) {
		shown += fmt.Sprintf(" (of %d)", len(runs))
	}
	return shown
}

// showSpread is the median ratio of our rate to the rival's, with the least and the largest.
func (b *bench) showSpread(workload string) string {
	all := b.ratios(workload, rival, rateRatio)
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s–%s)", showRatio(all[len(all)/2]), showRatio(all[0]), showRatio(all[len(all)-1]))
}
