package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kvstore/tests/lab"
)

func TestValues(t *testing.T) {
	seen := map[int]bool{}
	for n := range 2000 {
		value := string(appendValue([]byte("x"), n, 7)[1:])
		if len(value) < 64 || len(value) > 256 || len(value) != valueSize(n) {
			t.Fatalf("key %d has %d bytes", n, len(value))
		}
		seen[len(value)] = true
		if v, err := versionOf(n, value); v != 7 || err != nil {
			t.Fatalf("key %d: version %d, %v", n, v, err)
		}
		if _, err := versionOf(n+1, value); err == nil {
			t.Fatalf("key %d has the value of another", n+1)
		}
	}
	if !seen[64] || !seen[256] {
		t.Error("no value of the least size, or of the most")
	}
	for _, value := range []string{"", "7", "7:1", "7:1:", ":::", string(appendValue(nil, 7, 1)) + "x"} {
		if _, err := versionOf(7, value); err == nil {
			t.Errorf("%q is a value", value)
		}
	}
}

func TestJudge(t *testing.T) {
	l := newLedger(10)
	l.acknowledged[3], l.tried[3] = 4, 6
	for _, c := range []struct {
		version uint32
		found   bool
		want    verdict
		err     bool
	}{
		{0, false, missing, false},
		{3, true, old, false},
		{4, true, right, false},
		{6, true, right, false}, // unknown whether it was written
		{7, true, right, true},  // written by nobody
	} {
		got, err := l.judge(3, string(appendValue(nil, 3, c.version)), c.found)
		if got != c.want || err != nil != c.err {
			t.Errorf("%+v: got %v, %v", c, got, err)
		}
	}
}

func TestQuantile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for part, want := range map[float64]time.Duration{0.5: 51, 0.99: 100, 1: 100, 0: 1} {
		if got := quantile(hundred, part); got != want {
			t.Errorf("%v: got %v, want %v", part, got, want)
		}
	}
	if got := quantile(nil, 0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// held is a requester whose requests wait until they are let go.
type held struct {
	mu   sync.Mutex
	gate chan struct{} // guarded by mu; closed when requests are let go
	wait chan struct{} // gets a token when a request waits
	done chan struct{} // gets a token for each request that has its reply, until it is full
}

func (h *held) do(args ...string) (lab.Reply, error) {
	h.mu.Lock()
	gate := h.gate
	h.mu.Unlock()
	if gate != nil {
		select {
		case h.wait <- struct{}{}:
		default:
		}
		<-gate
	}
	select {
	case h.done <- struct{}{}:
	default:
	}
	if args[0] == "get" {
		return lab.Reply{Nil: true}, errors.New("ERR no value here")
	}
	return lab.Reply{Text: "OK"}, nil
}

func (h *held) close() {}

// TestPauseCountsInFull has a server answer nothing for a while: every request that was due
// meanwhile must show how late it was, although few were sent.
func TestPauseCountsInFull(t *testing.T) {
	const rate, pause = 1600, 400 * time.Millisecond
	h := &held{wait: make(chan struct{}, 1), done: make(chan struct{}, 1<<20)}
	c := employ(func(int) requester { return h }, newLedger(1000), rate)
	gate := make(chan struct{})
	h.mu.Lock()
	h.gate = gate
	h.mu.Unlock()
	<-h.wait
	from := c.now()
	time.Sleep(pause) // the pause is what is measured
	to := c.now()
	h.mu.Lock()
	h.gate = nil
	h.mu.Unlock()
	close(gate)
	for range int(rate*to.Seconds()) + rate { // until all have sent what was due in the pause
		<-h.done
	}
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	late := 0
	for _, w := range c.workers {
		for _, s := range slices.Concat(w.samples, w.failed) {
			if s.due >= from && s.due < to {
				late++
				if s.took < to-s.due {
					t.Fatalf("a request due %v before the end of the pause took %v", to-s.due, s.took)
				}
			}
		}
	}
	if want := int(rate * (to - from).Seconds() * 0.9); late < want {
		t.Errorf("%d requests show the pause, want %d at least", late, want)
	}
	if l := c.during(window{from, to}); l.errors == 0 || l.count == 0 || l.errors+l.count != late {
		t.Errorf("%d and %d errors of %d", l.count, l.errors, late)
	}
	if n := c.texts()["ERR"]; n == 0 {
		t.Errorf("no errors by kind: %v", c.texts())
	}
}

func TestRedirections(t *testing.T) {
	const key = "key:000000000007"
	var first, second *fake
	isSet := func(command []string) bool { return command[0] == "set" }
	second = serve(t, nil)
	kind := "ASK"
	first = serve(t, func(command []string) (string, bool) {
		host, port, _ := strings.Cut(first.address, ":")
		switch {
		case command[0] == "cluster":
			return fmt.Sprintf("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:%s\r\n", len(host), host, port), true
		case isSet(command):
			return "-" + kind + " 1 " + second.address + "\r\n", true
		}
		return "", false
	})
	s, err := newSlots([]string{first.address})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	c := &routed{slots: s, conns: map[string]*lab.Conn{}}
	defer c.close()
	for _, kind = range []string{"ASK", "MOVED"} {
		if reply, err := c.do("set", key, kind); err != nil || reply.Text != "OK" {
			t.Fatalf("%s: %+v, %v", kind, reply, err)
		}
	}
	want := []string{"asking", "set " + key + " ASK", "set " + key + " MOVED"}
	if got := second.commands(); !slices.Equal(got, want) {
		t.Errorf("the second server got %q, want %q", got, want)
	}
}

// What a server refuses, when all keys are set and when they are read, is asked for again.
func TestRefusedKeysAreAskedForAgain(t *testing.T) {
	var mu sync.Mutex
	refused := map[string]bool{}
	f := serve(t, func(command []string) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		if what := command[0] + command[1]; strings.HasSuffix(what, "7") && !refused[what] {
			refused[what] = true
			return "-TIMEOUT not enough replicas answered in time\r\n", true
		}
		return "", false
	})
	route := func(string) string { return f.address }
	l := newLedger(100)
	if err := load(t.Context(), 100, route); err != nil {
		t.Fatal(err)
	}
	l.acknowledged[50], l.tried[50] = 1, 1 // a write that the server has not
	if count, err := lost(t.Context(), l, route); count != 1 || err != nil {
		t.Errorf("%d keys lost, %v; want 1", count, err)
	}
	if len(refused) != 20 {
		t.Errorf("%d commands were refused, want 20", len(refused))
	}
}
