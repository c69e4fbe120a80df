package cli

import "syscall"

// childAttributes puts a child into a process group of its own, so that Ctrl-C
// reaches the demo alone, and has the kernel kill it when the demo dies. A node
// loses nothing by being killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
