package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kvstore/tests/process"
)

// unhidden is what a client cannot hide when a node dies under it: its connections to the node, and what was under
// way there. redis-py gives up a command after 16 attempts of any kind (TTL exhausted).
var unhidden = regexp.MustCompile(`(?i)refused|reset|closed|broken pipe|\bEOF\b|ended|timed? ?out|CLUSTERDOWN|` +
	`Disconnects client|Failed to refresh slots cache|TTL exhausted`)

// settled reports whether nothing moves at the node that is asked, and size members hold partitions.
func settled(n *process.Node, size int) (bool, string) {
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + n.Admin + "/v1/cluster")
	if err != nil {
		return false, err.Error()
	}
	defer response.Body.Close()
	var c struct {
		Waiting, Copying, Switched int
		Members                    []struct{ Partitions int }
	}
	if err := json.NewDecoder(response.Body).Decode(&c); err != nil {
		return false, err.Error()
	}
	holding := 0
	for _, m := range c.Members {
		if m.Partitions > 0 {
			holding++
		}
	}
	return holding == size && c.Waiting+c.Copying+c.Switched == 0, fmt.Sprintf("%+v", c)
}

// moveWithin bounds the move to the node that joins, on a machine that has other work.
const moveWithin = 2 * time.Minute

// awaitMove waits until size members hold partitions and nothing moves.
func awaitMove(t *testing.T, n *process.Node, size int) {
	t.Helper()
	last := ""
	for began := time.Now(); time.Since(began) < moveWithin; time.Sleep(50 * time.Millisecond) {
		done := false
		if done, last = settled(n, size); done {
			return
		}
	}
	t.Fatal("the move does not end: " + last)
}

// toolsPause lies between two runs of a tool, which would take the processor from the others.
const toolsPause = 200 * time.Millisecond

// tools are redis-cli -c and redis-benchmark --cluster, run again and again.
type tools struct {
	t    *testing.T
	stop context.Context // ends with the last run
	end  func()          // waits for it
	mu   sync.Mutex
	// running ends the runs that have begun; guarded by mu.
	running context.Context
	cut     context.CancelFunc // guarded by mu
	rounds  map[string]int     // guarded by mu: how often each came to its end
	// problems is what they said when they did not, and how often; guarded by mu.
	problems map[string]int
}

func startTools(t *testing.T, node *process.Node) *tools {
	t.Helper()
	x := &tools{t: t, rounds: map[string]int{}, problems: map[string]int{}}
	var stop context.CancelFunc
	x.stop, stop = context.WithCancel(t.Context())
	x.running, x.cut = context.WithCancel(x.stop)
	host, port, err := net.SplitHostPort(node.Client)
	if err != nil {
		t.Fatal(err)
	}
	at := []string{"-h", host, "-p", port}
	var wg sync.WaitGroup
	x.end = sync.OnceFunc(func() { stop(); wg.Wait(); x.cutRunning() })
	t.Cleanup(x.end)
	for name, do := range map[string]func(run func(in, want string, args ...string) error, round int) error{
		"redis-cli": func(run func(in, want string, args ...string) error, round int) error {
			key := fmt.Sprintf("cli:%d", round)
			return run(fmt.Sprintf("SET %s value\nGET %s\n", key, key), "OK\n", append(at, "-c")...)
		},
		"redis-benchmark": func(run func(in, want string, args ...string) error, _ int) error {
			return run("", `"GET",`, append(at, "--cluster", "-n", "500", "-c", "8", "-r", "1000", "-t", "set,get", "--csv")...)
		},
	} {
		path := program(t, name, "Debian's redis-tools")
		wg.Go(func() {
			for round := 0; x.stop.Err() == nil; round++ {
				err := do(func(in, want string, args ...string) error { return x.run(path, in, want, args...) }, round)
				x.count(name, err)
				select {
				case <-x.stop.Done():
				case <-time.After(toolsPause):
				}
			}
		})
	}
	return x
}

// run runs a program, whose error is what it says.
func (x *tools) run(path, in, want string, args ...string) error {
	x.mu.Lock()
	ctx := x.running
	x.mu.Unlock()
	out, err := output(ctx, in, path, args...)
	if err == nil && !strings.Contains(out, want) {
		err = fmt.Errorf("no %q: %s", want, strings.TrimSpace(out))
	}
	return err
}

