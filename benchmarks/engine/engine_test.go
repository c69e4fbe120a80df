package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kvstore/storage/key"
)

// TestMain lets the test's program be a child too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childFlag {
		if err := runChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestCompare runs one stage of each kind, small.
func TestCompare(t *testing.T) {
	table := filepath.Join(t.TempDir(), "runs.csv")
	var out bytes.Buffer
	err := compare(t.Context(), []string{"-rounds", "1", "-keys", "2000", "-time", "20ms", "-engines", "kvstore,goleveldb",
		"-workloads", "fill-16,missing,checkpoint,deleted-read,reopen", "-dir", t.TempDir(), "-csv", table}, &out, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	// Five workloads and the deletes that one of them needs, on two engines, of which one makes no checkpoints.
	if want := 1 + 6*2 - 1; bytes.Count(rows, []byte("\n")) != want {
		t.Errorf("the table has not %d lines:\n%s", want, rows)
	}
	if !strings.Contains(out.String(), "medians of at most 1 rounds") {
		t.Errorf("no summary in:\n%s", &out)
	}
	if row := regexp.MustCompile(`(?m)^\| fill-16 \| [0-9.]+ k? ?\| [0-9.]+ k? ?\|  \| 1\.30 \|`); !row.MatchString(out.String()) {
		t.Errorf("no Markdown in:\n%s", &out)
	}
}

// TestFailingEngine has one of two engines fail to open: the other's runs are all there, and the program says so.
func TestFailingEngine(t *testing.T) {
	var out bytes.Buffer
	o, err := parse([]string{"-rounds", "2", "-keys", "1000", "-time", "10ms", "-engines", "kvstore,goleveldb"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{options: o, dir: t.TempDir(), out: &out, began: time.Now(), total: 1}
	file := filepath.Join(b.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := stage{workloads: []string{"overwrite"}, setup: setup{Keys: o.keys, ValueSize: 100, Load: true}}
	if err := b.runWorkload(t.Context(), &s, "overwrite", 1, map[string]string{"goleveldb": file}); err != nil {
		t.Fatal(err)
	}
	if b.failures != 1 || len(b.of("overwrite", "kvstore")) != 2 || !strings.Contains(out.String(), "overwrite of goleveldb FAILED") {
		t.Errorf("%d failures, %d runs of the other, and:\n%s", b.failures, len(b.runs), &out)
	}
}

// TestHaste: with a workload's share of the time running out first the engines without aims stop, then all; nobody misses
// the first round.
func TestHaste(t *testing.T) {
	o, err := parse([]string{"-limit", "100m"}, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		began time.Duration
		round int
		turns int
	}{{0, 1, 5}, {30 * time.Minute, 1, 5}, {40 * time.Minute, 1, 2}, {51 * time.Minute, 4, 0}, {51 * time.Minute, 0, 5}} {
		b := &bench{options: o, total: 10, began: time.Now().Add(-c.began)}
		if turns := b.turns(c.round, 5); len(turns) != c.turns {
			t.Errorf("round %d of the fifth of ten workloads %v into the run: %v", c.round, c.began, turns)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []string{"-engines rocksdb", "-workloads fill", "-rounds -1", "more"} {
		if err := compare(t.Context(), strings.Fields(args), new(bytes.Buffer), new(bytes.Buffer)); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestQuantile(t *testing.T) {
	var all, part latencies
	for i := 1; i <= 1000; i++ {
		part.add(time.Duration(i) * time.Microsecond)
	}
	all.merge(&part)
	for _, q := range []float64{0.01, 0.5, 0.99, 0.999} {
		want := time.Duration(q*1000) * time.Microsecond
		if got := all.quantile(q); got < want || got > want+want/32+2*time.Microsecond {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	if all.quantile(1) != time.Millisecond || all.total != 1000 {
		t.Errorf("the longest of %d is %v", all.total, all.quantile(1))
	}
}

func TestKeys(t *testing.T) {
	at, db, name, err := key.ParseUser(appendKey(nil, 1234))
	if err != nil || at != token(1234) || db != 0 || string(name) != "key:000000001234" {
		t.Errorf("the key is token %x, database %d, %q, %v", at, db, name, err)
	}
}

func TestZipf(t *testing.T) {
	const n, draws = 1000, 100_000
	z, r := newZipf(n), rand.New(rand.NewPCG(1, 1))
	var counts [n]int
	for range draws {
		counts[z.draw(r)]++
	}
	// The most frequent of a thousand is drawn with probability 1/zeta(1000), about 0.129, the second with half of it.
	if counts[0] < draws*12/100 || counts[0] > draws*14/100 || counts[1] < draws*6/100 || counts[1] > draws*7/100 {
		t.Errorf("the first are drawn %v times of %d", counts[:3], draws)
	}
}
