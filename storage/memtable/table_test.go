package memtable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"kvstore/storage/entry"
)

// record is one row of the model: a slice sorted as entry.Iterator orders records.
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

// keyShapes are the families of keys a table meets, and those that hurt a trie.
var keyShapes = map[string]func(r *rand.Rand) []byte{
	"uniform tokens": func(r *rand.Rand) []byte {
		return append(binary.BigEndian.AppendUint64(nil, r.Uint64()>>2), "\x00name\x00"...)
	},
	"one slot": func(r *rand.Rand) []byte {
		return append(binary.BigEndian.AppendUint64(nil, 0x1234<<48|r.Uint64()>>16), "\x00name\x00"...)
	},
	"few tokens": func(r *rand.Rand) []byte {
		return fmt.Appendf(binary.BigEndian.AppendUint64(nil, uint64(r.IntN(5))<<40), "%d", r.IntN(2000))
	},
	"system": func(r *rand.Rand) []byte {
		return fmt.Appendf([]byte{byte(0x40 + 0x30*r.IntN(4))}, "a long prefix that all share/%d", r.IntN(3000))
	},
	"trailing zeros": func(r *rand.Rand) []byte {
		return append([]byte{byte(r.IntN(256)), byte(r.IntN(2))}, make([]byte, r.IntN(20))...)
	},
	"short": func(r *rand.Rand) []byte {
		key := make([]byte, r.IntN(4))
		for i := range key {
			key[i] = byte(r.IntN(8) * 36)
		}
		return key
	},
	"prefixes": func(r *rand.Rand) []byte { return bytes.Repeat([]byte{'p'}, r.IntN(300)) },
}

func TestTableAgainstModel(t *testing.T) {
	for name, shape := range keyShapes {
		for _, size := range []int{0, 64 << 10, 8 << 20} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, uint64(size)))
				table := New(size)
				var model []record
				for seq := range uint64(4000) {
					e := record{string(shape(r)), seq + 1, entry.Kind(r.IntN(2)), ""}
					if e.kind == entry.KindSet {
						e.value = fmt.Sprint("value ", seq)
					}
					table.Set([]byte(e.key), e.seq, e.kind, []byte(e.value))
					model = append(model, e)
				}
				slices.SortFunc(model, compareRecords)
				if table.Len() != len(model) {
					t.Fatalf("Len %d, want %d", table.Len(), len(model))
				}
				checkGets(t, r, table, model, shape)
				checkIter(t, r, table, model, shape)
			})
		}
	}
}

func checkGets(t *testing.T, r *rand.Rand, table *Table, model []record, shape func(*rand.Rand) []byte) {
	for range 4000 {
		key, seq := shape(r), r.Uint64N(4100)
		i, _ := slices.BinarySearchFunc(model, record{key: string(key), seq: seq}, compareRecords)
		value, kind, entrySeq, found := table.Get(key, seq)
		if want := i < len(model) && model[i].key == string(key); found != want {
			t.Fatalf("Get(%q, %d) found %v, want %v", key, seq, found, want)
		}
		if found && (record{string(key), entrySeq, kind, string(value)}) != model[i] {
			t.Fatalf("Get(%q, %d) = %v, want %v", key, seq, record{string(key), entrySeq, kind, string(value)}, model[i])
		}
	}
}

