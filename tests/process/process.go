// Package process runs kvstore as its users do, for tests: the program is built
// once, nodes are processes with their own directories and free ports of the
// loopback interface, and a small client speaks to them.
//
// A test package calls Main from its TestMain. Node is one node: it is started,
// killed, stopped and started again; whatever is running when its test ends is
// killed by its process id. Single and Cluster start what most tests need. Conn is
// a client that shows what the server sends, down to single bytes.
//
// A Node and a Conn belong to one goroutine at a time, except Kill.
package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that is expected to happen. It is far
// more than needed on a machine that is busy with other tests.
const patience = 30 * time.Second

// pause lies between two looks at something that gives no event.
const pause = 10 * time.Millisecond

// web gives up soon: whoever listens on an address of a node may not be a node.
var web = http.Client{Timeout: time.Second}

// binaryVariable names the program for the tests of one package.
const binaryVariable = "KVTEST_BINARY"

// Main builds the program, runs the tests and exits.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "kvstore-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary := filepath.Join(dir, "kvstore")
	code := 1
	if out, err := exec.Command("go", "build", "-o", binary, "kvstore").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build kvstore: %v\n%s", err, out)
	} else if err := os.Setenv(binaryVariable, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// Binary is the path of the program that Main built.
func Binary() string { return os.Getenv(binaryVariable) }

// Node is one node. Its addresses stay the same when it is started again.
type Node struct {
	Name                       string
	Dir                        string // holds data/ and log
	Client, Admin, Gossip, RPC string // addresses
	Settings                   []string

	t     testing.TB
	under []string // a command that runs the program, whose arguments follow

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed by the goroutine that waits for cmd
	err    error         // how cmd ended; set before exited is closed
}

// New prepares a node without starting it. Settings are section.key=value.
func New(t testing.TB, name string, settings ...string) *Node {
	t.Helper()
	ports := freePorts(t, 4)
	n := &Node{Name: name, Dir: t.TempDir(), Settings: settings, t: t}
	for i, p := range []*string{&n.Client, &n.Admin, &n.Gossip, &n.RPC} {
		*p = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i]))
	}
	t.Cleanup(func() {
		n.Kill()
		if t.Failed() {
			t.Logf("what %s wrote:\n%s", n.Name, n.Output())
		}
	})
	return n
}

// Data is the data directory.
func (n *Node) Data() string { return filepath.Join(n.Dir, "data") }

// Under lets a command run the program: it is called with the program and its
// arguments after its own, and must become the program, as env and nice do.
func (n *Node) Under(command ...string) *Node {
	n.under = command
	return n
}

