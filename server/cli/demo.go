package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"kvstore/config"
	"kvstore/server/admin"
)

const (
	// demoReadyTimeout is when a cluster that has not formed is given up.
	demoReadyTimeout = 30 * time.Second
	// demoStopTimeout is for all nodes together; what lives then is killed.
	demoStopTimeout = 15 * time.Second
	// readyInterval is the time between questions to starting nodes, and
	// returnInterval between looks whether dead ones were started by hand.
	readyInterval  = 50 * time.Millisecond
	returnInterval = 500 * time.Millisecond
)

// demo is a cluster of child processes.
type demo struct {
	out        io.Writer
	executable string
	environ    []string
	dir        string
	temporary  bool // dir is removed at the end
	nodes      []*demoNode
	children   []*child
}

func runDemo(s *shell, args []string) error {
	v := newInvocation("demo")
	count, port, dir := v.Int("nodes", 3, ""), v.Int("port", 7001, ""), v.String("dir", "", "")
	if err := v.parse(s, args); err != nil {
		return err
	}
	for _, setting := range v.settings {
		switch setting.Key {
		case "node.name", "server.listen", "cluster.gossip", "cluster.rpc", "cluster.join", "admin.listen", "storage.dir":
			return usageError("demo: " + setting.Origin + " is different on every node; the demo sets it itself")
		}
	}
	d, err := newDemo(s, *count, *port, *dir, v.settings)
	if err != nil {
		return err
	}
	defer d.remove()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	return d.run(signals)
}

// newDemo makes the directories and files of a demo.
func newDemo(s *shell, count, port int, dir string, settings []config.Setting) (*demo, error) {
	d := &demo{out: s.stdout, dir: dir}
	fromEnv, err := config.FromEnv(s.environ)
	if err != nil {
		return nil, err
	}
	if d.executable, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find the program itself: %w", err)
	}
	for _, variable := range s.environ { // those that are settings go into the files, where they do not override the ports
		if !strings.HasPrefix(variable, "KVSTORE_") {
			d.environ = append(d.environ, variable)
		}
	}
	if dir == "" {
		if d.dir, err = os.MkdirTemp("", "kvstore-demo-"); err != nil {
			return nil, fmt.Errorf("make a temporary directory: %w", err)
		}
		d.temporary = true
	}
	if d.dir, err = filepath.Abs(d.dir); err == nil {
		d.nodes, err = layOut(d.dir, count, port, slices.Concat(fromEnv, settings))
	}
	for _, n := range d.nodes {
		err = errors.Join(err, n.write())
	}
	if err != nil {
		d.remove()
		return nil, err
	}
	return d, nil
}

func (d *demo) remove() {
	if d.temporary {
		_ = os.RemoveAll(d.dir) // what is left is in the system's temporary directory
	}
}

// run starts the nodes, watches them until a signal and stops them. It stays on
// one thread, which startChild asks for.
func (d *demo) run(signals <-chan os.Signal) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer d.stop(signals)
	started := time.Now()
	for _, n := range d.nodes {
		c, err := startChild(n, d.executable, []string{"server", "--config=" + n.file()}, d.environ)
		if err != nil {
			return err
		}
		d.children = append(d.children, c)
	}
	interrupted, err := d.awaitReady(signals)
	if err != nil || interrupted {
		return err
	}
	d.welcome(time.Since(started))
	d.watch(signals)
	fmt.Fprintln(d.out, "stopping")
	return nil
}

// awaitReady waits until every node serves and has all of them in its ring.
func (d *demo) awaitReady(signals <-chan os.Signal) (interrupted bool, err error) {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	deadline := time.After(demoReadyTimeout)
	for {
		select {
		case <-signals:
			return true, nil
		case <-deadline:
			return false, fmt.Errorf("the cluster has not formed in %v; the logs are %s (use --dir to keep them)", demoReadyTimeout, filepath.Join(d.dir, "n*", "log"))
		case <-tick.C:
		}
		ready := true
		for _, c := range d.children {
			if !c.running() {
				return false, fmt.Errorf("%s did not start (%s): %s", c.node.name, c.state, c.node.lastWords())
			}
			ready = ready && d.formed(c.node)
		}
		if ready {
			return false, nil
		}
	}
}

// formed reports whether n serves in a ring of all nodes of the demo.
func (d *demo) formed(n *demoNode) bool {
	list, err := n.ask()
	if err != nil || !list.Ready {
		return false
	}
	members := 0
	for _, m := range list.Nodes {
		if m.Member && m.State == "alive" {
			members++
		}
	}
	return members == len(d.nodes)
}

