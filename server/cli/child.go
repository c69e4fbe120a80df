package cli

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// child is a process of the demo. It is started, waited for by one goroutine of
// its own, and asked to stop or killed by the demo.
type child struct {
	node *demoNode
	cmd  *exec.Cmd
	// ended is closed by the waiting goroutine, after it has set state.
	ended chan struct{}
	state *os.ProcessState
}

// startChild starts executable with args for node, its output going to the
// node's log. The calling goroutine must be locked to its thread and outlive the
// child: the kernel counts the end of the thread as the death of the parent.
func startChild(node *demoNode, executable string, args, environ []string) (*child, error) {
	log, err := os.OpenFile(node.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", node.name, err)
	}
	defer log.Close() // the child has its own descriptor
	c := &child{node: node, ended: make(chan struct{})}
	c.cmd = exec.Command(executable, args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.Env = environ
	c.cmd.Dir = node.dir
	c.cmd.SysProcAttr = childAttributes()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", node.name, err)
	}
	go func() { // ends with the process, which stop waits for
		_ = c.cmd.Wait() // the state says all
		c.state = c.cmd.ProcessState
		close(c.ended)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// running reports whether the process has not ended.
func (c *child) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// stop asks the process to end, kills it when the deadline passes or hurry is
// closed, and returns when it has ended. It reports whether it had to be killed.
func (c *child) stop(deadline <-chan time.Time, hurry <-chan struct{}) (killed bool) {
	if !c.running() {
		return false
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself meanwhile
	select {
	case <-c.ended:
		return false
	case <-deadline:
	case <-hurry:
	}
	_ = c.cmd.Process.Kill()
	<-c.ended
	return true
}

// lastWords is the last line of the node's log, where a node that cannot start
// says why.
func (n *demoNode) lastWords() string {
	text, err := os.ReadFile(n.log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.TrimPrefix(lines[len(lines)-1], "kvstore: ")
}
