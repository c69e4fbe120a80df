//go:build unix

package storage

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// BenchmarkLoad is a node under sustained writes: two million random keys with values that do not compress, written
// and then overwritten, sixteen to a commit, until the background work is done. One round is one benchmark operation;
// beside it stand the processor time of a write and of the tail behind it, the latencies of a commit with its writes, and
// how many bytes of tables were written for a byte of keys and values.
func BenchmarkLoad(b *testing.B) {
	const keys, passes, turn = 2_000_000, 2, 16
	for b.Loop() {
		db, err := Open(b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 2))
		turns := make([]time.Duration, 0, keys*passes/turn)
		cpu, began := processorTime(b), time.Now()
		var k, value []byte
		stored := 0
		for i := range keys * passes {
			n := uint64(r.IntN(keys))
			k = key.AppendUser(k[:0], n*0x9e3779b97f4a7c15>>2, 0, binary.BigEndian.AppendUint64([]byte("key:"), n))
			value = value[:0]
			for range 8 {
				value = binary.LittleEndian.AppendUint64(value, r.Uint64())
			}
			stored += len(k) + len(value)
			at := time.Now()
			if _, err := db.Set(k, value); err != nil {
				b.Fatal(err)
			}
			if i%turn == turn-1 {
				if err := db.Commit(); err != nil {
					b.Fatal(err)
				}
				turns = append(turns, time.Since(at))
			}
		}
		took := time.Since(began)
		if err := db.Flush(); err != nil {
			b.Fatal(err)
		}
		for db.compactor.waitForOthers() {
		}
		m := db.Metrics()
		b.ReportMetric(float64(processorTime(b)-cpu)/(keys*passes), "cpu-ns/write")
		b.ReportMetric(keys*passes/took.Seconds(), "writes/s")
		b.ReportMetric(float64(m.FlushBytes+m.CompactionWritten)/float64(stored), "amplification")
		slices.Sort(turns)
		b.ReportMetric(float64(turns[len(turns)*99/100].Microseconds()), "p99-µs")
		b.ReportMetric(float64(turns[len(turns)-1].Microseconds()), "longest-µs")
		b.ReportMetric(float64(m.Compactions), "compactions")
		b.ReportMetric(float64(m.StallTime.Microseconds()), "stalled-µs")
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

var replayed = flag.Int64("replay", 512, "how many MiB of log BenchmarkReplay replays")

// BenchmarkReplay opens a store with 512 MiB of log, or as much as -replay says. Beside the time stands what the processors
// spent, which other work on the machine does not change.
func BenchmarkReplay(b *testing.B) {
	for _, value := range []int{100, 1000} {
		b.Run(fmt.Sprintf("value=%d", value), func(b *testing.B) {
			total := *replayed << 20
			o := Options{MemtableSize: 64 << 20}
			var spent time.Duration
			n := 0
			for ; b.Loop(); n++ {
				b.StopTimer()
				dir := filepath.Join(b.TempDir(), "db")
				operations := writeLogs(b, vfs.OS{}, dir, o, total, value)
				before := processorTime(b)
				b.StartTimer()
				db, err := Open(dir, o)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				spent += processorTime(b) - before
				if got := uint64(db.Metrics().Visible); got != operations {
					b.Fatalf("%d operations of %d", got, operations)
				}
				if err := errors.Join(db.Close(), os.RemoveAll(dir)); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.SetBytes(total)
			b.ReportMetric(spent.Seconds()/float64(n), "cpu-s/op")
		})
	}
}

// processorTime is what the process has used so far, in user and in kernel mode.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
