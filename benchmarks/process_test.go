package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " S 1 4242 4242 0 -1 4194560 1203 77 0 0 1234 66 5 6 20 0 4 0 8401 63131648 2011"
	for _, c := range []struct {
		name, text, err string
		want            time.Duration
	}{
		{"plain", "4242 (redis-server)" + tail, "", 13 * time.Second},
		{"a name with spaces and parentheses", "4242 (a (b) 1 2)" + tail, "", 13 * time.Second},
		{"no name", "4242 redis-server" + tail, "no name", 0},
		{"cut", "4242 (redis-server) S 1 4242 4242 0 -1 4194560 1203 77 0 0 1234", "12 fields", 0},
		{"no number", "4242 (x)" + strings.Replace(tail, "1234", "-", 1), "utime", 0},
		{"empty", "", "no name", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseStat([]byte(c.text))
			switch {
			case c.err == "" && (err != nil || got != c.want):
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Fatalf("got error %v, want one with %q", err, c.err)
			}
		})
	}
}

func TestParseStatOfTheKernel(t *testing.T) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	if used, err := parseStat(text); err != nil || used < 0 || used > time.Hour {
		t.Fatalf("this process used %v, %v", used, err)
	}
}

func TestKilobytes(t *testing.T) {
	const status = "Name:\tVmRSS\nVmHWM:\t    9012 kB\nVmRSS:\t    5012 kB\nThreads:\t1\n"
	for name, want := range map[string]int64{"VmRSS": 5012, "VmHWM": 9012} {
		if got, ok := kilobytes([]byte(status), name); !ok || got != want {
			t.Errorf("%s: got %d, %v; want %d", name, got, ok, want)
		}
	}
	for _, name := range []string{"VmSwap", "Threads"} {
		if got, ok := kilobytes([]byte(status), name); ok {
			t.Errorf("%s: got %d, want nothing", name, got)
		}
	}
}

func TestProcessStartsAndEnds(t *testing.T) {
	dir := t.TempDir()
	p, err := startProcess(t.Context(), "sleeper", dir, "sh", "-c", "echo hello; sleep 100")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.await(t.Context(), time.Minute, func() bool { return p.lastWords() == "hello" }); err != nil {
		t.Fatal(err)
	}
	if now, peak, err := p.resident(); err != nil || now <= 0 || peak < now {
		t.Errorf("resident %d, peak %d, %v", now, peak, err)
	}
	p.stop()
	if p.running() {
		t.Error("runs after stop")
	}
	if _, err := cpuTime([]*process{p}); err == nil || !strings.Contains(err.Error(), "sleeper") {
		t.Errorf("processor time of an ended process: %v, want an error that names it", err)
	}
}

func TestAwaitTellsLastWords(t *testing.T) {
	p, err := startProcess(t.Context(), "failing", t.TempDir(), "sh", "-c", "echo port is taken; exit 1")
	if err != nil {
		t.Fatal(err)
	}
	err = p.await(t.Context(), time.Minute, func() bool { return false })
	if err == nil || !strings.Contains(err.Error(), "failing ended: port is taken") {
		t.Fatalf("got %v", err)
	}
}

func TestFreePortsDiffer(t *testing.T) {
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		if seen[port] || port == 0 {
			t.Fatalf("ports %v", ports)
		}
		seen[port] = true
	}
}
