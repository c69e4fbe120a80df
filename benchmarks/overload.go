package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// overloadConnections is how many clients there are, spread over the nodes.
	overloadConnections = 64
	// overloadDepth is how many requests each has under way when the peak is
	// measured, where a client waits for the replies before it sends more.
	overloadDepth = 16
	// overloadTimes the peak is what is offered then, without waiting.
	overloadTimes = 3
	// overloadTick is how often each client sends what is due.
	overloadTick = 5 * time.Millisecond
	// overloadLag is how far sending may fall behind, because the server does not
	// read, before what is due counts as unsent.
	overloadLag  = 100 * time.Millisecond
	overloadKeys = 4096
	// overloadBuffer is how many bytes wait in a client's socket: what waits there
	// waits for the network, as far as the server can tell.
	overloadBuffer = 32 << 10
)

// overload shows what becomes of a server that is offered three times of what it
// can do: first its peak is measured, with clients that wait for replies, then
// clients send at a fixed rate without waiting, and then the peak once more.
func (b *bench) overload(ctx context.Context) error {
	lines := [][]string{
		{"", "peak", "offered", "completed", "", "a CPU s", "refused", "timeouts", "unsent", "p99 ms", "most MB", "after"},
		{"nodes", "ops/s", "ops/s", "ops/s", "of peak", "of peak", "ops/s", "ops/s", "ops/s", "of those", "a node", "of peak"},
	}
	for _, count := range []int{1, 3} {
		line, err := b.overloadNodes(ctx, count)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	fmt.Fprintf(b.out, "\noverload: %d connections, half SET of %d B and half GET, %d times the peak offered\n",
		overloadConnections, valueSize, overloadTimes)
	return align(b.out, lines, 1)
}

func (b *bench) overloadNodes(ctx context.Context, count int) (line []string, err error) {
	nodes, err := startNodes(ctx, b.executable, filepath.Join(b.dir, fmt.Sprintf("overload%d", count)), count)
	if err != nil {
		return nil, err
	}
	defer stopAll(processesOf(nodes))
	quiet, flood := 5*time.Second, 20*time.Second
	if b.short {
		quiet, flood = 2*time.Second, 5*time.Second
	}
	b.say("overload: the peak of %d nodes", count)
	if _, err := offer(ctx, nodes, quiet/2, 0); err != nil { // warms up
		return nil, err
	}
	peak, err := offer(ctx, nodes, quiet, 0)
	if err != nil {
		return nil, err
	}
	b.say("overload: %s offered to %d nodes", thousands(overloadTimes*peak.completed()), count)
	profiled := make(chan error, 1) // sent once by the goroutine below
	go func() { profiled <- b.profileFlood(ctx, nodes) }()
	over, err := offer(ctx, nodes, flood, overloadTimes*peak.completed())
	if err := errors.Join(err, <-profiled); err != nil {
		return nil, err
	}
	after, err := offer(ctx, nodes, quiet, 0)
	if err != nil {
		return nil, err
	}
	var most int64
	for _, n := range nodes {
		_, hwm, err := n.resident()
		if err != nil {
			return nil, err
		}
		most = max(most, hwm)
	}
	rate := func(n int64) string { return thousands(float64(n) / over.took.Seconds()) }
	return []string{
		strconv.Itoa(count), thousands(peak.completed()), thousands(overloadTimes * peak.completed()), thousands(over.completed()),
		decimals(over.completed()/peak.completed(), 2), decimals(over.work()/peak.work(), 2), rate(over.refused), rate(over.failed), rate(over.unsent),
		decimals(milliseconds(over.p99()), 1), megabytes(most), decimals(after.completed()/peak.completed(), 2),
	}, nil
}

// outcome is what became of offered requests.
type outcome struct {
	ok, refused, failed, unsent int64
	late                        []time.Duration // of completed requests, sampled
	took                        time.Duration
	cpu                         time.Duration // of the nodes
}

func (o *outcome) completed() float64 { return float64(o.ok) / o.took.Seconds() }

// work is how much is completed in a second of the nodes' processors.
func (o *outcome) work() float64 { return float64(o.ok) / o.cpu.Seconds() }

func (o *outcome) p99() time.Duration {
	if len(o.late) == 0 {
		return 0
	}
	slices.Sort(o.late)
	return o.late[len(o.late)*99/100]
}

func (o *outcome) add(p *outcome) {
	o.ok, o.refused, o.failed, o.unsent = o.ok+p.ok, o.refused+p.refused, o.failed+p.failed, o.unsent+p.unsent
	o.late = append(o.late, p.late...)
}

// offer has all clients send for a while, at rate requests a second together; with
// rate 0 each waits for its replies.
func offer(ctx context.Context, nodes []*node, d time.Duration, rate float64) (*outcome, error) {
	var (
		total outcome
		mu    sync.Mutex
		wg    sync.WaitGroup
		errs  []error
	)
	cpu, err := cpuTime(processesOf(nodes))
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for i := range overloadConnections {
		wg.Go(func() {
			c, err := dialClient(ctx, nodes[i%len(nodes)].port, i)
			if err == nil {
				defer c.conn.Close()
				if rate == 0 {
					err = c.inTurn(began.Add(d))
				} else {
					err = c.atRate(began, d, rate/overloadConnections)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("client of %s: %w", nodes[i%len(nodes)].name, err))
				return
			}
			total.add(&c.outcome)
		})
	}
	wg.Wait()
	total.took = time.Since(began)
	used, err := cpuTime(processesOf(nodes))
	total.cpu = used - cpu
	return &total, errors.Join(errors.Join(errs...), err)
}

// client is one connection, and the commands it repeats.
type client struct {
	conn     net.Conn
	r        *bufio.Reader
	commands []byte
	ends     []int // of each command
	next     int
	outcome  outcome
	seen     int
}

func dialClient(ctx context.Context, port, number int) (*client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address(port))
	if err != nil {
		return nil, fmt.Errorf("connect to port %d: %w", port, err)
	}
	if err := conn.(*net.TCPConn).SetWriteBuffer(overloadBuffer); err != nil {
		return nil, err
	}
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	for i := range overloadKeys {
		if i%2 == 0 {
			key := appendKey(nil, number*overloadKeys+i)
			c.commands = fmt.Appendf(c.commands, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(key), key, valueSize, appendValue(nil, i))
		} else { // of a key that was set long ago: replies about it need not wait for that
			key := appendKey(nil, number*overloadKeys+(i-1+overloadKeys/2)%overloadKeys)
			c.commands = fmt.Appendf(c.commands, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)
		}
		c.ends = append(c.ends, len(c.commands))
	}
	return c, nil
}

