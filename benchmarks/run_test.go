package main

import (
	"strings"
	"testing"
	"time"
)

const csvHeader = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n"

func TestParseBenchmark(t *testing.T) {
	want := measurement{rate: 61162.08, p50: 503 * time.Microsecond, p99: 1751 * time.Microsecond, max: 5335 * time.Microsecond}
	const set = `"SET","61162.08","0.539","0.136","0.503","0.799","1.751","5.335"` + "\n"
	for _, c := range []struct{ name, output, test, err string }{
		{"one row", csvHeader + set, "SET", ""},
		{"row of another test first", csvHeader + `"GET","1","1","1","1","1","1","1"` + "\n" + set, "SET", ""},
		{"cluster mode", "Cluster has 3 master nodes:\n\nMaster 0: 7f 127.0.0.1:7001\n\n" + csvHeader + set, "SET", ""},
		{"columns in another order", `"test","max_latency_ms","p99_latency_ms","p50_latency_ms","rps"` + "\n" +
			`"SET","5.335","1.751","0.503","61162.08"` + "\n", "SET", ""},
		{"no row", csvHeader + set, "GET", "no row GET"},
		{"no output", "", "SET", "no table"},
		{"no columns of latency", `"test","rps"` + "\n" + `"SET","61162.08"` + "\n", "SET", "no column p50_latency_ms"},
		{"no number", csvHeader + strings.Replace(set, "61162.08", "nan%", 1), "SET", "invalid syntax"},
		{"no throughput", csvHeader + strings.Replace(set, "61162.08", "0.00", 1), "SET", "no throughput"},
		{"short row", csvHeader + `"SET","1"` + "\n", "SET", "wrong number of fields"},
		{"an error reply", "Error from server: NOQUORUM 1 of 2\n" + csvHeader + set, "SET", "NOQUORUM 1 of 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := parseBenchmark(c.output, c.test)
			switch {
			case c.err == "" && (err != nil || m != want):
				t.Fatalf("got %+v, %v; want %+v", m, err, want)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Fatalf("got error %v, want one with %q", err, c.err)
			}
		})
	}
}