// launch starts the process.
func (n *Node) launch() error {
	args := []string{"server", "--node.name=" + n.Name, "--server.listen=" + n.Client, "--admin.listen=" + n.Admin,
		"--cluster.gossip=" + n.Gossip, "--cluster.rpc=" + n.RPC, "--storage.dir=" + n.Data()}
	for _, s := range n.Settings {
		args = append(args, "--"+s)
	}
	args = slices.Concat(n.under, []string{Binary()}, args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = n.Dir
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "KVSTORE_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.SysProcAttr = dieWithParent()
	log, err := os.OpenFile(filepath.Join(n.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	n.mu.Lock()
	n.cmd, n.exited, n.err = cmd, exited, nil
	n.mu.Unlock()
	go func() {
		err := cmd.Wait()
		n.mu.Lock()
		n.err = err
		n.mu.Unlock()
		close(exited)
	}()
	return nil
}

// Launch starts the process of a node that is not expected to serve.
func (n *Node) Launch() {
	n.t.Helper()
	if err := n.launch(); err != nil {
		n.t.Fatalf("launch %s: %v", n.Name, err)
	}
}

// Start starts the node and fails the test if it does not serve.
func (n *Node) Start() *Node {
	n.t.Helper()
	if err := n.TryStart(); err != nil {
		n.t.Fatalf("start %s: %v", n.Name, err)
	}
	return n
}

// TryStart starts the node and waits until it serves or has ended, which is an
// error with the last line it wrote.
func (n *Node) TryStart() error {
	if err := n.launch(); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case <-n.exited:
			lines := strings.Split(strings.TrimSpace(n.Output()), "\n")
			return fmt.Errorf("ended: %v: %s", n.err, lines[len(lines)-1])
		case <-time.After(pause):
		}
		if response, err := web.Get("http://" + n.Admin + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
	n.Kill()
	return errors.New("does not serve")
}

// Pid is the process id.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// Signal sends a signal to the process.
func (n *Node) Signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatalf("signal %v to %s: %v", s, n.Name, err)
	}
}

// Kill ends the process as kill -9 does and waits for its end. It does nothing to
// one that is not running.
func (n *Node) Kill() {
	n.mu.Lock()
	cmd, exited := n.cmd, n.exited
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // an error means that it has ended
	<-exited
}

// Ended waits for the end of the process, for some time, and returns how it ended.
func (n *Node) Ended() (ended bool, err error) {
	select {
	case <-n.exited:
		return true, n.err
	case <-time.After(patience):
		return false, nil
	}
}

// Wait waits until the process has ended by itself and returns how.
func (n *Node) Wait() error {
	n.t.Helper()
	select {
	case <-n.exited:
		return n.err
	case <-time.After(patience):
		n.t.Fatalf("%s does not end", n.Name)
		return nil
	}
}

// Stop ends the node in order.
func (n *Node) Stop() {
	n.t.Helper()
	n.Signal(syscall.SIGTERM)
	if err := n.Wait(); err != nil {
		n.t.Fatalf("stop %s: %v", n.Name, err)
	}
}

// Output is everything the node has written, in all its lives.
func (n *Node) Output() string {
	b, err := os.ReadFile(filepath.Join(n.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Memory is the resident memory of the process in bytes.
func (n *Node) Memory() int64 {
	n.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.Pid()))
	if err != nil {
		n.t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		n.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// Single starts a node that is a cluster of its own.
func Single(t testing.TB, settings ...string) *Node {
	t.Helper()
	return New(t, "single", settings...).Start()
}

// Cluster starts size nodes and waits until each sees all of them.
func Cluster(t testing.TB, size int, settings ...string) []*Node {
	t.Helper()
	var nodes []*Node
	for i := range size {
		n := New(t, "n"+strconv.Itoa(i+1), settings...)
		if i > 0 {
			n.Settings = append(n.Settings[:len(settings):len(settings)], "cluster.join="+nodes[0].Gossip)
		}
		nodes = append(nodes, n.Start())
	}
	AwaitAll(t, nodes)
	return nodes
}

// AwaitAll waits until each of the nodes sees all of them alive, connected and in
// the same ring.
func AwaitAll(t testing.TB, nodes []*Node) {
	t.Helper()
	last := ""
	Await(t, func() bool {
		epochs := map[int]bool{}
		for _, n := range nodes {
			list, err := n.nodes()
			if err != nil {
				last = err.Error()
				return false
			}
			epochs[list.Epoch] = true
			whole := 0
			for _, other := range list.Nodes {
				if other.State == "alive" && other.Member && (other.Connected || other.ID == list.Self) {
					whole++
				}
			}
			if last = fmt.Sprintf("%s sees %+v", n.Name, list); whole != len(nodes) {
				return false
			}
		}
		return len(epochs) == 1
	}, func() string { return "the cluster is not whole: " + last })
}

// nodeList is what a node says of all nodes, as far as it is needed here.
type nodeList struct {
	Self  string
	Epoch int
	Nodes []struct {
		ID, Name, State   string
		Member, Connected bool
	}
}

func (n *Node) nodes() (nodeList, error) {
	response, err := web.Get("http://" + n.Admin + "/v1/nodes")
	if err != nil {
		return nodeList{}, err
	}
	defer response.Body.Close()
	var list nodeList
	return list, json.NewDecoder(response.Body).Decode(&list)
}

// Await waits until a condition outside of this process holds.
func Await(t testing.TB, holds func() bool, why func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		if holds() {
			return
		}
	}
	t.Fatal(why())
}

// freePorts finds ports that are free for TCP and UDP, below those that the kernel
// gives to outgoing connections. They stay the process's by its id: test programs
// that run at the same time look in different places.
func freePorts(t testing.TB, count int) []int {
	t.Helper()
	const first, last = 10000, 32000
	var ports []int
	portMu.Lock()
	defer portMu.Unlock()
	for range last - first {
		if nextPort == 0 {
			nextPort = first + os.Getpid()*397%(last-first)
		} else if nextPort++; nextPort == last {
			nextPort = first
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(nextPort))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		p, err := net.ListenPacket("udp", address)
		l.Close()
		if err != nil {
			continue
		}
		p.Close()
		if ports = append(ports, nextPort); len(ports) == count {
			return ports
		}
	}
	t.Fatal("there are no free ports")
	return nil
}

var (
	portMu   sync.Mutex
	nextPort int // guarded by portMu; 0 before the first
)
