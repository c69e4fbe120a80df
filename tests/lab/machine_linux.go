package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// DescribeMachine prints what figures of a benchmark depend on.
func DescribeMachine(ctx context.Context, w io.Writer) {
	model := "processor unknown"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	say := func(unknown, name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return unknown
		}
		return strings.TrimSpace(string(out))
	}
	version := say("Redis of unknown version", "redis-server", "--version")
	if i := strings.Index(version, " sha="); i > 0 {
		version = version[:i]
	}
	load, _ := os.ReadFile("/proc/loadavg") // unknown is empty
	fmt.Fprintf(w, "%s, %d cores, Linux %s\n%s, kvstore %s, %s; load %s\n", model, runtime.NumCPU(), say("unknown", "uname", "-r"),
		version, say("of unknown revision", "git", "describe", "--always", "--dirty"), runtime.Version(), strings.TrimSpace(string(load)))
}
