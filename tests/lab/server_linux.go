package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Patience is how long anything may take that is expected to happen: far more than
// is needed on a machine that is busy with other tests.
const Patience = time.Minute

// Pause lies between two looks at something that gives no event.
const Pause = 20 * time.Millisecond

// Server is a process on a host; on that of the zero Host it is one of this machine's own
// network, for which nobody has to Enter. It can be started again after it ended.
type Server struct {
	Name    string
	Host    *Host
	Dir     string // where it runs; what it writes to its output is beside it
	Command []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed by the goroutine that waits for cmd
	err    error         // how cmd ended; set before exited is closed
}

// Log is the file with everything the server has written, in all its lives.
func (s *Server) Log() string { return s.Dir + ".log" }

// Start starts the process and does not wait until it serves.
func (s *Server) Start() error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "KVSTORE_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.Host.in(func() { err = cmd.Start() })
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	exited := make(chan struct{})
	s.mu.Lock()
	s.cmd, s.exited, s.err = cmd, exited, nil
	s.mu.Unlock()
	go func() {
		err := cmd.Wait()
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		close(exited)
	}()
	return nil
}

// Running reports whether the process is there; a stopped one is.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Pid is the process id.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Signal sends a signal to the process.
func (s *Server) Signal(what syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return fmt.Errorf("signal %s: it was never started", s.Name)
	}
	if err := s.cmd.Process.Signal(what); err != nil {
		return fmt.Errorf("signal %v to %s: %w", what, s.Name, err)
	}
	return nil
}

// Kill ends the process as kill -9 does and waits for its end. It does nothing to
// one that has ended.
func (s *Server) Kill() {
	if s.Running() {
		_ = s.Signal(syscall.SIGKILL) // an error means that it has just ended
		<-s.exited
	}
}

// Stop ends the process in order.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
		if s.err != nil {
			return fmt.Errorf("stop %s: %w", s.Name, s.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %s: it does not end: %w", s.Name, ctx.Err())
	}
}

// Await waits until a condition holds, the process has ended, or ctx ends.
func (s *Server) Await(ctx context.Context, what string, holds func() bool) error {
	for {
		if holds() {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("%s has ended (%w) before %s; see %s", s.Name, errors.Join(s.err, errEnded), what, s.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s: %s: %w", s.Name, what, ctx.Err())
		case <-time.After(Pause):
		}
	}
}

var errEnded = errors.New("the process has ended")
