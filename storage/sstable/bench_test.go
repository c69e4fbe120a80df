package sstable

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/storage/cache"
	"kvstore/storage/entry"
	"kvstore/storage/vfs"
)

// benchmarkTable has n records like those of a cache of sessions: a token, a name, 64 bytes.
func benchmarkTable(b *testing.B, n int, o WriterOptions) (*Reader, [][]byte) {
	r := rand.New(rand.NewPCG(1, 1))
	records := make([]record, n)
	keys := make([][]byte, n)
	for i := range records {
		key := fmt.Appendf(binary.BigEndian.AppendUint64(nil, r.Uint64()>>2), "\x00key:%012d\x00", i)
		keys[i] = key
		records[i] = record{string(key), uint64(i), entry.KindSet, fmt.Sprintf("%064d", r.Uint64())}
	}
	slices.SortFunc(records, compareRecords)
	fs, info := build(b, records, nil, o)
	c := cache.New(256 << 20)
	b.Cleanup(c.Close)
	table := open(b, fs, info, c)
	b.Cleanup(func() { table.Close() })
	b.ReportMetric(float64(info.Size)/float64(n), "file-B/record")
	return table, keys
}

func BenchmarkGetWarm(b *testing.B) {
	table, keys := benchmarkTable(b, 200_000, WriterOptions{})
	dst := make([]byte, 0, 100)
	for _, key := range keys {
		table.Get(dst, key, entry.MaxSeq)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n == len(keys) {
			n = 0
		}
		if _, _, _, found, err := table.Get(dst, keys[n], entry.MaxSeq); err != nil || !found {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkGetAbsent(b *testing.B) {
	table, keys := benchmarkTable(b, 200_000, WriterOptions{})
	r := rand.New(rand.NewPCG(2, 2))
	for _, key := range keys {
		binary.BigEndian.PutUint64(key, r.Uint64()>>2)
		table.Get(nil, key, entry.MaxSeq)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n == len(keys) {
			n = 0
		}
		table.TryGet(nil, keys[n], entry.MaxSeq)
	}
}

func BenchmarkGetCold(b *testing.B) {
	table, keys := benchmarkTable(b, 200_000, WriterOptions{})
	dst := make([]byte, 0, 100)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n += 7919; n >= len(keys) {
			n -= len(keys)
		}
		table.options.FileNum++ // so that nothing is found in the cache
		table.Get(dst, keys[n], entry.MaxSeq)
	}
}

func BenchmarkNext(b *testing.B) {
	table, _ := benchmarkTable(b, 200_000, WriterOptions{})
	it := table.NewScanIter()
	defer it.Close()
	ok := it.First()
	b.ReportAllocs()
	for b.Loop() {
		if !ok {
			it.First()
		}
		ok = it.Next()
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, compression := range []string{"none", "s2", "zstd"} {
		b.Run(compression, func(b *testing.B) {
			fs := vfs.NewMem()
			f, err := fs.Create("table")
			if err != nil {
				b.Fatal(err)
			}
			w := NewWriter(f, WriterOptions{Compression: compression})
			key := make([]byte, 24)
			value := fmt.Appendf(nil, "%064d", 1<<60)
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				i++
				binary.BigEndian.PutUint64(key, i<<36)
				binary.BigEndian.PutUint64(value, i*0x9e3779b97f4a7c15)
				if err := w.Add(key, i, entry.KindSet, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
