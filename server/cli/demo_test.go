package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kvstore/config"
)

// running is a demo of fake nodes under test.
type running struct {
	t       *testing.T
	demo    *demo
	lines   chan string // what it prints; closed at its end
	signals chan os.Signal
	err     error // of run, valid when lines is closed
}

// startDemo runs a demo of fake nodes in the test's process.
func startDemo(t *testing.T, dir string, settings ...config.Setting) *running {
	t.Helper()
	return startDemoOf(t, dir, roleVariable+"=kvstore "+fakeVariable+"=3", settings...)
}

// startDemoOf runs a demo of this binary with more variables.
func startDemoOf(t *testing.T, dir, variables string, settings ...config.Setting) *running {
	t.Helper()
	s := &shell{environ: append(os.Environ(), strings.Fields(variables)...)}
	d, err := newDemo(s, 3, 0, dir, settings)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, demo: d, lines: make(chan string, 100), signals: make(chan os.Signal, 2)}
	out, in := io.Pipe()
	d.out = in
	go func() {
		r.err = d.run(r.signals)
		d.remove()
		in.Close()
	}()
	go func() {
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			r.lines <- scanner.Text()
		}
		close(r.lines)
	}()
	return r
}

// await returns the next line that matches pattern.
func (r *running) await(pattern string) string {
	r.t.Helper()
	timeout := time.After(20 * time.Second)
	var seen []string
	for {
		select {
		case line, ok := <-r.lines:
			if !ok {
				r.t.Fatalf("the demo ended (%v) before a line matched %q:\n%s", r.err, pattern, strings.Join(seen, "\n"))
			}
			if regexp.MustCompile(pattern).MatchString(line) {
				return line
			}
			seen = append(seen, line)
		case <-timeout:
			r.t.Fatalf("no line matched %q:\n%s", pattern, strings.Join(seen, "\n"))
		}
	}
}

