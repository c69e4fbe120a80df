package compat

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kvstore/tests/process"
)

// One of three nodes dies by kill -9 while a cluster client writes and reads; both
// go on. Nothing acknowledged is lost: not with the node gone, not after it is back
// with what it missed, not at the level of all replicas, and not after the death of
// the whole cluster.
func TestNodeKilledUnderLoad(t *testing.T) {
	nodes := process.Cluster(t, 3)
	binary, acknowledged := goredis(t), filepath.Join(t.TempDir(), "acknowledged")
	l := startLoad(t, "go-redis", append([]string{binary, "workload", acknowledged}, addresses(nodes)...)...)

	l.until(1000)
	nodes[2].Kill()
	killed := time.Now()
	l.until(1000)
	t.Logf("%v after the kill: %s", time.Since(killed).Round(10*time.Millisecond), l.last)
	l.settle(1000, "with the node dead")
	nodes[2].Start()
	l.until(1000)
	process.AwaitAll(t, nodes)
	l.settle(1000, "with all nodes back")
	l.end()
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
