package cli

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"kvstore/config"
)

// ask sends one inline command to a node and returns the first line of the
// reply, or the bulk string.
func ask(t *testing.T, n *demoNode, command string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", n.config.Server.Listen, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "%s\r\n", command)
	in := bufio.NewReader(c)
	line, err := in.ReadString('\n')
	if err == nil && strings.HasPrefix(line, "$") && line != "$-1\r\n" {
		line, err = in.ReadString('\n')
	}
	if err != nil {
		t.Fatalf("%s: %s: %v", n.name, command, err)
	}
	return strings.TrimSpace(line)
}

// The tour of a demo with real nodes: writes on one node are read on another,
// the death of one changes nothing, it comes back by the printed line, and a
// second demo in the same directory has the data.
func TestDemoOfRealNodes(t *testing.T) {
	dir := t.TempDir()
	patient := []config.Setting{{Key: "replication.read_timeout", Value: "10s"}, {Key: "replication.write_timeout", Value: "10s"}} // busy machines
	r := startDemoOf(t, dir, roleVariable+"=kvstore", patient...)
	r.await("3 nodes serve")
	r.await("Ctrl-C")
	nodes := r.demo.nodes
	for i := range 100 {
		if got := ask(t, nodes[i%3], fmt.Sprintf("SET key:%d %d", i, i)); got != "+OK" {
			t.Fatalf("SET %d: %s", i, got)
		}
	}
	if err := syscall.Kill(r.demo.children[2].pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	line := r.await("n3 .* died: signal: killed")
	for i := range 100 {
		if got := ask(t, nodes[i%2], fmt.Sprintf("GET key:%d", i)); got != fmt.Sprint(i) {
			t.Errorf("GET %d with one node dead: %s", i, got)
		}
	}
	if got := ask(t, nodes[0], "SET while:dead yes"); got != "+OK" {
		t.Errorf("SET with one node dead: %s", got)
	}
	_, command, _ := strings.Cut(line, "again: ")
	byHand := exec.Command("sh", "-c", "exec "+command)
	byHand.Env = append(os.Environ(), roleVariable+"=kvstore")
	if err := byHand.Start(); err != nil {
		t.Fatal(err)
	}
	r.await("n3 is back")
	if got := ask(t, nodes[2], "GET while:dead"); got != "yes" {
		t.Errorf("GET on the node that came back: %s", got)
	}
	r.signals <- os.Interrupt
	if rest := r.finish(); r.err != nil || strings.Contains(rest, "killed") {
		t.Errorf("ended with %v: %s", r.err, rest)
	}
	_ = byHand.Wait() // how it ended is the business of package cluster's tests

	r = startDemoOf(t, dir, roleVariable+"=kvstore", patient...)
	r.await("Ctrl-C")
	for i := range 100 {
		if got := ask(t, r.demo.nodes[i%3], fmt.Sprintf("GET key:%d", i)); got != fmt.Sprint(i) {
			t.Errorf("GET %d in the second demo: %s", i, got)
		}
	}
	r.signals <- os.Interrupt
	r.finish()
}
