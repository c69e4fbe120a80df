package sstable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/storage/cache"
	"kvstore/storage/entry"
	"kvstore/storage/vfs"
)

type record struct {
	key   string
	seq   uint64
	kind  entry.Kind
	value string
}

func compareRecords(a, b record) int {
	if c := bytes.Compare([]byte(a.key), []byte(b.key)); c != 0 {
		return c
	}
	switch {
	case a.seq > b.seq:
		return -1
	case a.seq < b.seq:
		return 1
	}
	return 0
}

// keyShapes are the families of keys that a table meets.
var keyShapes = map[string]func(r *rand.Rand) []byte{
	"uniform tokens": func(r *rand.Rand) []byte {
		return append(binary.BigEndian.AppendUint64(nil, r.Uint64N(5000)*0x0000_9876_5432_1fed%(1<<62)), "\x00name\x00"...)
	},
	"system": func(r *rand.Rand) []byte {
		return fmt.Appendf([]byte{0x40}, "a long prefix that all share/%d", r.IntN(3000))
	},
	"few keys": func(r *rand.Rand) []byte { return fmt.Appendf(nil, "%d", r.IntN(9)) },
	"short": func(r *rand.Rand) []byte {
		key := make([]byte, r.IntN(4))
		for i := range key {
			key[i] = byte(r.IntN(8) * 36)
		}
		return key
	},
}

// firstSeq is the lowest sequence number of random records.
const firstSeq = 100

func randomRecords(r *rand.Rand, n int, shape func(*rand.Rand) []byte) []record {
	records := make([]record, n)
	for i := range records {
		records[i] = record{string(shape(r)), uint64(i) + firstSeq, entry.Kind(r.IntN(2)), ""}
		if records[i].kind == entry.KindSet {
			records[i].value = string(bytes.Repeat([]byte{byte(i)}, r.IntN(60)))
		}
		if r.IntN(500) == 0 {
			records[i].value = string(bytes.Repeat([]byte{byte(i)}, 70_000))
		}
	}
	slices.SortFunc(records, compareRecords)
	return records
}

// build writes a table into a file in memory and returns its bytes.
func build(t testing.TB, records []record, ranges []RangeDel, o WriterOptions) (vfs.FS, Info) {
	t.Helper()
	fs := vfs.NewMem()
	f, err := fs.Create("table")
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(f, o)
	for _, e := range records {
		if err := w.Add([]byte(e.key), e.seq, e.kind, []byte(e.value)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range ranges {
		w.AddRange(d.Lo, d.Hi, d.Seq)
	}
	info, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, info
}

func open(t testing.TB, fs vfs.FS, info Info, c *cache.Cache) *Reader {
	t.Helper()
	f, err := fs.Open("table")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(f, info.Size, ReaderOptions{Cache: c, FileNum: 7, Name: "table"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTableAgainstModel(t *testing.T) {
	for name, shape := range keyShapes {
		for _, o := range []WriterOptions{{}, {BlockSize: 300, Compression: "none"}, {BlockSize: 1000, Compression: "zstd", BloomBitsPerKey: 4}, {BlockSize: 1, BloomBitsPerKey: -1}} {
			t.Run(fmt.Sprintf("%s/%+v", name, o), func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, 2))
				model := randomRecords(r, 4000, shape)
				fs, info := build(t, model, nil, o)
				c := cache.New(1 << 20)
				defer c.Close()
				table := open(t, fs, info, c)
				defer table.Close()
				if info.Entries != 4000 || info.MinSeq != 100 || info.MaxSeq != 4099 || string(info.Smallest) != model[0].key || string(info.Largest) != model[3999].key {
					t.Errorf("info %+v", info)
				}
				if err := table.Verify(); err != nil {
					t.Fatal(err)
				}
				checkGets(t, r, table, model, shape)
				checkIter(t, r, table.NewIter(), model, shape)
				checkIter(t, r, table.NewScanIter(), model, shape)
			})
		}
	}
}

func checkGets(t *testing.T, r *rand.Rand, table *Reader, model []record, shape func(*rand.Rand) []byte) {
	ready := 0
	for range 3000 {
		key, seq := shape(r), 100+r.Uint64N(4100)
		i, _ := slices.BinarySearchFunc(model, record{key: string(key), seq: seq}, compareRecords)
		want := i < len(model) && model[i].key == string(key)
		check := func(value []byte, kind entry.Kind, entrySeq uint64, found bool, err error) {
			t.Helper()
			if err != nil || found != want {
				t.Fatalf("Get(%q, %d) found %v, want %v, %v", key, seq, found, want, err)
			}
			if got := (record{string(key), entrySeq, kind, string(value[1:])}); found && got != model[i] {
				t.Fatalf("Get(%q, %d) = %v, want %v", key, seq, got, model[i])
			}
		}
		if value, kind, entrySeq, found, ok, err := table.TryGet([]byte{'x'}, key, seq); ok || err != nil {
			check(value, kind, entrySeq, found, err)
			ready++
		}
		value, kind, entrySeq, found, err := table.Get([]byte{'x'}, key, seq)
		check(value, kind, entrySeq, found, err)
	}
	if ready < 300 {
		t.Errorf("only %d of 3000 reads found their blocks in the cache", ready)
	}
}

// checkIter walks an iterator at random beside an index into the model.
func checkIter(t *testing.T, r *rand.Rand, it entry.Iterator, model []record, shape func(*rand.Rand) []byte) {
	t.Helper()
	at, ok := 0, it.First()
	for step := range 10000 {
		if want := at >= 0 && at < len(model); ok != want {
			t.Fatalf("step %d: at %d of %d, positioned %v", step, at, len(model), ok)
		}
		if ok {
			if got := (record{string(it.Key()), it.Seq(), it.Kind(), string(it.Value())}); got != model[at] {
				t.Fatalf("step %d: at %d: %v, want %v", step, at, got, model[at])
			}
		}
		action := r.IntN(20)
		key := shape(r)
		first, _ := slices.BinarySearchFunc(model, record{key: string(key), seq: entry.MaxSeq}, compareRecords)
		switch {
		case action == 0:
			at, ok = first-1, it.SeekLT(key)
		case action == 1 || !ok:
			at, ok = first, it.SeekGE(key)
		case action == 2 && r.IntN(50) == 0:
			at, ok = 0, it.First()
		case action == 3 && r.IntN(50) == 0:
			at, ok = len(model)-1, it.Last()
		case step/100%2 == 0:
			at, ok = at+1, it.Next()
		default:
			at, ok = at-1, it.Prev()
		}
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
}