// send writes the next n commands.
func (c *client) send(n int) error {
	for n > 0 {
		from, count := 0, min(n, len(c.ends)-c.next)
		if c.next > 0 {
			from = c.ends[c.next-1]
		}
		if _, err := c.conn.Write(c.commands[from:c.ends[c.next+count-1]]); err != nil {
			return err
		}
		c.next = (c.next + count) % len(c.ends)
		n -= count
	}
	return nil
}

// receive reads a reply to what was to be sent at a time.
func (c *client) receive(due time.Time) error {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(line, []byte("-OVERLOADED")):
		c.outcome.refused++
		return nil
	case line[0] == '-':
		c.outcome.failed++
		return nil
	case line[0] == '$' && line[1] != '-':
		n, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
		if err != nil {
			return err
		}
		if _, err := c.r.Discard(n + 2); err != nil {
			return err
		}
	}
	c.outcome.ok++
	if c.seen++; c.seen%16 == 0 {
		c.outcome.late = append(c.outcome.late, time.Since(due))
	}
	return nil
}

func (c *client) inTurn(until time.Time) error {
	for time.Now().Before(until) {
		began := time.Now()
		if err := c.send(overloadDepth); err != nil {
			return err
		}
		for range overloadDepth {
			if err := c.receive(began); err != nil {
				return err
			}
		}
	}
	return nil
}

// burst is requests that were sent together.
type burst struct {
	due   time.Time
	count int
}

// atRate sends what is due each tick, and a goroutine reads the replies. It ends
// when all have come.
func (c *client) atRate(began time.Time, d time.Duration, rate float64) error {
	var (
		bursts = make(chan burst, 1<<16) // by the sender, which closes it
		result = make(chan error, 1)     // by the receiver
		failed atomic.Bool
	)
	go func() {
		var err error
		for b := range bursts {
			for i := 0; i < b.count && err == nil; i++ {
				err = c.receive(b.due)
			}
			failed.Store(err != nil)
		}
		result <- err
	}()
	var err error
	var unsent int64
	asked := 0 // sent, and given up
	for due := began; due.Before(began.Add(d)) && err == nil && !failed.Load(); due = due.Add(overloadTick) {
		time.Sleep(time.Until(due))
		n := int(rate*due.Sub(began).Seconds()) - asked
		asked += n
		if time.Since(due) > overloadLag {
			unsent += int64(n)
			continue
		}
		if n > 0 {
			bursts <- burst{due, n}
			err = c.send(n)
		}
	}
	close(bursts)
	if err != nil {
		c.conn.Close()
	}
	err = errors.Join(err, <-result)
	c.outcome.unsent = unsent
	return err
}
