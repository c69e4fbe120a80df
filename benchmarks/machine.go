package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// describeMachine prints what figures depend on. dir is where the data will be.
func describeMachine(ctx context.Context, w io.Writer, dir string) error {
	redis, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return fmt.Errorf("ask redis-server for its version: %w", err)
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return fmt.Errorf("read the processor's name: %w", err)
	}
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return fmt.Errorf("read the size of the memory: %w", err)
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return fmt.Errorf("read the kernel's version: %w", err)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return fmt.Errorf("read the load average: %w", err)
	}
	kib, _ := kilobytes(memory, "MemTotal")
	fmt.Fprintf(w, "%s, %d cores, %.1f GiB, Linux %s, %s\n", field(cpu, "model name"), runtime.NumCPU(),
		float64(kib)/(1<<20), strings.TrimSpace(string(kernel)), fileSystem(dir))
	fmt.Fprintf(w, "%s, Redis %s, kvstore %s; load average at the start %s\n", runtime.Version(), redisVersion(string(redis)),
		revision(ctx), firstWord(string(load)))
	return nil
}

// field gives the value of the first line "name : value" of a file of /proc.
func field(text []byte, name string) string {
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// redisVersion finds 7.0.15 in "Redis server v=7.0.15 sha=00000000:0 malloc=...".
func redisVersion(line string) string {
	_, rest, _ := strings.Cut(line, "v=")
	return firstWord(rest)
}

func firstWord(s string) string {
	if words := strings.Fields(s); len(words) > 0 {
		return words[0]
	}
	return "?"
}

// revision is the commit that is measured, marked when the tree differs from it.
func revision(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "of unknown revision" // a source archive has no history
	}
	return strings.TrimSpace(string(out))
}

// fileSystem names what dir is on, since a file system in memory makes fsync free.
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
