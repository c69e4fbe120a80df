package script

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// Until partitions can move, a ring that holds data takes nobody in, and says so.
// Neither side is harmed: the ring serves, the newcomer may found its own.
func TestJoinRefusedWhereDataExists(t *testing.T) {
	first := process.Single(t)
	c := process.Dial(t, first.Client)
	c.Expect("SET k v", "OK")
	second := process.New(t, "second", "cluster.join="+first.Gossip)
	wantRefusal(t, second, "cluster.join = ", first.Gossip, "data")
	c.Expect("GET k", "v")
	c.Expect("SET k w", "OK")
}

// A node that asks members of a cluster of another name is kept out by every one
// of them. It keeps asking, since they may be started anew, but says what is
// wrong: in one line of its log, and to whoever asks for its status.
func TestJoinAClusterOfAnotherName(t *testing.T) {
	red := process.Single(t, "cluster.name=red")
	blue := process.New(t, "blue", "cluster.name=blue", "cluster.join="+red.Gossip)
	blue.Launch()
	words := []string{"cluster.join = ", red.Gossip, "hung up", "cluster.name = ", "blue", "set cluster.name"}
	status := func() string {
		out, _ := exec.Command(process.Binary(), "status", "--admin.listen="+blue.Admin).CombinedOutput()
		return string(out)
	}
	tells := func(text string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	}
	process.Await(t, func() bool { return tells(status()) }, status)
	var said []string
	for line := range strings.Lines(blue.Output()) {
		if tells(line) {
			said = append(said, line)
		}
	}
	if len(said) != 1 {
		t.Errorf("the log has %d lines that say it:\n%s", len(said), blue.Output())
	}
	process.Dial(t, red.Client).Expect("SET k v", "OK")
}
