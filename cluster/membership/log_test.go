package membership

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain",
		"1 error occurred:\n\t* failed to join a:1: EOF\n\n": "failed to join a:1: EOF",
		"2 errors occurred:\n\t* a: refused\n\t* b: EOF\n\n": "a: refused; b: EOF",
	} {
		if got := oneLine(errors.New(text)); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := oneLine(nil); got != "" {
		t.Errorf("no error became %q", got)
	}
}

// A node of another cluster tries twice a second, for ever.
func TestStrangersAreRarelyWorthAWarning(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	w := &logWriter{log: zerolog.New(&out).Level(zerolog.InfoLevel), now: func() time.Time { return now }}
	for i := range 100 {
		line := fmt.Sprintf("[ERR] memberlist: discarding stream with unacceptable label \"blue\": from=127.0.0.1:%d\n", 40000+i)
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		now = now.Add(400 * time.Millisecond)
	}
	if n := strings.Count(out.String(), "\n"); n != 2 || strings.Count(out.String(), "cluster.join") != 2 {
		t.Errorf("%d lines in 40 s:\n%s", n, out.String())
	}
}

// Nor are nodes of another secret or of a name that is had, each kind for itself.
func TestWhoIsKeptOutIsRarelyWorthAWarning(t *testing.T) {
	var out strings.Builder
	w := &logWriter{log: zerolog.New(&out).Level(zerolog.InfoLevel), now: func() time.Time { return time.Unix(0, 0) }}
	for _, line := range []string{
		"failed to receive: no installed keys could decrypt the message from=127.0.0.1:39004",
		"failed to receive: encryption is configured but remote state is not encrypted from=127.0.0.1:39044",
		"Failed push/pull merge: node 07 at b:1 is named \"b\" like the member 08 at c:1; set node.name from=127.0.0.1:39018",
	} {
		for range 10 {
			if _, err := w.Write([]byte("[ERR] memberlist: " + line + "\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 2 || strings.Count(out.String(), "cluster.secret") != 1 || strings.Count(out.String(), "node.name") != 1 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}

func TestObstacles(t *testing.T) {
	for text, want := range map[string]obstacle{
		"1 error occurred:\n\t* failed to join a:1: EOF\n":                                                   hungUp,
		"failed to join a:1: read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer":              hungUp,
		"failed to join a:1: dial tcp a:1: connect: connection refused":                                      unreached,
		"2 errors occurred:\n\t* failed to join a:1: dial tcp: i/o timeout\n\t* failed to join b:1: EOF\n\n": hungUp,
		"failed to join a:1: remote state is encrypted and encryption is not configured":                     otherKey,
		"failed to join a:1: remote error: No installed keys could decrypt the message":                      otherKey,
		"failed to join a:1: node 07 at b:1 is named \"n1\" like this node; set node.name":                   otherName,
	} {
		err := errors.New(text)
		why := obstacleOf(err)
		if why != want {
			t.Errorf("%q is obstacle %d, want %d", text, why, want)
		}
		said := explain(why, "n1", "blue", err)
		if said == "" || strings.Contains(said, "\n") {
			t.Errorf("%q is explained as %q", text, said)
		}
	}
	// Only what was reached and keeps the node out without a break counts.
	at := time.Unix(100, 0)
	var o *out
	for i, step := range []struct {
		kind  obstacle
		since time.Time
	}{{unreached, time.Time{}}, {otherKey, at.Add(1)}, {hungUp, at.Add(1)}, {unreached, time.Time{}}, {otherName, at.Add(4)}} {
		if o = o.next(step.kind, "why", []string{"a:1", "b:2"}, at.Add(time.Duration(i))); !o.since.Equal(step.since) || o.seeds != "a:1,b:2" {
			t.Errorf("step %d: since %v, want %v", i, o.since, step.since)
		}
	}
	if why := obstacleOf(nil); why != noObstacle {
		t.Errorf("no error is obstacle %d", why)
	}
}