// finish waits for the demo's end and returns what it printed meanwhile.
func (r *running) finish() string {
	var rest strings.Builder
	for line := range r.lines {
		rest.WriteString(line + "\n")
	}
	return rest.String()
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestDemoRunsUntilSignal(t *testing.T) {
	r := startDemo(t, "")
	r.await("3 nodes serve")
	r.await("Ctrl-C")
	if _, err := os.Stat(filepath.Join(r.demo.dir, "n3", "log")); err != nil {
		t.Error(err)
	}
	r.signals <- os.Interrupt
	rest := r.finish()
	if r.err != nil || strings.Contains(rest, "killed") {
		t.Errorf("ended with %v: %s", r.err, rest)
	}
	for _, c := range r.demo.children {
		if c.running() || alive(c.pid()) {
			t.Errorf("%s is still alive", c.node.name)
		}
	}
	if _, err := os.Stat(r.demo.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary directory is still there: %v", err)
	}
}

// A node killed is reported with the line that restarts it; restarted by that
// line it is reported back, and it stops with the rest.
func TestDemoReportsDeathAndReturn(t *testing.T) {
	r := startDemo(t, t.TempDir())
	r.await("Ctrl-C")
	victim := r.demo.children[2]
	if err := syscall.Kill(victim.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	line := r.await(`n3 \(pid \d+\) died: signal: killed; start it again: `)
	_, command, _ := strings.Cut(line, "again: ")
	byHand := exec.Command("sh", "-c", "exec "+command)
	byHand.Env = r.demo.environ
	if err := byHand.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- byHand.Wait() }()
	r.await(`n3 is back \(pid ` + strconv.Itoa(byHand.Process.Pid) + `\)`)
	r.signals <- syscall.SIGTERM
	r.finish()
	if err := <-ended; err != nil {
		t.Errorf("the node started by hand ended with %v", err)
	}
}

func TestDemoKillsWhatDoesNotStop(t *testing.T) {
	r := startDemo(t, "", config.Setting{Key: "node.rack", Value: "deaf"})
	r.await("Ctrl-C")
	r.signals <- os.Interrupt
	r.await("stopping")
	later := time.AfterFunc(2*signalPause, func() { r.signals <- os.Interrupt }) // in a hurry
	defer later.Stop()
	if rest := r.finish(); strings.Count(rest, "had to be killed") != 3 {
		t.Errorf("it printed %s", rest)
	}
}

func TestDemoSaysWhyANodeDoesNotStart(t *testing.T) {
	r := startDemo(t, "", config.Setting{Key: "node.rack", Value: "broken"})
	r.finish()
	if got, want := r.err, "n1 did not start (exit status 1): the disk is made of cheese"; got == nil || !strings.HasSuffix(got.Error(), "the disk is made of cheese") {
		t.Errorf("got %v, want %s", got, want)
	}
}

// The nodes of a demo that is killed die with it.
func TestNodesDoNotOutliveTheDemo(t *testing.T) {
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "demo", "--port=0", "--dir="+t.TempDir())
	cmd.Env = append(os.Environ(), roleVariable+"=kvstore", fakeVariable+"=3")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for scanner := bufio.NewScanner(out); scanner.Scan() && !strings.HasPrefix(scanner.Text(), "Ctrl-C"); {
		if fields := strings.Fields(scanner.Text()); len(fields) == 5 && fields[0][0] == 'n' {
			pid, err := strconv.Atoi(fields[3])
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if len(pids) != 3 {
		t.Fatalf("the demo printed %d process ids", len(pids))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, pid := range pids {
		for deadline := time.Now().Add(10 * time.Second); alive(pid) && !zombie(pid); {
			if time.Now().After(deadline) {
				t.Fatalf("process %d outlives the demo", pid)
			}
			time.Sleep(5 * time.Millisecond) // nobody but its parent can await a process
		}
	}
}

// zombie reports whether pid has ended and waits for whoever inherited it.
func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(text), ") Z ")
}

func TestDemoFilesReadBack(t *testing.T) {
	dir := t.TempDir()
	s := &shell{environ: []string{"KVSTORE_SERVER_LISTEN=127.0.0.1:1", "KVSTORE_REPLICATION_W=all"}}
	d, err := newDemo(s, 3, 0, dir, []config.Setting{{Key: "replication.r", Value: "one", Origin: "--replication.r"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range d.nodes {
		settings, err := config.ReadFile(n.file())
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(settings)
		if err != nil {
			t.Fatal(err)
		}
		if c.Node.Name != "n"+strconv.Itoa(i+1) || c.Server.Listen != local(n.port) || c.Replication.W != "all" || c.Replication.R != "one" || c.Storage.Dir != filepath.Join(dir, c.Node.Name, "data") {
			t.Errorf("%s holds %s", n.file(), config.File(c))
		}
		if joins := len(c.Cluster.Join) == 1 && c.Cluster.Join[0] == d.nodes[0].config.Cluster.Gossip; joins != (i > 0) {
			t.Errorf("%s joins %v", c.Node.Name, c.Cluster.Join)
		}
	}
}

func TestDemoPorts(t *testing.T) {
	ports, err := demoPorts(2, 7001)
	if err != nil || ports[1] != [4]int{7002, 17002, 18002, 19002} {
		t.Errorf("got %v, %v", ports, err)
	}
	for _, tc := range []struct {
		count, port int
		want        string
	}{
		{0, 7001, "--nodes = 0: out of range; allowed: 1 to 16"},
		{17, 7001, "--nodes = 17: out of range; allowed: 1 to 16"},
		{3, 60000, "--port = 60000: out of range, the other ports are 10000 to 12000 above it; allowed: 1 to 53533, or 0 for free ports"},
		{3, -1, "--port = -1: out of range, the other ports are 10000 to 12000 above it; allowed: 1 to 53533, or 0 for free ports"},
	} {
		if _, err := demoPorts(tc.count, tc.port); err == nil || err.Error() != tc.want {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

// A directory keeps the ports and the number of its nodes.
func TestDemoDirectoryKeepsItsLayout(t *testing.T) {
	dir := t.TempDir()
	s := &shell{}
	first, err := newDemo(s, 2, 0, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	port := first.nodes[0].port
	for _, asked := range []int{0, port} {
		again, err := newDemo(s, 2, asked, dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range again.nodes {
			if config.File(n.config) != config.File(first.nodes[i].config) {
				t.Errorf("asked for %d, %s is\n%s\nwas\n%s", asked, n.name, config.File(n.config), config.File(first.nodes[i].config))
			}
		}
	}
	want := fmt.Sprintf("--nodes = 3: %s has a demo of 2 nodes; give --nodes=2, or another directory with --dir", dir)
	if _, err := newDemo(s, 3, 0, dir, nil); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	want = fmt.Sprintf("--port = %d: %s has a demo on port %d; give --port=%d, or another directory with --dir", port+1, dir, port, port)
	if _, err := newDemo(s, 2, port+1, dir, nil); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A port in use is found before anything is started, and named.
func TestDemoPortInUse(t *testing.T) {
	ports, err := freePorts(demoHost, 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", local(ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	settings := []config.Setting{{Key: "server.listen", Value: local(ports[0])}}
	c, err := config.Load(settings)
	if err != nil {
		t.Fatal(err)
	}
	want := `server.listen = "` + local(ports[0]) + `": the port is in use by another process; stop it, or choose another with --server.listen=HOST:PORT`
	if err := checkListeners(c); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
