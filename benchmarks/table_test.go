package main

import (
	"strings"
	"testing"
	"time"
)

func run3(target string, rates ...float64) (runs []record) {
	for i, rate := range rates {
		runs = append(runs, record{part: "one node", workload: "SET -P 1", target: target, round: i + 1, operations: 1000,
			measurement: measurement{rate: rate, p50: time.Millisecond, p99: time.Duration(i+1) * time.Millisecond,
				max: 10 * time.Millisecond, cpu: 8 * time.Microsecond, allocations: 0.01}})
	}
	return runs
}

func TestSummarizeTakesMediansOfPairwiseRatios(t *testing.T) {
	runs := append(run3("redis", 100, 200, 400), run3("kvstore", 90, 220, 100)...)
	runs = append(runs, record{part: "three nodes", workload: "SET -P 1", target: "other"})
	rows := summarize(runs, "one node")
	if len(rows) != 2 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	redis, kvstore := rows[0], rows[1]
	if redis.target != "redis" || redis.compared || redis.rate != 200 || redis.slowest != 100 || redis.fastest != 400 {
		t.Errorf("reference: %+v", redis)
	}
	// The ratios are 0.9, 1.1 and 0.25: the medians alone would say 0.5.
	if !kvstore.compared || kvstore.rate != 100 || kvstore.rateRatio != 0.9 || kvstore.p99Ratio != 1 || kvstore.cpuRatio != 1 {
		t.Errorf("compared: %+v", kvstore)
	}
	if kvstore.p99 != 2*time.Millisecond {
		t.Errorf("p99 = %v, want the median 2ms", kvstore.p99)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}, {[]float64{8, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestWriteTable(t *testing.T) {
	rows := []row{
		{workload: "SET -P 1", target: "redis cluster", slowest: 86_000, fastest: 88_100,
			measurement: measurement{rate: 87_000, p50: 300 * time.Microsecond, p99: 1200 * time.Microsecond, max: 12 * time.Millisecond, cpu: 10 * time.Microsecond}},
		{workload: "SET -P 1", target: "kvstore", slowest: 79_000, fastest: 101_000, compared: true, rateRatio: 0.95, p99Ratio: 1.1, cpuRatio: 1.25,
			measurement: measurement{rate: 83_000, p50: 310 * time.Microsecond, p99: 1300 * time.Microsecond, max: 105 * time.Millisecond, cpu: 12500, allocations: -0.001}},
	}
	const want = `
                         operations/s          latency ms         server/op       ratio to the first
workload  server         median       min-max   p50   p99    max  CPU µs  allocs  ops/s   p99   CPU
SET -P 1  redis cluster   87.0k   86.0k-88.1k  0.30  1.20   12.0   10.00
          kvstore         83.0k  79.0k-101.0k  0.31  1.30  105.0   12.50    0.00   0.95  1.10  1.25
`
	var got strings.Builder
	if err := writeTable(&got, rows); err != nil {
		t.Fatal(err)
	}
	if got.String() != want[1:] {
		t.Errorf("got\n%s\nwant%s", got.String(), want)
	}
}
