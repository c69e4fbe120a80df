package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"kvstore/storage/key"
	"kvstore/storage/vfs"
	"kvstore/storage/wal"
)

// writeLogs makes dir a store whose logs hold about total bytes of operations with values of that size, as if they had
// never been flushed, and returns how many.
func writeLogs(tb testing.TB, fs vfs.FS, dir string, o Options, total int64, value int) (operations uint64) {
	tb.Helper()
	db, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	number := db.tree.sum.Log
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 3))
	v := make([]byte, value)
	for i := range v {
		if i%2 == 0 {
			v[i] = byte(r.Uint32())
		}
	}
	var name [8]byte
	for ; total > 0; number++ {
		w, err := wal.Create(fs, db.name(logName(number)), number, 0)
		if err != nil {
			tb.Fatal(err)
		}
		for w.Size() < o.MemtableSize && total > 0 {
			record := wal.Begin(nil)
			first := operations + 1
			for range 16 {
				operations++
				k := key.AppendUser(nil, r.Uint64()>>2, 0, binary.BigEndian.AppendUint64(name[:0], operations))
				record = wal.AppendSumOp(record, wal.OpSet, k, v, operations)
			}
			total -= int64(len(record))
			if err := w.Write(record, wal.FormatOps, first, 0); err != nil {
				tb.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	return operations
}

// slowLogs is a file system whose logs take a tenth of a second for each read of a record's part, in the time of a bubble.
func slowLogs(fs vfs.FS) vfs.FS {
	return &vfs.Faulty{FS: fs, Inject: func(op vfs.Op, name string) error {
		if op == vfs.OpRead && strings.HasSuffix(name, ".log") {
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	}}
}

// TestReplayTellsHowFarItIs replays logs that are read slowly.
func TestReplayTellsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		const total = 12 << 20
		o := Options{FS: disk, MemtableSize: 2 << 20}
		operations := writeLogs(t, disk, "/db", o, total, 1000)
		var log bytes.Buffer
		o.FS, o.Logger = slowLogs(disk), zerolog.New(&log)
		began := time.Now()
		db, err := Open("/db", o)
		must(t, err)
		took := time.Since(began)
		m := db.Metrics()
		must(t, db.Close())
		if uint64(m.Visible) != operations || m.Replayed < total || m.ReplayTime == 0 || m.ReplayTime > took {
			t.Errorf("%d operations of %d, %d bytes, %v of %v", m.Visible, operations, m.Replayed, m.ReplayTime, took)
		}
		told, last := 0, int64(0)
		for d := json.NewDecoder(&log); d.More(); {
			var line struct {
				Message   string
				Bytes, Of int64
			}
			must(t, d.Decode(&line))
			if line.Message == "replaying the log" {
				if told++; line.Bytes <= last || line.Bytes > line.Of || line.Of != m.Replayed {
					t.Errorf("%d bytes of %d were told after %d", line.Bytes, line.Of, last)
				}
				last = line.Bytes
			}
		}
		if most := int(took / time.Second); told < 2 || told > most {
			t.Errorf("progress was told %d times in %v", told, took)
		}
	})
}

// TestReplayOfUnreadableLog opens a store whose log the disk does not read: an error, not less data, and no goroutine is left.
func TestReplayOfUnreadableLog(t *testing.T) {
	broken := errors.New("the disk is broken")
	for _, at := range []int32{1, 2, 3, 10} {
		synctest.Test(t, func(t *testing.T) {
			disk := vfs.NewMem()
			o := Options{FS: disk, MemtableSize: 1 << 20}
			operations := writeLogs(t, disk, "/db", o, 4<<20, 1000)
			var reads atomic.Int32
			o.FS = &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, name string) error {
				if op == vfs.OpRead && strings.HasSuffix(name, ".log") && reads.Add(1) == at {
					return broken
				}
				return nil
			}}
			if _, err := Open("/db", o); !errors.Is(err, broken) {
				t.Fatalf("read %d fails: %v", at, err)
			}
			db, err := Open("/db", o)
			must(t, err)
			if got := uint64(db.Metrics().Visible); got != operations {
				t.Errorf("%d operations of %d", got, operations)
			}
			must(t, db.Close())
		})
	}
}