// output runs a program, whose error is what it says.
func output(ctx context.Context, stdin, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return string(out), err
}

func (x *tools) count(name string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.rounds[name]++
	} else if x.stop.Err() == nil {
		x.problems[name+": "+err.Error()]++
	}
}

// cutRunning ends the runs that have begun: redis-benchmark waits for ever for answers of a node that has died.
func (x *tools) cutRunning() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut()
	x.running, x.cut = context.WithCancel(x.stop)
}

// seen returns how often each came to its end, and what was wrong otherwise.
func (x *tools) seen() (rounds, problems map[string]int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.rounds), maps.Clone(x.problems)
}

// more waits until each has come to its end once more.
func (x *tools) more(when string) {
	x.t.Helper()
	before, _ := x.seen()
	process.Await(x.t, func() bool {
		now, _ := x.seen()
		return now["redis-cli"] > before["redis-cli"] && now["redis-benchmark"] > before["redis-benchmark"]
	}, func() string {
		rounds, problems := x.seen()
		return fmt.Sprintf("%s redis-cli and redis-benchmark do not come to their ends: %v, %v", when, rounds, problems)
	})
}

// All cluster clients at once write and read while a fourth node joins, which none of them notices, and while one
// dies, of which each notices what it cannot hide and goes on. Nothing acknowledged is lost.
func TestClientsWhileTheRingChanges(t *testing.T) {
	binary := goredis(t)
	for _, routing := range []string{"proxy", "redirect"} {
		t.Run(routing, func(t *testing.T) { ringChanges(t, binary, routing) })
	}
}

func ringChanges(t *testing.T, binary, routing string) {
	settings := append(patient(), "server.routing="+routing, "cluster.partitions=64")
	nodes := process.Cluster(t, 3, settings...)
	at := addresses(nodes)
	var loads []*load
	for _, c := range []struct {
		name    string
		command []string
	}{
		{"go-redis", []string{binary, "moving", "go"}},
		{"ioredis", append(node(t, "ioredis"), "moving", "io")},
		{"node-redis", append(node(t, "node-redis"), "moving", "no")},
		{"redis-py", append(python(t, "moving"), "py")},
	} {
		loads = append(loads, startLoad(t, c.name, append(c.command, at...)...))
	}
	x := startTools(t, nodes[0])
	each := func(do func(l *load)) {
		for _, l := range loads {
			do(l)
		}
	}
	each(func(l *load) { l.until(100) })

	joined := process.New(t, "n4", append(settings, "cluster.join="+nodes[0].Gossip)...).Start()
	awaitMove(t, joined, 4)
	x.more("with four nodes")
	each(func(l *load) {
		l.until(100)
		if l.failed > 0 {
			t.Errorf("%s noticed the join: %s: %v", l.name, l.last, l.end())
		}
	})
	_, problems := x.seen()
	for text := range problems {
		// redis-benchmark knows the nodes that were there when it began, and ends when it is sent to another one.
		if !strings.Contains(text, "could not find node with ID") {
			t.Errorf("a tool noticed the join: %s", text)
		}
	}

	nodes[1].Kill()
	each(func(l *load) { l.until(100) })
	each(func(l *load) { l.settle(100, "with a node dead") })
	c := process.Dial(t, nodes[0].Client)
	process.Await(t, func() bool { return strings.Contains(c.Do("CLUSTER", "NODES"), "master,fail ") },
		func() string { return "the dead node is not known to be dead" })
	x.cutRunning()
	x.more("with a node dead")
	x.end()
	rounds, problems := x.seen()
	t.Logf("tools: %v, problems %v", rounds, slices.Sorted(maps.Keys(problems)))
	for _, l := range loads {
		problems := l.end()
		t.Logf("%s: %d acknowledged, %d failed: %v", l.name, l.done, l.failed, problems)
		for text := range problems {
			if !unhidden.MatchString(text) {
				t.Errorf("%s: %q is nothing that the death of a node explains", l.name, text)
			}
		}
	}
	got := cli(t, nodes[0], "", "--cluster", "check", nodes[0].Client)
	for _, want := range []string{"[OK] All nodes agree about slots configuration.", "[OK] All 16384 slots covered.", "in 3 masters."} {
		if !strings.Contains(got, want) {
			t.Errorf("with a node dead there is no %q in:\n%s", want, got)
		}
	}
}
