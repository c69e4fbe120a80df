package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"kvstore/tests/lab"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ args, err string }{
		{"", ""},
		{"-keys 1000000 -rounds 3 -quiet 1s -rate 500 -systems redis -settings transfer.rate=1MiB,transfer.moves=2 -kvstore a,b -v", ""},
		{"-keys 10", "-keys = 10"},
		{"-rate 1", "-rate = 1: allowed are 32 and more"},
		{"-rounds 0", "-rounds = 0"},
		{"-systems mysql", `"mysql" is none of`},
		{"more", `unexpected argument "more"`},
		{"-fast", "not defined"},
		{"-returns -systems kvstore-routed", ""},
		{"-returns -systems redis", "-returns measures kvstore only"},
	} {
		_, err := parse(strings.Fields(c.args), io.Discard)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %v, want %q", c.args, err, c.err)
		}
	}
}

// single is a system of one server in this process, which forgets a key when it shrinks.
type single struct{ at *fake }

func (s *single) newClient(int) requester              { return newPlain([]string{s.at.address}, 0) }
func (s *single) route(string) string                  { return s.at.address }
func (s *single) settle(context.Context) error         { return nil }
func (s *single) servers() []*lab.Server               { return nil }
func (s *single) close()                               {}
func (s *single) grow(context.Context) (change, error) { return change{100, 20000, 3, 2, 8}, nil }

func (s *single) shrink(context.Context) (change, error) {
	s.at.mu.Lock()
	defer s.at.mu.Unlock()
	for key := range s.at.strings {
		delete(s.at.strings, key)
	}
	return change{keys: 250, parts: 2, least: 2, all: 8}, nil
}

func (s *single) absent(context.Context) error         { return nil }
func (s *single) back(context.Context) (change, error) { return change{1000, 0, 1, 1, 1}, nil }

// TestMeasure goes through a measurement with a server that loses everything in the end.
func TestMeasure(t *testing.T) {
	b, err := parse([]string{"-keys", "1000", "-rate", "640", "-quiet", "300ms", "-systems", "redis", "-v"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	b.warmUp, b.out, b.progress, b.dir = 10*time.Millisecond, &out, &progress, t.TempDir()
	start := func(context.Context, string) (system, error) { return &single{serve(t, nil)}, nil }
	if err := b.measure(t.Context(), map[string]func(context.Context, string) (system, error){"redis": start}); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(rows) != 4 {
		t.Fatalf("%d rows in:\n%s", len(rows), &out)
	}
	// A row has the system or not, what the fourth node does, and then numbers.
	joins, leaves := strings.Fields(rows[2]), strings.Fields(rows[3])
	if joins[0] != "joins" || joins[2] != "100" || joins[3] != "0.0" || leaves[0] != "leaves" || leaves[2] != "250" {
		t.Errorf("rows:\n%s", &out)
	}
	if stale, lost := leaves[len(leaves)-2], leaves[len(leaves)-1]; stale == "0" || lost == "0" {
		t.Errorf("everything was forgotten, and %s reads were stale, %s keys lost:\n%s", stale, lost, &out)
	}
	if !strings.Contains(progress.String(), "3 of at least 2 parts of 8, 100 keys") {
		t.Errorf("progress:\n%s", &progress)
	}
}

func TestProcessorTime(t *testing.T) {
	const tail = " S 1 4242 4242 0 -1 4194560 1203 77 0 0 1234 66 5 6 20 0 4 0 8401 63131648 2011"
	if got, err := processorTime([]byte("4242 (a (b) 1 2)" + tail)); got != 13*time.Second || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := processorTime([]byte("4242 (x) S 1")); err == nil {
		t.Error("a line that is cut is taken")
	}
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := processorTime(text); err != nil {
		t.Error(err)
	}
}

func TestMetric(t *testing.T) {
	const text = "# TYPE a counter\na_total 1\na{x=\"1\"} 2\na 3.5e+06\n"
	if got, err := metric(text, "a"); err != nil || got != 3.5e6 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := metric(text, "b"); err == nil {
		t.Error("an absent metric gave no error")
	}
}

// TestReturns goes through a measurement of a node that comes back.
func TestReturns(t *testing.T) {
	b, err := parse([]string{"-keys", "1000", "-rate", "640", "-quiet", "100ms", "-returns"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	b.warmUp, b.out, b.progress, b.dir = 10*time.Millisecond, &out, &progress, t.TempDir()
	start := func(context.Context, string) (system, error) { return &single{serve(t, nil)}, nil }
	if err := b.measure(t.Context(), map[string]starter{"kvstore": start}); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")
	back := strings.Fields(rows[len(rows)-1])
	if len(rows) != 3 || back[0] != "is" || back[3] != "1000" || back[len(back)-1] != "0" {
		t.Errorf("rows:\n%s", &out)
	}
}
