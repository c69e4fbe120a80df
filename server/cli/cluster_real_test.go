package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"kvstore/config"
	"kvstore/server/admin"
)

// awaitRest waits until nothing moves in a cluster of so many members, as a node knows it, and
// n4, if it is one, holds so many partitions: a node may hear of a change after it was made.
func awaitRest(t *testing.T, n *demoNode, members, fourth int) admin.Cluster {
	t.Helper()
	client := admin.NewClient(n.config.Admin.Listen)
	var last admin.Cluster
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // another process's state gives no event
		now, err := client.Cluster(t.Context())
		if err == nil && atRest(now) && len(now.Members) == members && now.Members[at(now, "n4")].Partitions == fourth {
			return now
		}
		last = now
	}
	t.Fatalf("the cluster of %d members is not at rest: %+v", members, last)
	return last
}

// Three nodes with data become four, by commit, and three again, by decommission:
// every key stays readable at every node.
func TestGrowAndShrink(t *testing.T) {
	dir := t.TempDir()
	settings := []config.Setting{
		{Key: "replication.read_timeout", Value: "10s"}, {Key: "replication.write_timeout", Value: "10s"}, // busy machines
		{Key: "cluster.partitions", Value: "16"},
	}
	role := roleVariable + "=kvstore"
	r := startDemoOf(t, dir, role, settings...)
	r.await("Ctrl-C")
	nodes := r.demo.nodes
	const keys = 200
	for i := range keys {
		if got := ask(t, nodes[i%3], fmt.Sprintf("SET key:%d %d", i, i)); got != "+OK" {
			t.Fatalf("SET %d: %s", i, got)
		}
	}
	readable := func(nodes []*demoNode) {
		t.Helper()
		for i := range keys {
			if got := ask(t, nodes[i%len(nodes)], fmt.Sprintf("GET key:%d", i)); got != fmt.Sprint(i) {
				t.Errorf("GET %d: %s", i, got)
			}
		}
	}

	fourth, fourthChild := joinDemo(t, r, role, append(settings, config.Setting{Key: "cluster.auto_join", Value: "false"}))
	if c := awaitRest(t, nodes[1], 4, 0); c.Members[at(c, "n4")].State != "joining" {
		t.Fatalf("n4 does not wait for a commit: %+v", c.Members)
	}
	run := clusterAt(nodes[1].config.Admin.Listen)
	out, err := run("plan")
	epoch := regexp.MustCompile(`--epoch=\d+`).FindString(out)
	if err != nil || !strings.Contains(out, "12 replicas to move, 12 at least") || epoch == "" {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("commit", epoch, "--yes"); err != nil || !strings.Contains(out, "commit: done") {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := run("commit", epoch, "--decommission=n1", "--yes"); err == nil || !strings.Contains(err.Error(), "something else was planned") {
		t.Errorf("a plan of before the last one: %v", err)
	}
	awaitRest(t, fourth, 4, 12)
	readable(append(nodes, fourth))

	if out, err := run("decommission", "n4", "--yes"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	awaitRest(t, nodes[0], 3, 16)
	readable(nodes)
	select {
	case <-fourthChild.ended:
	case <-time.After(60 * time.Second):
		t.Error("the node that has left runs still")
	}
	if why := fourth.lastWords(); !strings.Contains(why, "n4 was decommissioned and has left the cluster") || !fourthChild.state.Success() {
		t.Errorf("the node that has left says %q, and ends with %v", why, fourthChild.state)
	}
	r.signals <- os.Interrupt
	r.finish()
}

// at returns where a member is, or else the first.
func at(c admin.Cluster, name string) int {
	for i := range c.Members {
		if c.Members[i].Name == name {
			return i
		}
	}
	return 0
}

// joinDemo starts one more node for the cluster of a demo.
func joinDemo(t *testing.T, r *running, role string, settings []config.Setting) (*demoNode, *child) {
	t.Helper()
	ports, err := freePorts(demoHost, 4)
	if err != nil {
		t.Fatal(err)
	}
	n := &demoNode{name: "n4", dir: filepath.Join(r.demo.dir, "n4"), port: ports[0]}
	own := []config.Setting{
		{Key: "node.name", Value: n.name},
		{Key: "server.listen", Value: local(ports[0])},
		{Key: "cluster.gossip", Value: local(ports[1])},
		{Key: "cluster.rpc", Value: local(ports[2])},
		{Key: "admin.listen", Value: local(ports[3])},
		{Key: "storage.dir", Value: filepath.Join(n.dir, "data")},
		{Key: "cluster.join", Value: r.demo.nodes[0].config.Cluster.Gossip},
	}
	if n.config, err = config.Load(settings, own); err != nil {
		t.Fatal(err)
	}
	if err := n.write(); err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // see startChild; the test's goroutine ends after the child
	c, err := startChild(n, executable, []string{"server", "--config=" + n.file()}, append(os.Environ(), role))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stop(time.After(20*time.Second), nil) })
	return n, c
}
