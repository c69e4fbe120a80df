package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// runAndWatch runs a command and tells for how long at its end the server at
// port had nothing to do. With --cluster redis-benchmark has threads, which
// notice only every 250 ms that all operations are done, and counts that time in.
func runAndWatch(ctx context.Context, command *exec.Cmd, port int) (idle time.Duration, err error) {
	const (
		interval = 5 * time.Millisecond
		few      = 20 // commands in an interval: ours, and what replicas say
	)
	counter, err := dialCounter(ctx, port)
	if err != nil {
		return 0, err
	}
	defer counter.conn.Close()
	if err := command.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1) // sent once by the goroutine below
	go func() { ended <- command.Wait() }()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last, busy := int64(0), time.Now()
	for {
		select {
		case err := <-ended:
			return time.Since(busy), err
		case <-tick.C:
		}
		now, err := counter.read()
		if err != nil {
			return 0, errors.Join(err, <-ended)
		}
		if now > last+few {
			busy = time.Now()
		}
		last = now
	}
}

// counter asks a server how many commands it has run.
type counter struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialCounter(ctx context.Context, port int) (*counter, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address(port))
	if err != nil {
		return nil, fmt.Errorf("connect to port %d: %w", port, err)
	}
	return &counter{conn: conn, r: bufio.NewReader(conn)}, nil
}

func (c *counter) read() (int64, error) {
	if _, err := io.WriteString(c.conn, "*2\r\n$4\r\nINFO\r\n$5\r\nstats\r\n"); err != nil {
		return 0, fmt.Errorf("ask for INFO stats: %w", err)
	}
	header, err := c.r.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("read INFO stats: %w", err)
	}
	length, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(header, "$")))
	if err != nil {
		return 0, fmt.Errorf("read INFO stats: reply %q", header)
	}
	text := make([]byte, length+len("\r\n"))
	if _, err := io.ReadFull(c.r, text); err != nil {
		return 0, fmt.Errorf("read INFO stats: %w", err)
	}
	n, err := strconv.ParseInt(field(text, "total_commands_processed"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read INFO stats: %w", err)
	}
	return n, nil
}

// withoutIdle is the rate that redis-benchmark would have found for count
// operations, had it stopped its clock at the last one.
func withoutIdle(rate float64, count int, idle time.Duration) float64 {
	const longest = 260 * time.Millisecond // the threads look every 250
	counted := float64(count) / rate
	return float64(count) / max(counted-min(idle, longest).Seconds(), counted/10)
}
