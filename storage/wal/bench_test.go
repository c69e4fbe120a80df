package wal

import (
	"io"
	"path/filepath"
	"testing"

	"kvstore/storage/vfs"
)

// turn is the payload of a turn of an event loop: sixteen small operations.
func turn() []byte {
	record := Begin(nil)
	for range 16 {
		record = AppendOp(record, OpSet, []byte("0123456789abcdef0123456789"), make([]byte, 100))
	}
	return record
}

func BenchmarkWrite(b *testing.B) {
	const most = 64 << 20
	record := turn()
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	dir, number := b.TempDir(), uint64(1)
	create := func() *Writer {
		w, err := Create(vfs.OS{}, filepath.Join(dir, "log"), number, most)
		if err != nil {
			b.Fatal(err)
		}
		return w
	}
	w := create()
	for seq := uint64(1); b.Loop(); seq += 16 {
		if w.Size() > most {
			b.StopTimer()
			w.Close()
			number++
			w = create()
			b.StartTimer()
		}
		if err := w.Write(record, FormatOps, seq, 0); err != nil {
			b.Fatal(err)
		}
	}
	w.Close()
}

func BenchmarkAppendOp(b *testing.B) {
	key, value := make([]byte, 26), make([]byte, 100)
	var record []byte
	b.ReportAllocs()
	for b.Loop() {
		if len(record) > 1<<20 {
			record = record[:0]
		}
		record = AppendOp(record, OpSet, key, value)
	}
}

func BenchmarkNext(b *testing.B) {
	record := turn()
	name := filepath.Join(b.TempDir(), "log")
	w, err := Create(vfs.OS{}, name, 1, 0)
	if err != nil {
		b.Fatal(err)
	}
	for seq := range uint64(1000) {
		if err := w.Write(record, FormatOps, 16*seq+1, 0); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(record)))
	open := func() *Reader {
		r, err := Open(vfs.OS{}, name)
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	r := open()
	for b.Loop() {
		if _, err = r.Next(); err == io.EOF {
			r.Close()
			r = open()
		} else if err != nil {
			b.Fatal(err)
		}
	}
	r.Close()
}