// checkIter walks an iterator at random beside an index into the model.
func checkIter(t *testing.T, r *rand.Rand, table *Table, model []record, shape func(*rand.Rand) []byte) {
	it := table.NewIter()
	at, ok := 0, it.First()
	for step := range 20000 {
		if want := at >= 0 && at < len(model); ok != want {
			t.Fatalf("step %d: at %d of %d, positioned %v", step, at, len(model), ok)
		}
		if ok {
			if got := (record{string(it.Key()), it.Seq(), it.Kind(), string(it.Value())}); got != model[at] {
				t.Fatalf("step %d: at %d: %v, want %v", step, at, got, model[at])
			}
		}
		action := r.IntN(20)
		if !ok {
			action = r.IntN(4)
		}
		key := shape(r)
		first, _ := slices.BinarySearchFunc(model, record{key: string(key), seq: entry.MaxSeq}, compareRecords)
		switch {
		case action == 0:
			at, ok = first, it.SeekGE(key)
		case action == 1:
			at, ok = first-1, it.SeekLT(key)
		case action == 2 && r.IntN(50) == 0:
			at, ok = 0, it.First()
		case action == 3 && r.IntN(50) == 0:
			at, ok = len(model)-1, it.Last()
		case !ok:
			at, ok = first, it.SeekGE(key)
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

func TestEmptyTable(t *testing.T) {
	table := New(1 << 20)
	it := table.NewIter()
	if it.First() || it.Last() || it.SeekGE(nil) || it.SeekLT([]byte{0xff}) || it.SeekGE(make([]byte, 9)) {
		t.Error("an empty table has a record")
	}
	if _, _, _, found := table.Get([]byte("key"), entry.MaxSeq); found {
		t.Error("an empty table has a key")
	}
	if table.Bytes() != 0 || table.Len() != 0 {
		t.Errorf("%d bytes, %d records", table.Bytes(), table.Len())
	}
}

func TestOlderRecordAfterNewer(t *testing.T) {
	table := New(0)
	for _, seq := range []uint64{5, 9, 7, 1} {
		table.Set([]byte("k"), seq, entry.KindSet, fmt.Append(nil, seq))
	}
	for seq, want := range map[uint64]string{9: "9", 8: "7", 6: "5", 4: "1", 100: "9"} {
		if value, _, _, _ := table.Get([]byte("k"), seq); string(value) != want {
			t.Errorf("at %d: %q, want %q", seq, value, want)
		}
	}
}

func TestOffHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	table := NewOffHeap(1<<20, new(Pool))
	defer table.Free()
	var model []record
	for seq := range uint64(3000) {
		e := record{string(keyShapes["uniform tokens"](r)), seq + 1, entry.KindSet, fmt.Sprint(seq)}
		if seq%500 == 0 {
			e.value = string(make([]byte, 100_000))
		}
		table.Set([]byte(e.key), e.seq, e.kind, []byte(e.value))
		model = append(model, e)
	}
	slices.SortFunc(model, compareRecords)
	checkGets(t, r, table, model, keyShapes["uniform tokens"])
	checkIter(t, r, table, model, keyShapes["uniform tokens"])
}

func TestExpect(t *testing.T) {
	table := NewOffHeap(1<<20, new(Pool))
	for i := range 66 {
		prefix := uint64(1) << i >> 1
		for _, p := range []uint64{prefix, prefix - 1, ^prefix} {
			table.Expect(p)
			table.Set(binary.BigEndian.AppendUint64(nil, p), 1, entry.KindSet, nil)
		}
	}
	if n := testing.AllocsPerRun(100, func() { table.Expect(7) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	table.Free()
	table.Expect(1) // whoever expects a key holds nothing
}

func TestHugeValues(t *testing.T) {
	table := New(1 << 10)
	for i := range uint64(6) {
		key := binary.BigEndian.AppendUint64(nil, i<<50)
		table.Set(key, i+1, entry.KindSet, bytes.Repeat([]byte{byte(i)}, 300_000<<(i%3)))
		table.Set(append(key, 'k'), i+10, entry.KindSet, []byte("small"))
	}
	for i := range uint64(6) {
		key := binary.BigEndian.AppendUint64(nil, i<<50)
		value, _, _, _ := table.Get(key, entry.MaxSeq)
		if !bytes.Equal(value, bytes.Repeat([]byte{byte(i)}, 300_000<<(i%3))) {
			t.Errorf("value %d of %d bytes came back wrong", i, len(value))
		}
		if value, _, _, _ := table.Get(append(key, 'k'), entry.MaxSeq); string(value) != "small" {
			t.Errorf("value beside %d: %q", i, value)
		}
	}
}

// TestReadersBesideWriter checks that a reader finds every record up to the sequence number it chose, in every shape.
func TestReadersBesideWriter(t *testing.T) {
	for name, shape := range keyShapes {
		t.Run(name, func(t *testing.T) {
			const records = 3000
			r := rand.New(rand.NewPCG(3, 4))
			all := make([]record, records)
			for i := range all {
				all[i] = record{string(shape(r)), uint64(i + 1), entry.KindSet, fmt.Sprint(i)}
			}
			table := New(64 << 10)
			var visible atomic.Uint64
			var wg sync.WaitGroup
			for reader := range uint64(3) {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(reader, 5))
					for visible.Load() < records {
						seq := visible.Load()
						if seq == 0 {
							continue
						}
						e := all[r.Uint64N(seq)]
						value, _, got, found := table.Get([]byte(e.key), e.seq)
						if !found || got != e.seq || string(value) != e.value {
							t.Errorf("Get(%q, %d) = %q %d %v beside the writer", e.key, e.seq, value, got, found)
							return
						}
						if r.IntN(50) == 0 && !walkSees(table.NewIter(), seq, r.IntN(2) == 0) {
							t.Errorf("a walk missed a record up to %d", seq)
							return
						}
					}
				})
			}
			for _, e := range all {
				table.Set([]byte(e.key), e.seq, e.kind, []byte(e.value))
				visible.Store(e.seq)
			}
			wg.Wait()
		})
	}
}

// walkSees walks the whole table and reports whether all the sequence numbers 1..seq were met once, in order of their keys.
func walkSees(it *Iter, seq uint64, forward bool) bool {
	seen, last := uint64(0), record{}
	start, step := it.First, it.Next
	if !forward {
		start, step = it.Last, it.Prev
	}
	for ok := start(); ok; ok = step() {
		now := record{key: string(it.Key()), seq: it.Seq()}
		if last.seq != 0 && (compareRecords(last, now) < 0) != forward {
			return false
		}
		if last = now; now.seq <= seq {
			seen++
		}
	}
	return seen == seq
}

func benchmarkKeys(n int) [][]byte {
	r := rand.New(rand.NewPCG(7, 7))
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(binary.BigEndian.AppendUint64(nil, r.Uint64()>>2), "\x00key:%012d\x00", i)
	}
	return keys
}

