package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// writeTable prints rows for people. The reference has no ratios.
func writeTable(w io.Writer, rows []row) error {
	lines := [][]string{
		{"", "", "operations/s", "", "latency ms", "", "", "server/op", "", "ratio to the first", "", ""},
		{"workload", "server", "median", "min-max", "p50", "p99", "max", "CPU µs", "allocs", "ops/s", "p99", "CPU"},
	}
	last := ""
	for _, r := range rows {
		workload := r.workload
		if workload == last {
			workload = ""
		}
		last = r.workload
		lines = append(lines, append([]string{workload, r.target}, r.cells()...))
	}
	return align(w, lines, 2)
}

func (r row) cells() []string {
	cells := []string{thousands(r.rate), thousands(r.slowest) + "-" + thousands(r.fastest),
		decimals(milliseconds(r.p50), 2), decimals(milliseconds(r.p99), 2), decimals(milliseconds(r.max), 1),
		decimals(microseconds(r.cpu), 2), "", "", "", ""}
	if r.compared {
		copy(cells[6:], []string{decimals(max(0, r.allocations), 2), decimals(r.rateRatio, 2), decimals(r.p99Ratio, 2), decimals(r.cpuRatio, 2)})
	}
	return cells
}

// thousands prints a rate in thousands: 87.0k.
func thousands(rate float64) string { return decimals(rate/1000, 1) + "k" }

// align prints lines of equally many cells as columns, two spaces apart: the
// first few to the left, the others, which are numbers, to the right. A cell of
// the first line may reach over empty cells on its right.
func align(w io.Writer, lines [][]string, left int) error {
	widths := make([]int, len(lines[0]))
	for _, line := range lines[1:] {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for number, line := range lines {
		var text strings.Builder
		end := 0 // where the column ends
		for i, cell := range line {
			if i > 0 {
				end += 2
			}
			start := end
			end += widths[i]
			switch {
			case cell == "":
			case number == 0:
				pad(&text, start)
			case i < left:
				pad(&text, start)
			default:
				pad(&text, end-utf8.RuneCountInString(cell))
			}
			text.WriteString(cell)
		}
		fmt.Fprintln(&out, text.String())
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// pad adds spaces until text is n characters long, at least one to its end.
func pad(text *strings.Builder, n int) {
	for length := utf8.RuneCountInString(text.String()); length < n; length++ {
		text.WriteByte(' ')
	}
}
