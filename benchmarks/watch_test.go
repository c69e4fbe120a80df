package main

import (
	"fmt"
	"io"
	"math"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// countingServer answers every INFO, with counts that rise by step each time
// until the stop-th.
func countingServer(t *testing.T, step, stop int) (port int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		question := make([]byte, len("*2\r\n$4\r\nINFO\r\n$5\r\nstats\r\n"))
		for i := 1; ; i++ {
			if _, err := io.ReadFull(conn, question); err != nil {
				return
			}
			text := fmt.Sprintf("# Stats\r\ntotal_commands_processed:%d\r\n", step*min(i, stop))
			fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(text), text)
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

func TestRunAndWatchSeesTheServerIdle(t *testing.T) {
	idle, err := runAndWatch(t.Context(), exec.Command("sleep", "2"), countingServer(t, 100, 2))
	if err != nil {
		t.Fatal(err)
	}
	if idle < 500*time.Millisecond || idle > 20*time.Second {
		t.Errorf("idle for %v at the end, want a little under 2s", idle)
	}
	if _, err := runAndWatch(t.Context(), exec.Command("false"), countingServer(t, 100, 2)); err == nil {
		t.Error("a command that fails gave no error")
	}
}

func TestWithoutIdle(t *testing.T) {
	for _, c := range []struct {
		rate float64
		n    int
		idle time.Duration
		want float64
	}{
		{1000, 2000, 0, 1000},
		{1000, 2000, 200 * time.Millisecond, 2000 / 1.8},
		{1000, 2000, time.Second, 2000 / 1.74}, // no longer than the threads sleep
		{1000, 100, 100 * time.Millisecond, 10_000},
	} {
		if got := withoutIdle(c.rate, c.n, c.idle); math.Abs(got-c.want) > 0.001 {
			t.Errorf("%v/s, %d operations, %v idle: got %v, want %v", c.rate, c.n, c.idle, got, c.want)
		}
	}
}
