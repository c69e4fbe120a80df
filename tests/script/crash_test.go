package script

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"kvstore/tests/process"
)

// writeUntilGone lets several clients write numbered keys, each after the reply to
// the one before, until their connections end. It returns when they have; the
// result tells how many each has had acknowledged. at is called once, after so many
// acknowledged writes of all.
func writeUntilGone(t *testing.T, n *process.Node, after int64, at func()) []int {
	t.Helper()
	const clients = 8
	acknowledged := make([]int, clients)
	var total atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		c := process.Dial(t, n.Client)
		wg.Go(func() {
			for {
				key := fmt.Sprintf("%d:%d", i, acknowledged[i])
				got, err := c.Try("SET", key, "value of "+key)
				if err != nil {
					return
				}
				if got != "OK" {
					t.Errorf("SET %s: %s", key, got)
					return
				}
				acknowledged[i]++
				if total.Add(1) == after {
					go at()
				}
			}
		})
	}
	wg.Wait()
	return acknowledged
}

// wantAll reads every acknowledged key.
func wantAll(t *testing.T, n *process.Node, acknowledged []int) {
	t.Helper()
	c := process.Dial(t, n.Client)
	lost := 0
	for i, count := range acknowledged {
		for j := range count {
			key := fmt.Sprintf("%d:%d", i, j)
			if got := c.Do("GET", key); got != "value of "+key {
				if lost++; lost < 5 {
					t.Errorf("%s was acknowledged and is %s", key, got)
				}
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d acknowledged writes are lost", lost)
	}
}

// The process may die at any time: what it has acknowledged is there when it
// starts again, whatever fsync says. Small memtables make it die during flushes
// and compactions too.
func TestKilledAndRestarted(t *testing.T) {
	for _, fsync := range []string{"always", "everysec", "never"} {
		t.Run(fsync, func(t *testing.T) {
			n := process.Single(t, "storage.fsync="+fsync, "storage.memtable_size=1MiB")
			for life := range 3 {
				acknowledged := writeUntilGone(t, n, 3000, n.Kill)
				n.Start()
				wantAll(t, n, acknowledged)
				if t.Failed() {
					t.Fatalf("in life %d", life+1)
				}
			}
		})
	}
}

// SIGTERM answers what is running and ends with 0; nothing acknowledged is lost.
func TestStoppedInOrder(t *testing.T) {
	n := process.Single(t)
	acknowledged := writeUntilGone(t, n, 2000, func() { n.Signal(syscall.SIGTERM) })
	if err := n.Wait(); err != nil {
		t.Errorf("the exit code after SIGTERM: %v", err)
	}
	n.Start()
	wantAll(t, n, acknowledged)
}

// newestLog returns the log that was written last and has records in it.
func newestLog(t *testing.T, n *process.Node) (name string, content []byte) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(n.Data(), "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(logs) // numbered with zeros in front
	for _, name := range slices.Backward(logs) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if b = bytes.TrimRight(b, "\x00"); bytes.Contains(b, []byte("log-value")) {
			return name, b
		}
	}
	t.Fatalf("no log of %v has records", logs)
	return "", nil
}

// killedWithLog returns a node that was killed with 100 keys in its log, one record
// each.
func killedWithLog(t *testing.T) *process.Node {
	t.Helper()
	n := process.Single(t, "storage.compression=none")
	c := process.Dial(t, n.Client)
	for i := range 100 {
		c.Expect(fmt.Sprintf("SET key:%02d log-value-of-%02d", i, i), "OK")
	}
	n.Kill()
	return n
}

// A log cut in its last record is what a crash leaves: everything before is there.
func TestTruncatedLogTail(t *testing.T) {
	n := killedWithLog(t)
	name, content := newestLog(t, n)
	last := bytes.LastIndex(content, []byte("log-value-of-99"))
	if last < 0 {
		t.Fatal("the last key is not in the last log")
	}
	if err := os.Truncate(name, int64(last)+5); err != nil {
		t.Fatal(err)
	}
	n.Start()
	c := process.Dial(t, n.Client)
	for i := range 99 {
		c.Expect(fmt.Sprintf("GET key:%02d", i), fmt.Sprintf("log-value-of-%02d", i))
	}
	c.Expect("GET key:99", "(nil)")
	c.Expect("SET key:99 again", "OK")
	n.Kill()
	n.Start()
	process.Dial(t, n.Client).Expect("GET key:99", "again")
}

// A log damaged in the middle has lost what was promised: the server refuses to
// start, names the file and changes nothing.
func TestDamagedLog(t *testing.T) {
	n := killedWithLog(t)
	name, content := newestLog(t, n)
	middle := bytes.Index(content, []byte("log-value-of-50"))
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{content[middle] ^ 1}, int64(middle)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range 2 {
		err := n.TryStart()
		if err == nil {
			t.Fatal("a node with a damaged log serves")
		}
		for _, want := range []string{"exit status 1", "storage.dir = ", filepath.Base(name), "nothing was changed"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in: %v", want, err)
			}
		}
	}
	// The byte back, all of it is there.
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	n.Start()
	c := process.Dial(t, n.Client)
	for i := range 100 {
		c.Expect(fmt.Sprintf("GET key:%02d", i), fmt.Sprintf("log-value-of-%02d", i))
	}
}
