package operating

import (
	"errors"
	"strings"
	"testing"
	"time"

	"kvstore/tests/process"
)

// levelWithin bounds how long nodes take to be level again, on a machine that has other work.
const levelWithin = 2 * time.Minute

// awaitLevel waits until each of the nodes says that all of them are level.
func awaitLevel(t *testing.T, nodes []*process.Node) {
	t.Helper()
	began, last := time.Now(), ""
	for _, n := range nodes {
		for err := errors.New(""); err != nil; {
			last, err = kvstore(t, "status", "--level", "--admin.listen="+n.Admin)
			if err != nil && time.Since(began) > levelWithin {
				t.Fatalf("%s is not level: %s", n.Name, last)
			}
			time.Sleep(50 * time.Millisecond) // nothing tells of it
		}
	}
}

// Each of three nodes in turn is stopped in order and started again, as an upgrade does it, under a client that goes to
// another node when its connection is closed. It meets with nothing else, and nothing is lost.
func TestUpgradeNodeByNode(t *testing.T) {
	t.Parallel()
	nodes := process.Cluster(t, 3, patient...)
	w := startWriter(t, nodes)
	w.more(100)
	for i, n := range nodes {
		n.Stop()
		w.more(100)
		if out, err := kvstore(t, "status", "--level", "--admin.listen="+nodes[(i+1)%3].Admin); err == nil || !strings.Contains(out, "not level") {
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
