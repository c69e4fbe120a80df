package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// stopTimeout is for a server to end by itself; then it is killed.
	stopTimeout = 10 * time.Second
	// clockTick is the unit of times in /proc/<pid>/stat: USER_HZ, which is 100
	// on every architecture that Go runs on.
	clockTick = 10 * time.Millisecond
)

// process is a server that runs until stop, or until its context ends.
type process struct {
	name string
	log  string // file of both output streams
	cmd  *exec.Cmd
	done chan struct{} // closed by the goroutine of startProcess when the process has ended
}

// startProcess runs a server in dir, where its output goes to the file log.
func startProcess(ctx context.Context, name, dir, executable string, args ...string) (*process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of %s: %w", name, err)
	}
	p := &process{name: name, log: filepath.Join(dir, "log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer log.Close() // the process has its own descriptor
	p.cmd = exec.CommandContext(ctx, executable, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = dir, log, log, environment()
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopTimeout
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how a server ends that was stopped does not matter; one that ends early is seen by running
	}()
	return p, nil
}

// environment is ours without what would configure a node.
func environment() (kept []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "KVSTORE_") {
			kept = append(kept, variable)
		}
	}
	return kept
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop ends the process and waits for it.
func (p *process) stop() { p.end(syscall.SIGTERM) }

// kill is stop as kill -9 does it.
func (p *process) kill() { p.end(syscall.SIGKILL) }

func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func stopAll(processes []*process) {
	for _, p := range processes {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // so that they end at the same time
	}
	for _, p := range processes {
		p.stop()
	}
}

// await asks ready every 20 ms until it says yes, and gives up with the last
// words of the process when that has ended, or after timeout.
func (p *process) await(ctx context.Context, timeout time.Duration, ready func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(timeout)
	for !ready() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.name, p.lastWords())
		case <-deadline:
			return fmt.Errorf("%s is not ready after %v: %s", p.name, timeout, p.lastWords())
		case <-tick.C:
		}
	}
	return nil
}

func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(lines[len(lines)-1])
}

// cpuTime is the processor time that the processes have used, not counting
// that of their children: Redis rewrites its log in one.
func cpuTime(processes []*process) (total time.Duration, err error) {
	for _, p := range processes {
		text, err := os.ReadFile(p.proc("stat"))
		if err != nil {
			return 0, fmt.Errorf("read the processor time of %s: %w (%s)", p.name, err, p.lastWords())
		}
		used, err := parseStat(text)
		if err != nil {
			return 0, fmt.Errorf("read the processor time of %s: %w", p.name, err)
		}
		total += used
	}
	return total, nil
}

func (p *process) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), file)
}

// hasChild reports whether one of the processes has a running child.
func hasChild(processes []*process) bool {
	for _, p := range processes {
		pid := strconv.Itoa(p.cmd.Process.Pid)
		children, err := os.ReadFile(p.proc(filepath.Join("task", pid, "children")))
		if err == nil && len(bytes.TrimSpace(children)) > 0 {
			return true
		}
	}
	return false
}

// parseStat gives utime + stime of /proc/<pid>/stat: fields 14 and 15, counted
// behind the name, which is in parentheses and may contain anything.
func parseStat(text []byte) (time.Duration, error) {
	const utime, stime = 14 - 3, 15 - 3
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return 0, errors.New("no name in parentheses")
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) <= stime {
		return 0, fmt.Errorf("%d fields behind the name", len(fields))
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("utime: %w", err)
	}
	system, err := strconv.ParseInt(fields[stime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stime: %w", err)
	}
	return time.Duration(user+system) * clockTick, nil
}

// resident gives the bytes of memory that the process has now (VmRSS) and had
// at most (VmHWM).
func (p *process) resident() (now, peak int64, err error) {
	text, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return 0, 0, fmt.Errorf("read the memory of %s: %w", p.name, err)
	}
	rss, ok1 := kilobytes(text, "VmRSS")
	hwm, ok2 := kilobytes(text, "VmHWM")
	if !ok1 || !ok2 {
		return 0, 0, fmt.Errorf("read the memory of %s: no VmRSS and VmHWM", p.name)
	}
	return rss << 10, hwm << 10, nil
}

// kilobytes reads a line like "VmRSS:    5012 kB" of a file of /proc.
func kilobytes(text []byte, name string) (int64, bool) {
	number, unit, _ := strings.Cut(field(text, name), " ")
	n, err := strconv.ParseInt(number, 10, 64)
	return n, err == nil && unit == "kB"
}

// freePorts finds n ports of the loopback interface that nobody listens on,
// over TCP and UDP.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for attempt := 0; len(ports) < n; attempt++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // all stay taken until all are found, so that none is found twice
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", address(port))
		if err != nil {
			if attempt > 10*n {
				return nil, fmt.Errorf("find a free port: %w", err)
			}
			continue
		}
		defer u.Close()
		ports = append(ports, port)
	}
	return ports, nil
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
