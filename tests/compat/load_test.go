package compat

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// load is a client that writes and reads until its standard input ends. It reports how
// many writes were acknowledged, how many operations failed, and in the end what with.
type load struct {
	t       *testing.T
	name    string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	lines   *bufio.Scanner
	problem strings.Builder
	done    int // writes acknowledged so far
	failed  int
	last    string
}

// startLoad starts a client; it is killed with the test, if it has not ended.
func startLoad(t *testing.T, name string, command ...string) *load {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	l := &load{t: t, name: name, cmd: exec.CommandContext(ctx, command[0], command[1:]...)}
	l.cmd.Stderr = &l.problem
	var err error
	if l.stdin, err = l.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = l.cmd.Wait() // an error if it has ended and was waited for
	})
	l.lines = bufio.NewScanner(stdout)
	return l
}

// next reads a report, false when there is none any more.
func (l *load) next() bool {
	if !l.lines.Scan() {
		return false
	}
	l.last = l.lines.Text()
	_, _ = fmt.Sscanf(l.last, "acknowledged %d failed %d", &l.done, &l.failed)
	return true
}

// until reads reports until so many more writes were acknowledged.
func (l *load) until(more int) {
	l.t.Helper()
	for target := l.done + more; l.done < target; {
		if !l.next() {
			l.t.Fatalf("%s ended: %s", l.name, &l.problem)
		}
	}
}

// settle reads reports until so many writes in a row were acknowledged and read back
// without a failure. The client may need a moment: it remembers for a second that it
// could not connect.
func (l *load) settle(count int, when string) {
	l.t.Helper()
	for range 20 {
		before := l.failed
		if l.until(count); l.failed == before {
			return
		}
	}
	l.t.Errorf("%s: operations go on failing %s: %s", l.name, when, l.last)
}

// end has the client stop and read back what it wrote, and returns how often each problem
// came.
func (l *load) end() map[string]int {
	l.t.Helper()
	l.stdin.Close()
	problems, passed := map[string]int{}, false
	for l.next() {
		passed = passed || l.last == "passed"
		if text, found := strings.CutPrefix(l.last, "problem "); found {
			count, text, _ := strings.Cut(text, " ")
			n := 0
			_, _ = fmt.Sscan(count, &n)
			problems[text] += n
		}
	}
	if err := l.cmd.Wait(); err != nil || !passed {
		l.t.Errorf("%s: %v\n%s%s", l.name, err, l.problem.String(), l.last)
	}
	return problems
}
