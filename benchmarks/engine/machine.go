package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"kvstore/benchmarks/engine/internal/engines"
)

// describeMachine prints what the figures depend on; what cannot be found out is said to be unknown. dir is where the data
// will be.
func describeMachine(ctx context.Context, w io.Writer, dir string) {
	fmt.Fprintf(w, "%s, %d cores, %.1f GiB, Linux %s, %s\n%s, kvstore %s, %s; load average at the start %s\n",
		cpuModel(), runtime.NumCPU(), float64(procValue("/proc/meminfo", "MemTotal: %d kB"))/(1<<20), firstWord("/proc/sys/kernel/osrelease"),
		fileSystem(dir), runtime.Version(), revision(ctx), strings.Join(rivals(), ", "), firstWord("/proc/loadavg"))
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // nothing is unknown, below
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "processor unknown"
}

func firstWord(file string) string {
	text, _ := os.ReadFile(file)
	if words := strings.Fields(string(text)); len(words) > 0 {
		return words[0]
	}
	return "unknown"
}

// revision is the commit that is measured, marked when the tree differs from it.
func revision(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "of unknown revision" // a source archive has no history
	}
	return strings.TrimSpace(string(out))
}

// fileSystem names what dir is on, since a file system in memory makes flushes free.
func fileSystem(dir string) string {
	const tmpfs = 0x01021994 // TMPFS_MAGIC of statfs(2)
	var s syscall.Statfs_t
	switch err := syscall.Statfs(dir, &s); {
	case err != nil:
		return "data on an unknown file system"
	case s.Type == tmpfs:
		return "data in memory (tmpfs): choose a disk with -dir"
	}
	return "data on disk"
}

// rivals lists the other engines with the versions this program was built with.
func rivals() (found []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, name := range engines.Names()[1:] {
		for _, m := range info.Deps {
			if strings.Contains(m.Path+"/", "/"+name+"/") {
				found = append(found, name+" "+m.Version)
			}
		}
	}
	return found
}
