package compat

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kvstore/tests/process"
)

// load is the workload of goredis while it runs.
type load struct {
	t       *testing.T
	lines   *bufio.Scanner
	problem *strings.Builder
	done    int // writes acknowledged so far
	failed  int
	last    string
}

// until reads reports until so many more writes were acknowledged.
func (l *load) until(more int) {
	l.t.Helper()
	for target := l.done + more; l.done < target; {
		if !l.lines.Scan() {
			l.t.Fatalf("the workload ended: %s", l.problem)
		}
		l.last = l.lines.Text()
		_, _ = fmt.Sscanf(l.last, "acknowledged %d failed %d", &l.done, &l.failed)
	}
}

// settle reads reports until a thousand writes in a row were acknowledged and read
// back without a failure. The client may need a moment: it remembers for a second
// that it could not connect.
func (l *load) settle(when string) {
	l.t.Helper()
	for range 20 {
		before := l.failed
		if l.until(1000); l.failed == before {
			return
		}
	}
	l.t.Errorf("operations go on failing %s: %s", when, l.last)
}

// One of three nodes dies by kill -9 while a cluster client writes and reads; both
// go on. Nothing acknowledged is lost: not with the node gone, not after it is back
// with what it missed, not at the level of all replicas, and not after the death of
// the whole cluster.
func TestNodeKilledUnderLoad(t *testing.T) {
	nodes := process.Cluster(t, 3)
	binary, acknowledged := goredis(t), filepath.Join(t.TempDir(), "acknowledged")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"workload", acknowledged}, addresses(nodes)...)...)
	var problem strings.Builder
	cmd.Stderr = &problem
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &load{t: t, lines: bufio.NewScanner(stdout), problem: &problem}

	l.until(1000)
	nodes[2].Kill()
	killed := time.Now()
	l.until(1000)
	t.Logf("%v after the kill: %s", time.Since(killed).Round(10*time.Millisecond), l.last)
	l.settle("with the node dead")
	nodes[2].Start()
	l.until(1000)
	process.AwaitAll(t, nodes)
	l.settle("with all nodes back")
	stdin.Close()
	rest, err := io.ReadAll(stdout)
	if err != nil {
		t.Fatal(err)
	}
	for l.lines.Scan() {
		l.last = l.lines.Text()
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the workload: %v\n%s%s", err, problem.String(), rest)
	}
	verify := func(when string) {
		t.Helper()
		if out := run(t, "", binary, append([]string{"verify", acknowledged}, addresses(nodes)...)...); !strings.Contains(out, "passed") {
			t.Errorf("%s: %s", when, out)
		}
	}
	verify("with the node back")
	for _, n := range nodes {
		n.Kill()
	}
	restart := make(chan error, len(nodes))
	for _, n := range nodes { // none serves before it finds another
		go func() { restart <- n.TryStart() }()
	}
	for range nodes {
		if err := <-restart; err != nil {
			t.Fatal(err)
		}
	}
	process.AwaitAll(t, nodes)
	verify("after the death of all nodes")
	for _, n := range nodes {
		c := process.Dial(t, n.Client)
		c.Expect("QUORUM SET R ALL", "OK")
		for writer := range 8 {
			key := fmt.Sprintf("work:%d:0", writer)
			if got := c.Do("GET", key); got != "value of "+key {
				t.Errorf("%s at R=ALL on %s: %s", key, n.Name, got)
			}
		}
	}
}
