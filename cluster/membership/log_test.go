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

func TestObstacles(t *testing.T) {
	for text, want := range map[string]obstacle{
		"1 error occurred:\n\t* failed to join a:1: EOF\n":                                                   hungUp,
		"failed to join a:1: read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer":              hungUp,
		"failed to join a:1: dial tcp a:1: connect: connection refused":                                      unreached,
		"2 errors occurred:\n\t* failed to join a:1: dial tcp: i/o timeout\n\t* failed to join b:1: EOF\n\n": hungUp,
		"failed to join a:1: remote state is encrypted and encryption is not configured":                     otherKey,
		"failed to join a:1: remote error: No installed keys could decrypt the message":                      otherKey,
	} {
		err := errors.New(text)
		why := obstacleOf(err)
		if why != want {
			t.Errorf("%q is obstacle %d, want %d", text, why, want)
		}
		said := explain(why, "blue", []string{"a:1"}, err)
		if !strings.HasPrefix(said, `cluster.join = "a:1" `) || strings.Contains(said, "\n") {
			t.Errorf("%q is explained as %q", text, said)
		}
	}
	if why := obstacleOf(nil); why != noObstacle {
		t.Errorf("no error is obstacle %d", why)
	}
}
