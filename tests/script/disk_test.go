package script

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kvstore/tests/process"
)

// A full disk refuses writes with MISCONF. Reads go on, what was acknowledged is
// all there, and with some space freed writes go on too, without a restart.
//
// The disk is a small tmpfs in a mount namespace of the node's own: it ends with
// the node, and is seen from outside below /proc.
func TestFullDisk(t *testing.T) {
	n := process.New(t, "n1", "storage.memtable_size=1MiB", "storage.compression=none")
	namespace := []string{"unshare", "--mount"}
	if os.Getuid() != 0 {
		namespace = append(namespace, "--user", "--map-root-user")
	}
	if out, err := exec.Command(namespace[0], append(namespace[1:], "true")...).CombinedOutput(); err != nil {
		t.Fatalf("this test mounts a small tmpfs, for which it must be root or allowed to make a user namespace: %v: %s", err, out)
	}
	mount := `mkdir -p "$0" && mount -t tmpfs -o size=48m tmpfs "$0" && head -c 12000000 /dev/zero >"$0/ballast" && exec "$@"`
	n.Under(append(namespace, "bash", "-c", mount, n.Data())...)
	n.Start()
	inside := filepath.Join("/proc", fmt.Sprint(n.Pid()), "root", n.Data())

	c := process.Dial(t, n.Client)
	random := rand.New(rand.NewPCG(1, 2))
	value := func(i int) string { return fmt.Sprintf("%d:%s", i, strings.Repeat(fmt.Sprint(i), 20000)) }
	var written []int
	refusal := ""
	for i := range 1000 {
		if got := c.Do("SET", fmt.Sprintf("key:%d", i), value(i)); got != "OK" {
			refusal = got
			break
		}
		written = append(written, i)
	}
	if refusal != "-MISCONF refused: the disk is full" {
		t.Fatalf("after %d writes: %q", len(written), refusal)
	}
	t.Logf("after %d writes: %s", len(written), refusal)
	check := func() {
		t.Helper()
		random.Shuffle(len(written), func(i, j int) { written[i], written[j] = written[j], written[i] })
		for _, i := range written {
			if got := c.Do("GET", fmt.Sprintf("key:%d", i)); got != value(i) {
				t.Fatalf("key:%d reads as %.60q of %d bytes", i, got, len(got))
			}
		}
	}
	check()
	c.Expect("PING", "PONG")
	c.Expect("SET another x", "-MISCONF refused: the disk is full")
	process.Await(t, func() bool { return c.Do("DEL", "key:0") == "1" }, func() string { return "DEL on a full disk: " + c.Do("DEL", "key:0") })
	c.Expect("GET key:0", "(nil)")
	written = slices.DeleteFunc(written, func(i int) bool { return i == 0 })
	if !strings.Contains(n.Output(), "no space left on device") {
		t.Errorf("the log does not say what the disk said:\n%s", n.Output())
	}

	if err := os.Remove(filepath.Join(inside, "ballast")); err != nil {
		t.Fatal(err)
	}
	process.Await(t, func() bool { return c.Do("SET", "another", "x") == "OK" }, func() string { return "with space again: " + c.Do("SET", "another", "x") })
	c.Expect("GET another", "x")
	check()
}
