package script

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kvstore/tests/process"
)

// wantRefusal starts a node that must end with exit code 1 and one line that has
// all of the words.
func wantRefusal(t *testing.T, n *process.Node, words ...string) {
	t.Helper()
	err := n.TryStart()
	if err == nil {
		t.Fatal("the node serves")
	}
	for _, w := range append(words, "exit status 1: kvstore: ") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in: %v", w, err)
		}
	}
}

func TestPortsInUse(t *testing.T) {
	for _, key := range []string{"server.listen", "admin.listen", "cluster.gossip", "cluster.rpc"} {
		t.Run(key, func(t *testing.T) {
			n := process.New(t, "n1")
			address := map[string]string{"server.listen": n.Client, "admin.listen": n.Admin, "cluster.gossip": n.Gossip, "cluster.rpc": n.RPC}[key]
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, n, key+" = ", address, "in use by another process")
			l.Close()
			n.Start()
		})
	}
}

func TestDirectoryInUse(t *testing.T) {
	first := process.Single(t)
	second := process.New(t, "second", "storage.dir="+first.Data())
	wantRefusal(t, second, "storage.dir = ", first.Data(), "in use by process")
	process.Dial(t, first.Client).Expect("SET k v", "OK")
}

func TestDirectoryOfAnotherCluster(t *testing.T) {
	n := process.Single(t, "cluster.name=red")
	process.Dial(t, n.Client).Expect("SET k v", "OK")
	n.Stop()
	n.Settings = []string{"cluster.name=blue"}
	wantRefusal(t, n, "storage.dir = ", "another cluster", "red", "blue")
	n.Settings = []string{"cluster.name=red"}
	n.Start()
	process.Dial(t, n.Client).Expect("GET k", "v")
}

func TestDirectoryThatCannotBeWritten(t *testing.T) {
	n := process.New(t, "n1")
	file := filepath.Join(n.Dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.Settings = []string{"storage.dir=" + filepath.Join(file, "data")}
	wantRefusal(t, n, "storage.dir = ", file, "not a directory")
}
