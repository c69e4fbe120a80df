package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/storage/corrupt"
	"kvstore/storage/vfs"
)

// write makes a log of the payloads, whose records number operations from 1, each record one.
func write(t testing.TB, disk vfs.FS, payloads [][]byte, durable uint64) []byte {
	t.Helper()
	w, err := Create(disk, "log", 7, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range payloads {
		if err := w.Write(append(Begin(nil), p...), FormatOps, uint64(i+1), min(durable, uint64(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := vfs.ReadFile(disk, "log")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// read returns the whole records of a log, and the tail at which they end, nil for a clean end.
func read(t testing.TB, data []byte) (payloads [][]byte, tail *Tail, err error) {
	t.Helper()
	disk := vfs.NewMem()
	if err := vfs.WriteFile(disk, "log", data); err != nil {
		t.Fatal(err)
	}
	r, err := Open(disk, "log")
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	for {
		record, err := r.Next()
		if err == io.EOF {
			return payloads, nil, nil
		}
		if corrupt.Is(err) {
			found, failed := r.Tail()
			if failed != nil {
				t.Fatal(failed)
			}
			return payloads, &found, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, bytes.Clone(record.Payload))
	}
}

func payloads(n, size int) [][]byte {
	var all [][]byte
	for i := range n {
		all = append(all, bytes.Repeat([]byte{byte(i + 1)}, size))
	}
	return all
}

func TestLayout(t *testing.T) {
	record := append(Begin(nil), AppendOp(nil, OpSet, []byte("a"), []byte("b"))...)
	seal(record, tagOf(7), FormatOps, 7, 5)
	if got := fmt.Sprintf("%x", record[8:]); got != "0500000001000000070000000000000005000000000000000101016162" {
		t.Errorf("the record of the package comment is %s", got)
	}
}

func TestReadBack(t *testing.T) {
	for _, want := range [][][]byte{nil, payloads(1, 0), payloads(100, 33), payloads(3, 3<<20)} {
		got, tail, err := read(t, write(t, vfs.NewMem(), want, 0))
		if err != nil || tail != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%d records of %d: %v, %v", len(got), len(want), tail, err)
		}
	}
}

// TestEveryCut cuts a log at every length: what is left are the whole records, and a torn tail.
func TestEveryCut(t *testing.T) {
	data := write(t, vfs.NewMem(), payloads(5, 20), 0)
	for n := range len(data) {
		got, tail, err := read(t, data[:n])
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		whole := max(0, n-HeaderSize) / (RecordHeaderSize + 20)
		if len(got) != whole || tail != nil && !tail.Torn(uint64(whole), 0, false) {
			t.Fatalf("cut at %d: %d records, %+v", n, len(got), tail)
		}
	}
}

// TestEveryBit flips every bit of every record but the last: with whole records behind it that is damage, never a torn
// tail.
func TestEveryBit(t *testing.T) {
	data := write(t, vfs.NewMem(), payloads(4, 20), 0)
	for at := HeaderSize; at < len(data)-RecordHeaderSize-20; at++ {
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[at] ^= 1 << bit
			got, tail, err := read(t, bad)
			record := (at - HeaderSize) / (RecordHeaderSize + 20)
			if err != nil || len(got) != record || tail == nil {
				t.Fatalf("bit %d of byte %d: %d records, %v, %v", bit, at, len(got), tail, err)
			}
			if tail.Torn(uint64(record), 0, false) {
				t.Fatalf("bit %d of byte %d: %+v counts as torn", bit, at, tail)
			}
		}
	}
}

func TestHoles(t *testing.T) {
	data := write(t, vfs.NewMem(), payloads(40, 1000), 0)
	for _, c := range []struct {
		name     string
		from, to int
		durable  uint64
		torn     bool
	}{
		{"a page", 2 * page, 3 * page, 0, true},
		{"two pages", 2 * page, 4 * page, 0, true},
		{"a page partly synced", 2*page + 700, 3 * page, 0, true},
		{"the last page", len(data) / page * page, len(data), 0, true},
		{"zeros within a page", 2*page + 700, 2*page + 1500, 0, false},
		{"a page that was durable", 2 * page, 3 * page, 40, false},
	} {
		bad := write(t, vfs.NewMem(), payloads(40, 1000), c.durable)
		clear(bad[c.from:c.to])
		got, tail, err := read(t, bad)
		if err != nil || tail == nil {
			t.Fatalf("%s: %v, %v", c.name, tail, err)
		}
		if torn := tail.Torn(uint64(len(got)), tail.Durable, false); torn != c.torn {
			t.Errorf("%s: torn %v with %d records and %+v", c.name, torn, len(got), tail)
		}
	}
}

func TestTornRule(t *testing.T) {
	for _, c := range []struct {
		name          string
		tail          Tail
		last, durable uint64
		followed      bool
		want          bool
	}{
		{"last record of the last log", Tail{}, 5, 0, false, true},
		{"cut short, later logs go on", Tail{Short: true}, 5, 0, true, true},
		{"wrong bytes, later logs go on", Tail{}, 5, 0, true, false},
		{"a later log claims it", Tail{Short: true}, 5, 6, true, false},
		{"a later record claims it", Tail{Records: 1, Hole: true, Durable: 6}, 5, 6, false, false},
		{"a claim up to the damage", Tail{Records: 1, Hole: true, Durable: 5}, 5, 5, false, true},
		{"records behind, no hole", Tail{Records: 1}, 5, 0, false, false},
	} {
		if got := c.tail.Torn(c.last, c.durable, c.followed); got != c.want {
			t.Errorf("%s: torn %v", c.name, got)
		}
	}
}

func TestWriteAgainAfterFullDisk(t *testing.T) {
	disk := vfs.NewMem()
	w, err := Create(disk, "log", 7, 0)
	if err != nil {
		t.Fatal(err)
	}
	record := append(Begin(nil), bytes.Repeat([]byte("x"), 500)...)
	disk.SetCapacity(300)
	if err := w.Write(record, FormatOps, 1, 0); !vfs.IsFull(err) {
		t.Fatalf("write to a full disk: %v", err)
	}
	disk.SetCapacity(-1)
	if err := errors.Join(w.Write(record, FormatOps, 1, 0), w.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := vfs.ReadFile(disk, "log")
	if err != nil {
		t.Fatal(err)
	}
	if got, tail, err := read(t, data); len(got) != 1 || tail != nil || err != nil {
		t.Errorf("%d records, %v, %v", len(got), tail, err)
	}
}

// TestExtend reads a log whose end runs ahead, as a killed process leaves it, whole, torn and damaged, and as it is
// after Close.
func TestExtend(t *testing.T) {
	disk := vfs.NewMem()
	w, err := Create(disk, "log", 7, 3000)
	if err != nil {
		t.Fatal(err)
	}
	const size = RecordHeaderSize + 500
	for i, p := range payloads(10, 500) {
		if err := errors.Join(w.Extend(size), w.Write(append(Begin(nil), p...), FormatOps, uint64(i+1), 0)); err != nil {
			t.Fatal(err)
		}
		data, err := vfs.ReadFile(disk, "log")
		if err != nil {
			t.Fatal(err)
		}
		if want := max(3000, int(w.Size())); len(data) != want {
			t.Fatalf("behind record %d the file has %d bytes, want %d", i, len(data), want)
		}
		if got, tail, err := read(t, data); len(got) != i+1 || tail != nil || err != nil {
			t.Fatalf("%d records of %d, %+v, %v", len(got), i+1, tail, err)
		}
		torn := bytes.Clone(data)
		clear(torn[w.Size()-100:])
		if got, tail, err := read(t, torn); len(got) != i || tail == nil || !tail.Torn(uint64(i), 0, true) || err != nil {
			t.Fatalf("torn: %d records of %d, %+v, %v", len(got), i, tail, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := vfs.ReadFile(disk, "log"); err != nil || int64(len(data)) != w.Size() {
		t.Errorf("a closed log has %d bytes, want %d, %v", len(data), w.Size(), err)
	}
}

// TestExtendIsCutByClose closes a log whose end is ahead.
func TestExtendIsCutByClose(t *testing.T) {
	disk := vfs.NewMem()
	w, err := Create(disk, "log", 7, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	record := append(Begin(nil), 1, 2, 3)
	if err := errors.Join(w.Extend(len(record)), w.Write(record, FormatOps, 1, 0), w.Close()); err != nil {
		t.Fatal(err)
	}
	if data, err := vfs.ReadFile(disk, "log"); err != nil || len(data) != HeaderSize+len(record) {
		t.Errorf("a closed log has %d bytes, %v", len(data), err)
	}
}

func TestForeignFiles(t *testing.T) {
	data := write(t, vfs.NewMem(), payloads(2, 20), 0)
	for name, change := range map[string]func([]byte){
		"magic": func(d []byte) { d[0] = 'K' }, "version": func(d []byte) { d[7] = 9 }, "number": func(d []byte) { d[8]++ },
	} {
		bad := bytes.Clone(data)
		change(bad)
		if _, _, err := read(t, bad); !corrupt.Is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReader reads arbitrary bytes behind a good header: no panic, and what is read is what was written before the
// damage.
func FuzzReader(f *testing.F) {
	good := write(f, vfs.NewMem(), payloads(6, 50), 2)
	f.Add(uint16(0), []byte{})
	f.Add(uint16(100), []byte{1, 2, 3})
	f.Add(uint16(32+82), good[32+82:])
	f.Fuzz(func(t *testing.T, at uint16, patch []byte) {
		data := bytes.Clone(good)
		from := min(len(data), int(at))
		data = append(data[:from], patch...)
		got, tail, err := read(t, data)
		if err != nil && !corrupt.Is(err) {
			t.Fatal(err)
		}
		if whole := max(0, from-HeaderSize) / 82; from >= HeaderSize && len(got) < min(whole, 6) {
			t.Fatalf("%d records of %d, %v", len(got), whole, tail)
		}
		if last := uint64(len(got)); tail != nil && tail.Durable > last && tail.Torn(last, 0, false) {
			t.Fatalf("%+v claims more than the %d records before it and counts as torn", tail, last)
		}
	})
}

func encode(op Op) []byte {
	switch op.Kind {
	case OpSetSum:
		return AppendSumOp(nil, OpSet, op.Key, op.Value, op.Delta)
	case OpDeleteSum:
		return AppendSumOp(nil, OpDelete, op.Key, nil, op.Delta)
	}
	return AppendOp(nil, op.Kind, op.Key, op.Value)
}

// FuzzOps decodes arbitrary bytes as operations; what decodes encodes to something that decodes to the same.
func FuzzOps(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendOp(AppendOp(nil, OpSet, []byte("k"), []byte("v")), OpDelete, []byte("k"), nil))
	f.Add(AppendOp(nil, OpDeleteRange, []byte("a"), []byte("z")))
	f.Add(AppendSumOp(AppendSumOp(nil, OpSet, []byte("k"), []byte("v"), 7), OpDelete, []byte("k"), nil, 1<<63))
	f.Fuzz(func(t *testing.T, data []byte) {
		for {
			op, rest, ok := NextOp(data)
			if !ok {
				return
			}
			again, none, ok := NextOp(encode(op))
			if !ok || len(none) != 0 || again.Kind != op.Kind || !bytes.Equal(again.Key, op.Key) || !bytes.Equal(again.Value, op.Value) {
				t.Fatalf("%v became %v", op, again)
			}
			if len(rest) >= len(data) {
				t.Fatal("no progress")
			}
			data = rest
		}
	})
}

// TestPowerLoss writes and syncs at random, cuts the power, and expects all that was synced, and no complaint.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		disk := vfs.NewMem()
		w, err := Create(disk, "/log", 9, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		synced, written := 0, 0
		for range r.IntN(60) {
			payload := make([]byte, 1+r.IntN(2000))
			for i := range payload {
				payload[i] = byte(1 + r.IntN(255))
			}
			written++
			if seed%2 == 0 {
				if err := w.Extend(RecordHeaderSize + len(payload)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Write(append(Begin(nil), payload...), FormatOps, uint64(written), uint64(synced)); err != nil {
				t.Fatal(err)
			}
			if r.IntN(10) == 0 {
				if err := w.Sync(); err != nil {
					t.Fatal(err)
				}
				synced = written
			}
		}
		disk.Crash(r)
		data, err := vfs.ReadFile(disk, "/log")
		if err != nil {
			t.Fatal(err)
		}
		got, tail, err := read(t, data)
		if err != nil || len(got) < synced || len(got) > written {
			t.Fatalf("seed %d: %d records, %d synced of %d, %v", seed, len(got), synced, written, err)
		}
		if tail != nil && !tail.Torn(uint64(len(got)), tail.Durable, false) {
			t.Fatalf("seed %d: %+v behind %d records is refused", seed, tail, len(got))
		}
	}
}
