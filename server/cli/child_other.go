//go:build unix && !linux

package cli

import "syscall"

// childAttributes puts a child into a process group of its own, so that Ctrl-C
// reaches the demo alone. Where the kernel does not tell of a parent's death, a
// demo killed by SIGKILL leaves its nodes running.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
