package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// insideVariable is set in the environment of the program that Enter started.
const insideVariable = "KVSTORE_LAB"

// Enter makes sure that the program runs in namespaces of its own. Inside it
// returns true. Outside it runs the program again inside, with the same arguments,
// and returns its exit code. An error means that this machine does not permit
// namespaces, or lacks what they need: nothing has run then.
func Enter() (inside bool, code int, err error) {
	if os.Getenv(insideVariable) != "" {
		// Mounts made here must not be seen outside.
		return true, 0, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	}
	if err := possible(); err != nil {
		return false, 0, err
	}
	// The kernel kills the child with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := again()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(cmd.Env, insideVariable+"=1")
	// Ctrl-C reaches the child by itself, and its end is what counts.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return false, 0, fmt.Errorf("start %s in namespaces of its own: %w", cmd.Path, err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGINT {
					_ = cmd.Process.Signal(s) // it may have ended
				}
			case <-ended:
				return
			}
		}
	}()
	err = cmd.Wait()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return false, 128 + int(status.Signal()), nil
		}
		return false, failed.ExitCode(), nil
	}
	return false, 0, err
}

// again is this program in new namespaces.
func again() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// possible says what this machine lacks.
func possible() error {
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("ip is missing: install the package iproute2")
	}
	tun, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("no network devices can be made: %w", err)
	}
	tun.Close()
	probe := again()
	probe.Path, probe.Args = "/bin/true", []string{"true"}
	if err := probe.Run(); err != nil {
		return fmt.Errorf("no namespaces can be made, neither as root nor in a user namespace: %w", err)
	}
	return nil
}
