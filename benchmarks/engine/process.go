package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// usage is what the process has used so far.
type usage struct {
	cpu     time.Duration
	allocs  uint64
	written int64 // bytes of pages made dirty, mapped files too
}

func currentUsage() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{cpu: cpuTime(), allocs: m.Mallocs}
	u.written = procValue("/proc/self/io", "write_bytes: %d")
	return u
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// resetPeak makes peakMemory count from now.
func resetPeak() {
	// Where the kernel does not offer it the peak is that of the process' whole life.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// peakMemory is the most that was resident, in bytes; pages of mapped files are in it.
func peakMemory() int64 { return procValue("/proc/self/status", "VmHWM: %d kB") << 10 }

// procValue finds the first line of a file that has the format, and returns the number in it; 0 when there is none.
func procValue(name, format string) (value int64) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if n, _ := fmt.Sscanf(lines.Text(), format, &value); n == 1 {
			return value
		}
	}
	return 0
}

// stored is what the files below dir take on the disk: no holes, and nothing reserved beyond their ends.
func stored(dir string) int64 {
	var sum int64
	// A file that a compaction removes meanwhile is not counted.
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			size := info.Size()
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				size = min(size, s.Blocks*512)
			}
			sum += size
		}
		return nil
	})
	return sum
}

const (
	settleStep  = 50 * time.Millisecond
	settleLimit = 10 * time.Second
	// quietShare is how much of one processor an engine may use and still be called idle.
	quietShare = 0.1
	quietSteps = 3
)

// settle waits until the engine's background work is done, which is when the process is idle. It is the same for every
// engine, and asks none of them.
func settle() {
	quiet := 0
	for deadline := time.Now().Add(settleLimit); quiet < quietSteps && time.Now().Before(deadline); {
		before := cpuTime()
		time.Sleep(settleStep)
		if quiet++; cpuTime()-before > time.Duration(quietShare*float64(settleStep)) {
			quiet = 0
		}
	}
}
