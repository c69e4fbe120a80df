package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
)

func infoMemory(_ context.Context, _ *Ctx, w *infoWriter) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) int64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return int64(samples[i].Value.Uint64())
	}
	usage := resources()
	w.size("used_memory", value(0)-value(1))
	w.size("used_memory_rss", residentMemory())
	w.size("used_memory_peak", peakMemory(usage))
	w.number("used_memory_heap", value(2))
	w.size("maxmemory", 0)
	w.line("maxmemory_policy", "noeviction")
	w.line("mem_allocator", "go")
	w.number("goroutines", int64(runtime.NumGoroutine()))
}

func infoCPU(_ context.Context, _ *Ctx, w *infoWriter) {
	usage := resources()
	w.line("used_cpu_sys", seconds(usage.Stime))
	w.line("used_cpu_user", seconds(usage.Utime))
	w.line("used_cpu_sys_children", "0.000000")
	w.line("used_cpu_user_children", "0.000000")
}

// resources is what the kernel has counted for this process; zero where it does
// not say.
func resources() (usage syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage
}

func seconds(t syscall.Timeval) string {
	return fmt.Sprintf("%.6f", time.Duration(t.Nano()).Seconds())
}

// peakMemory is in bytes; Linux counts in KiB, others in bytes.
func peakMemory(usage syscall.Rusage) int64 {
	if runtime.GOOS == "linux" {
		return int64(usage.Maxrss) << 10
	}
	return int64(usage.Maxrss)
}

// residentMemory reads the second field of /proc/self/statm, which is in pages;
// where there is none, the peak has to do.
func residentMemory() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if fields := bytes.Fields(text); err == nil && len(fields) > 1 {
		if pages, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
			return pages * int64(os.Getpagesize())
		}
	}
	return peakMemory(resources())
}

// humanSize writes bytes as Redis does: 512B, 1.50K, 2.00M.
func humanSize(bytes int64) string {
	if bytes < 1024 {
		return strconv.FormatInt(bytes, 10) + "B"
	}
	f, unit := float64(bytes)/1024, 0
	for f >= 1024 && unit < 3 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.2f%c", f, "KMGT"[unit])
}
