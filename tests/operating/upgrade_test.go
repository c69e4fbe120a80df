package operating

import (
	"strings"
	"testing"
	"time"

	"kvstore/tests/process"
)

// awaitLevel waits until each of the nodes says that all of them are level.
func awaitLevel(t *testing.T, nodes []*process.Node) {
	t.Helper()
	last := ""
	for _, n := range nodes {
		process.Await(t, func() bool {
			var err error
			last, err = kvstore(t, "status", "--level", "--admin.listen="+n.Admin)
			return err == nil
		}, func() string { return n.Name + " is not level: " + last })
	}
}

// Each of three nodes in turn is stopped in order and started again, as an upgrade does it, under a client that goes to
// another node when its connection is closed. It meets with nothing else, and nothing is lost.
func TestUpgradeNodeByNode(t *testing.T) {
	t.Parallel()
	nodes := process.Cluster(t, 3, "cluster.partitions=32", "replication.read_timeout=15s", "replication.write_timeout=15s")
	w := startWriter(t, nodes)
	w.more(100)
	for _, n := range nodes {
		n.Stop()
		w.more(100)
		if out, err := kvstore(t, "status", "--level", "--admin.listen="+nodes[(indexOf(nodes, n)+1)%3].Admin); err == nil || !strings.Contains(out, "not level") {
			t.Errorf("with %s stopped the cluster is level: %v\n%s", n.Name, err, out)
		}
		began := time.Now()
		n.Start()
		awaitLevel(t, nodes)
		t.Logf("%s was level %v after its start", n.Name, time.Since(began).Round(10*time.Millisecond))
		w.more(100)
	}
	w.faultless()
	for _, n := range nodes {
		holds(t, n, "ALL", w.count())
	}
}

func indexOf(nodes []*process.Node, n *process.Node) int {
	for i := range nodes {
		if nodes[i] == n {
			return i
		}
	}
	return -1
}