func (n *demoNode) ask() (admin.NodeList, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return admin.NewClient(n.config.Admin.Listen).Nodes(ctx)
}

// welcome prints what there is and what can be done with it.
func (d *demo) welcome(took time.Duration) {
	kept := "kept"
	if d.temporary {
		kept = "removed at the end; --dir keeps it"
	}
	fmt.Fprintf(d.out, "%d nodes serve after %.1fs. Data in %s (%s).\n\n", len(d.nodes), took.Seconds(), d.dir, kept)
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tREDIS\tADMIN\tPID\tDIRECTORY")
	for _, c := range d.children {
		fmt.Fprintf(table, "%s\t%s\thttp://%s\t%d\t%s\n", c.node.name, c.node.config.Server.Listen, c.node.config.Admin.Listen, c.pid(), c.node.dir)
	}
	_ = table.Flush() // a terminal that has gone needs no table
	first, last := d.nodes[0], d.children[len(d.children)-1]
	fmt.Fprintf(d.out, "\nIn another terminal:\n\n"+
		"  redis-cli -p %d set greeting hello\n"+
		"  redis-cli -p %d get greeting\n"+
		"  redis-cli -p %d quorum key greeting\n"+
		"  %s status --admin.listen=%s\n"+
		"  kill -9 %d\n"+
		"  %s\n\nCtrl-C stops all of it.\n",
		first.port, last.node.port, first.port, shellWord(d.executable), first.config.Admin.Listen, last.pid(), d.restart(last.node))
}

// restart is the command line that starts n again.
func (d *demo) restart(n *demoNode) string {
	return shellWord(d.executable) + " server --config=" + shellWord(n.file())
}

// shellWord quotes s for a shell if need be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:,", r)
	}
	if strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// watch reports nodes that die and those started again by hand, until a signal.
func (d *demo) watch(signals <-chan os.Signal) {
	died := make(chan *child, len(d.children))
	over := make(chan struct{})
	defer close(over)
	for _, c := range d.children {
		go func() { // ends with the child or with watch
			select {
			case <-c.ended:
				died <- c
			case <-over:
			}
		}()
	}
	dead := map[*demoNode]bool{} // whether it was seen dead since it last served
	tick := time.NewTicker(returnInterval)
	defer tick.Stop()
	for {
		select {
		case <-signals:
			return
		case c := <-died:
			dead[c.node] = true
			fmt.Fprintf(d.out, "%s (pid %d) died: %s; start it again: %s\n", c.node.name, c.pid(), c.state, d.restart(c.node))
		case <-tick.C:
			for n, gone := range dead {
				list, err := n.ask()
				switch {
				case gone && err == nil && list.Ready:
					fmt.Fprintf(d.out, "%s is back (pid %d)\n", n.name, list.Process)
					dead[n] = false
				case !gone && errors.Is(err, syscall.ECONNREFUSED):
					fmt.Fprintf(d.out, "%s is gone again; start it again: %s\n", n.name, d.restart(n))
					dead[n] = true
				}
			}
		}
	}
}

// stop stops the nodes, the last first, the children and those started by hand
// in a dead one's place alike. A second signal, or the time limit, kills.
func (d *demo) stop(signals <-chan os.Signal) {
	done := make(chan struct{})
	defer close(done)
	hurry := impatient(signals, done)
	expired := make(chan time.Time)
	limit := time.AfterFunc(demoStopTimeout, func() { close(expired) })
	defer limit.Stop()
	for i := len(d.children) - 1; i >= 0; i-- {
		c := d.children[i]
		if !c.running() {
			c.node.stopStranger(expired)
			continue
		}
		if c.stop(expired, hurry) {
			fmt.Fprintln(d.out, c.node.name+" had to be killed")
		}
	}
}

// stopStranger stops a process that answers in the place of a child of ours:
// the node, started again by hand. It waits until the node no longer answers,
// which is the last it does, or expired.
func (n *demoNode) stopStranger(expired <-chan time.Time) {
	list, err := n.ask()
	if err != nil || list.Process <= 1 || list.Process == os.Getpid() || !n.isSelf(list) {
		return
	}
	_ = syscall.Kill(list.Process, syscall.SIGTERM) // gone already is as good
	for err == nil {
		select {
		case <-expired:
			return
		case <-time.After(readyInterval):
		}
		_, err = n.ask()
	}
}

// isSelf reports whether the node that answered is n and nothing else that
// happens to have its port.
func (n *demoNode) isSelf(list admin.NodeList) bool {
	for _, m := range list.Nodes {
		if m.ID == list.Self {
			return m.Name == n.name && strings.HasSuffix(m.Address, ":"+strconv.Itoa(n.port))
		}
	}
	return false
}
