package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args   string
		rounds int
		parts  string
		err    string
	}{
		{"", 5, "one three", ""},
		{"-short", 2, "one three", ""},
		{"-short -rounds 4", 4, "one three", ""},
		{"-memory", 5, "one three memory", ""},
		{"-only memory", 5, "memory", ""},
		{"-only three -memory", 5, "three", ""},
		{"-only two", 0, "", `-only = "two": allowed are one, three, memory and overload`},
		{"-rounds -1", 0, "", "-rounds = -1"},
		{"set", 0, "", `unexpected argument "set"`},
		{"-fast", 0, "", "not defined"},
	} {
		t.Run(c.args, func(t *testing.T) {
			o, err := parse(strings.Fields(c.args), io.Discard)
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want one with %q", err, c.err)
				}
			case err != nil:
				t.Fatal(err)
			case o.rounds != c.rounds || !slices.Equal(o.parts(), strings.Fields(c.parts)):
				t.Fatalf("%d rounds of %v, want %d of %s", o.rounds, o.parts(), c.rounds, c.parts)
			}
		})
	}
}

func TestMachineParsers(t *testing.T) {
	const cpuinfo = "processor\t: 0\nmodel name\t: A Processor: fast\nprocessor\t: 1\nmodel name\t: Another\n"
	if got := field([]byte(cpuinfo), "model name"); got != "A Processor: fast" {
		t.Errorf("model name %q", got)
	}
	if got := redisVersion("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"); got != "7.0.15" {
		t.Errorf("Redis %q", got)
	}
	metrics := "# TYPE a counter\na_total 1\na{x=\"1\"} 2\na 3.5e+06\n"
	if got, err := parseMetric(metrics, "a"); err != nil || got != 3.5e6 {
		t.Errorf("metric %v, %v", got, err)
	}
	if _, err := parseMetric(metrics, "b"); err == nil {
		t.Error("an absent metric gave no error")
	}
}