func BenchmarkSet(b *testing.B) {
	keys := benchmarkKeys(400_000)
	value := make([]byte, 64)
	b.ReportAllocs()
	table := New(64 << 20)
	n := 0
	for b.Loop() {
		if n == len(keys) {
			n, table = 0, New(64<<20)
		}
		table.Set(keys[n], uint64(n), entry.KindSet, value)
		n++
	}
}

func BenchmarkGet(b *testing.B) {
	keys := benchmarkKeys(400_000)
	table := New(64 << 20)
	for i, key := range keys {
		table.Set(key, uint64(i), entry.KindSet, make([]byte, 64))
	}
	b.Logf("%d bytes a key", table.Bytes()/int64(len(keys)))
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n == len(keys) {
			n = 0
		}
		table.Get(keys[n], entry.MaxSeq)
	}
}

func BenchmarkNext(b *testing.B) {
	table := New(64 << 20)
	for i, key := range benchmarkKeys(400_000) {
		table.Set(key, uint64(i), entry.KindSet, make([]byte, 64))
	}
	it := table.NewIter()
	ok := it.First()
	var sum uint64
	b.ReportAllocs()
	for b.Loop() {
		if !ok {
			ok = it.First()
			continue
		}
		value := it.Value()
		sum += uint64(len(it.Key())) + it.Seq() + uint64(value[len(value)-1])
		ok = it.Next()
	}
}

func BenchmarkNewTable(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New(64<<10).Set([]byte("k"), 1, entry.KindSet, nil)
	}
}

// TestFirstRecordOfAnySize: the first record of a table is found, however it fits the arena's pages.
func TestFirstRecordOfAnySize(t *testing.T) {
	key := []byte("A1")
	for size := range minPage + 100 {
		table := New(1)
		table.Set(key, 1, entry.KindSet, make([]byte, size))
		if value, _, _, found := table.Get(key, 1); !found || len(value) != size {
			t.Fatalf("a value of %d bytes: found %v with %d", size, found, len(value))
		}
	}
}
