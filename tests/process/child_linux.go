package process

import "syscall"

// dieWithParent lets the kernel kill a node when the test program is gone, however
// it ended.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
