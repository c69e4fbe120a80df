package script

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kvstore/tests/process"
)

// Clients that ask for a gigabyte each and never read get no further than the
// limit of their output: the server stops reading them, serves others meanwhile,
// and forgets them when they go. How long one may stay so is resp.StuckTime, whose
// tests are in package resp.
func TestClientThatNeverReads(t *testing.T) {
	n := process.Single(t, "server.output_limit=2MiB")
	other := process.Dial(t, n.Client)
	if got := other.Do("SET", "large", strings.Repeat("x", 100<<10)); got != "OK" {
		t.Fatal(got)
	}
	before := n.Memory()
	get := strings.Repeat(process.Encode("GET", "large"), 10000) // a gigabyte of replies
	var wg sync.WaitGroup
	var deaf []*process.Conn
	for range 20 {
		c := process.Dial(t, n.Client)
		deaf = append(deaf, c)
		wg.Go(func() { _ = c.Raw(get) }) // fails if it is closed before all is sent
	}
	for range 100 {
		other.Expect("STRLEN large", "102400")
	}
	grown := n.Memory() - before
	t.Logf("20 clients that never read cost %d MiB", grown/mebi)
	if grown > 300*mebi {
		t.Errorf("20 clients that never read cost %d MiB", grown/mebi)
	}
	for _, c := range deaf {
		c.Close()
	}
	wg.Wait()
	alone := func() bool { return strings.Contains(other.Do("INFO", "clients"), "connected_clients:1\r\n") }
	process.Await(t, alone, func() string { return "they are not forgotten: " + other.Do("INFO", "clients") })
}

// Ten thousand clients that only stay connected, or as many as this machine lets
// one process open; one more than maxclients is told so.
func TestIdleConnections(t *testing.T) {
	const reserve = 500 // files that the programs need for other things
	count := 10000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Max) - reserve; most < count {
		t.Logf("ulimit -Hn is %d: this is %d connections instead of %d", limit.Max, most, count)
		count = most
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := process.Single(t, fmt.Sprintf("server.maxclients=%d", count+1))
	active := process.Dial(t, n.Client)
	active.Expect("PING", "PONG")
	before := n.Memory()
	idle := make([]net.Conn, 0, count)
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	for range count {
		c, err := net.DialTimeout("tcp", n.Client, 10*time.Second)
		if err != nil {
			t.Fatalf("after %d connections: %v", len(idle), err)
		}
		idle = append(idle, c)
	}
	connected := func() bool {
		return strings.Contains(active.Do("INFO", "clients"), fmt.Sprintf("connected_clients:%d\r\n", count+1))
	}
	process.Await(t, connected, func() string { return "not all are connected: " + active.Do("INFO", "clients") })
	grown := n.Memory() - before
	t.Logf("%d idle connections cost %d bytes each", count, grown/int64(count))
	if grown > int64(count)*16<<10 {
		t.Errorf("%d idle connections cost %d MiB", count, grown/mebi)
	}
	start := time.Now()
	for i := range 1000 {
		active.Expect(fmt.Sprintf("SET key:%d x", i), "OK")
	}
	t.Logf("1000 writes one after the other beside them take %v", time.Since(start))
	over := process.Dial(t, n.Client)
	if got, err := over.Reply(); err != nil || got != "-ERR max number of clients reached" {
		t.Errorf("one more than maxclients: %q %v", got, err)
	}
	// The first and the last are served like any other.
	for _, c := range []net.Conn{idle[0], idle[count-1]} {
		if err := errors.Join(c.SetDeadline(time.Now().Add(10*time.Second)), writeAll(c, "PING\r\n")); err != nil {
			t.Fatal(err)
		}
		reply := make([]byte, 7)
		if _, err := c.Read(reply); err != nil || string(reply) != "+PONG\r\n" {
			t.Errorf("an idle connection answers %q, %v", reply, err)
		}
	}
}

func writeAll(c net.Conn, s string) error {
	_, err := c.Write([]byte(s))
	return err
}

// With two of three nodes gone a quorum cannot be met, which is said at once and
// leaves no trace; one replica can still be read. With the nodes back all goes on.
func TestLevelThatCannotBeMet(t *testing.T) {
	nodes := process.Cluster(t, 3)
	c := process.Dial(t, nodes[0].Client)
	c.Expect("SET k before", "OK")
	c.ExpectPrefix("QUORUM CALL 7 - GET k", "-ERR level '7' cannot be met")
	nodes[1].Kill()
	nodes[2].Kill()
	refused := func() bool { return strings.HasPrefix(c.Do("SET", "k", "refused"), "-NOQUORUM ") }
	process.Await(t, refused, func() string { return "SET without a quorum: " + c.Do("SET", "k", "refused") })
	start := time.Now()
	c.ExpectPrefix("SET k refused", "-NOQUORUM ")
	c.ExpectPrefix("GET k", "-NOQUORUM ")
	if took := time.Since(start); took > time.Second {
		t.Errorf("saying so takes %v", took)
	}
	c.Expect("QUORUM CALL ONE - EXISTS k", "1")
	c.Expect("PING", "PONG")
	nodes[1].Start()
	nodes[2].Start()
	process.AwaitAll(t, nodes)
	process.Await(t, func() bool { return c.Do("SET", "k", "after") == "OK" }, func() string { return "SET: " + c.Do("SET", "k", "after") })
	process.Dial(t, nodes[2].Client).Expect("GET k", "after")
}
