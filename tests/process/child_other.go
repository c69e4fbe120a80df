//go:build !linux

package process

import "syscall"

// dieWithParent has no counterpart here: a test program that is killed leaves its
// nodes running.
func dieWithParent() *syscall.SysProcAttr { return nil }
