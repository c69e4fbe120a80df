package cluster

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// bootID names the operating system's current boot.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// fileID names a directory's place on its disk.
func fileID(dir string) string {
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	return ""
}
