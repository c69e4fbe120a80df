package operating

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kvstore/tests/process"
)

// kvstore runs a command and returns what it printed, and how it ended.
func kvstore(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), process.Binary(), args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is kvstore that fails the test with the command.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kvstore(t, args...)
	if err != nil {
		t.Fatalf("kvstore %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func backUp(t *testing.T, n *process.Node) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup-"+n.Name)
	must(t, "backup", dir, "--admin.listen="+n.Admin)
	return dir
}

// lose ends a node as kill -9 does, and its disk with it.
func lose(t *testing.T, n *process.Node) {
	t.Helper()
	n.Kill()
	if err := os.RemoveAll(n.Data()); err != nil {
		t.Fatal(err)
	}
}

// A node is backed up under writes, loses its disk and is made again of the backup: it comes back as the member that it
// was, with what was written since, and without what was deleted since.
func TestOneNodeIsRestored(t *testing.T) {
	t.Parallel()
	nodes := process.Cluster(t, 3, patient...)
	w := startWriter(t, nodes[:2])
	w.more(200)
	c := process.Dial(t, nodes[0].Client)
	c.Expect("QUORUM CALL quorum all SET deleted x", "OK") // so that the backup has it
	c.Expect("QUORUM CALL quorum all SET replaced x", "OK")
	dir := backUp(t, nodes[2])
	c.Expect("DEL deleted", "1")
	c.Expect("SET replaced y", "OK")
	w.more(200)
	lose(t, nodes[2])
	w.more(200)
	must(t, "restore", dir, "--storage.dir="+nodes[2].Data())
	nodes[2].Start()
	process.AwaitAll(t, nodes)
	w.stop()
	awaitLevel(t, nodes)
	holds(t, nodes[2], "ONE", w.count())
	own := process.Dial(t, nodes[2].Client)
	own.Expect("QUORUM SET R one", "OK") // its own copy, which nobody else corrects
	own.Expect("GET deleted", "(nil)")
	own.Expect("GET replaced", "y")
	if out := must(t, "status", "--admin.listen="+nodes[2].Admin); !strings.Contains(out, "3 nodes, all alive") {
		t.Errorf("the cluster afterwards:\n%s", out)
	}
}

// All nodes are backed up one after the other under writes, and lose their disks. A cluster of another name at other
// addresses is made of the backups: what was written before the first backup began is all there, and the ring changes.
func TestAllNodesAreRestored(t *testing.T) {
	t.Parallel()
	nodes := process.Cluster(t, 3, patient...)
	w := startWriter(t, nodes)
	w.more(200)
	before := w.count()
	var dirs []string
	for _, n := range nodes {
		dirs = append(dirs, backUp(t, n))
		w.more(50)
	}
	w.faultless()
	for _, n := range nodes {
		lose(t, n)
	}
	var restored []*process.Node
	for i, n := range nodes {
		m := process.New(t, n.Name, "cluster.name=again", "cluster.partitions=32")
		if i > 0 {
			m.Settings = append(m.Settings, "cluster.join="+restored[0].Gossip)
		}
		restored = append(restored, m)
		out := must(t, "restore", dirs[i], "--all=monday", "--cluster.name=again", "--storage.dir="+m.Data())
		if !strings.Contains(out, "a new life of cluster again") {
			t.Errorf("restore says %s", out)
		}
	}
	started := make(chan error, len(restored))
	for _, n := range restored { // none serves before it finds another
		go func() { started <- n.TryStart() }()
	}
	for range restored {
		if err := <-started; err != nil {
			t.Fatal(err)
		}
	}
	process.AwaitAll(t, restored)
	for _, n := range restored {
		holds(t, n, "QUORUM", before)
	}
	c := process.Dial(t, restored[1].Client)
	c.Expect("SET after x", "OK")
	process.Await(t, func() bool {
		_, err := kvstore(t, "cluster", "weight", "n3", "2", "--yes", "--admin.listen="+restored[0].Admin)
		return err == nil
	}, func() string { return "the ring of the new life does not change" })
}

// One node that is a cluster by itself needs no word to be restored.
func TestSingleNodeIsRestored(t *testing.T) {
	t.Parallel()
	n := process.Single(t)
	process.Dial(t, n.Client).Expect("SET k v", "OK")
	dir := backUp(t, n)
	lose(t, n)
	must(t, "restore", dir, "--storage.dir="+n.Data())
	n.Start()
	process.Dial(t, n.Client).Expect("GET k", "v")
}

// What cannot be is refused in one line.
func TestRefusals(t *testing.T) {
	t.Parallel()
	n := process.Single(t, "storage.memtable_size=1MiB")
	dir := backUp(t, n)
	damaged := backUp(t, n)
	files, err := filepath.Glob(filepath.Join(damaged, "MANIFEST*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	half := t.TempDir()
	if err := os.WriteFile(filepath.Join(half, "restoring"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stopped := process.New(t, "stopped")
	at, to := "--admin.listen="+n.Admin, "--storage.dir="+filepath.Join(t.TempDir(), "new")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"backup", at}, "want the directory"},
		{[]string{"backup", "monday", at}, "give the whole path, such as /"},
		{[]string{"backup", dir, at}, "is not empty"},
		{[]string{"backup", filepath.Join(n.Data(), "x"), at}, "in the node's own directory"},
		{[]string{"backup", filepath.Join(file, "x"), at}, "not a directory"},
		{[]string{"restore", to}, "want the directory of a backup"},
		{[]string{"restore", n.Dir, to}, "is no backup"},
		{[]string{"restore", damaged, to}, "is damaged: it has 1 bytes"},
		{[]string{"restore", dir, "--storage.dir=" + n.Data()}, "is not empty"},
		{[]string{"restore", dir, to, "--ring=" + dir}, "--ring is for --all"},
		{[]string{"server", "--storage.dir=" + half, "--server.listen=" + stopped.Client, "--admin.listen=" + stopped.Admin,
			"--cluster.gossip=" + stopped.Gossip, "--cluster.rpc=" + stopped.RPC}, "was not restored to the end"},
	} {
		out, err := kvstore(t, tc.args...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if err == nil || !strings.Contains(out, tc.want) || len(lines) != 1 && tc.args[0] != "server" {
			t.Errorf("kvstore %s: %v, want one line with %q:\n%s", strings.Join(tc.args, " "), err, tc.want, out)
		}
	}
	left, err := filepath.Glob(filepath.Join(strings.TrimPrefix(to, "--storage.dir="), "*"))
	if err != nil || !slices.Equal(left, nil) {
		t.Errorf("what was refused left %v, %v", left, err)
	}
}
