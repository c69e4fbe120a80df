package sstable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"kvstore/storage/cache"
	"kvstore/storage/corrupt"
	"kvstore/storage/entry"
	"kvstore/storage/vfs"
)

func TestEmptyTable(t *testing.T) {
	fs, info := build(t, nil, nil, WriterOptions{})
	table := open(t, fs, info, nil)
	defer table.Close()
	it := table.NewIter()
	if it.First() || it.Last() || it.SeekGE(nil) || it.SeekLT([]byte{0xff}) || it.Err() != nil {
		t.Error("an empty table has a record", it.Err())
	}
	if _, _, _, found, err := table.Get(nil, []byte("k"), 1); found || err != nil {
		t.Error(found, err)
	}
	if err := table.Verify(); err != nil {
		t.Error(err)
	}
}

func TestRangesAndBounds(t *testing.T) {
	ranges := []RangeDel{{[]byte("m"), []byte("q"), 9}, {[]byte("b"), []byte("d"), 12}, {[]byte("b"), []byte("c"), 30}}
	for _, c := range []struct {
		records           []record
		smallest, largest string
		minSeq, maxSeq    uint64
	}{
		{nil, "b", "q", 9, 30},
		{[]record{{"c", 5, entry.KindSet, "v"}, {"e", 40, entry.KindDelete, ""}}, "b", "q", 5, 40},
		{[]record{{"b", 0, entry.KindSet, "v"}, {"e", 1, entry.KindSet, "v"}}, "b", "q", 0, 30},
		{[]record{{"a", 20, entry.KindSet, "v"}, {"z", 21, entry.KindSet, "v"}}, "a", "z", 9, 30},
	} {
		fs, info := build(t, c.records, ranges, WriterOptions{})
		table := open(t, fs, info, nil)
		defer table.Close()
		if string(info.Smallest) != c.smallest || string(info.Largest) != c.largest || info.MinSeq != c.minSeq || info.MaxSeq != c.maxSeq || info.Ranges != 3 {
			t.Errorf("info %+v", info)
		}
		if err := table.Verify(); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprintf("%+v", table.Info()); got != fmt.Sprintf("%+v", info) {
			t.Errorf("opened %s, written %+v", got, info)
		}
		var drawn strings.Builder
		for _, d := range table.Ranges() {
			fmt.Fprintf(&drawn, "%s-%s/%d ", d.Lo, d.Hi, d.Seq)
		}
		if drawn.String() != "b-c/30 b-d/12 m-q/9 " {
			t.Error(drawn.String())
		}
	}
}

func TestOrderIsChecked(t *testing.T) {
	for _, second := range []record{{key: "k", seq: 5}, {key: "k", seq: 6}, {key: "j", seq: 1}} {
		f, err := vfs.NewMem().Create("table")
		if err != nil {
			t.Fatal(err)
		}
		w := NewWriter(f, WriterOptions{})
		if err := w.Add([]byte("k"), 5, entry.KindSet, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.Add([]byte(second.key), second.seq, entry.KindSet, nil); err == nil {
			t.Errorf("%v was taken after k/5", second)
		}
		if _, err := w.Finish(); err == nil {
			t.Error("the table was finished all the same")
		}
	}
}

func TestUnknownCompression(t *testing.T) {
	f, err := vfs.NewMem().Create("table")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewWriter(f, WriterOptions{Compression: "lzw"}).Finish(); err == nil || !strings.Contains(err.Error(), "lzw") {
		t.Error(err)
	}
}

func TestFullDiskEndsTheTable(t *testing.T) {
	fs := vfs.NewMem()
	fs.SetCapacity(100 << 10)
	f, err := fs.Create("table")
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(f, WriterOptions{Compression: "none"})
	for i := range 1000 {
		if err = w.Add(fmt.Appendf(nil, "%05d", i), 1, entry.KindSet, make([]byte, 1000)); err != nil {
			break
		}
	}
	if !vfs.IsFull(err) {
		t.Errorf("Add on a full disk: %v", err)
	}
	if _, err := w.Finish(); !vfs.IsFull(err) {
		t.Errorf("Finish on a full disk: %v", err)
	}
}

func TestReadErrorIsNoDamage(t *testing.T) {
	mem, info := build(t, randomRecords(rand.New(rand.NewPCG(1, 1)), 500, keyShapes["system"]), nil, WriterOptions{})
	broken := errors.New("the disk is gone")
	failing := false
	fs := &vfs.Faulty{FS: mem, Inject: func(op vfs.Op, _ string) error {
		if failing && op == vfs.OpRead {
			return broken
		}
		return nil
	}}
	table := open(t, fs, info, nil)
	defer table.Close()
	failing = true
	if _, _, _, _, err := table.Get(nil, info.Smallest, entry.MaxSeq); !errors.Is(err, broken) || corrupt.Is(err) {
		t.Errorf("Get: %v", err)
	}
	it := table.NewIter()
	if it.SeekLT(info.Largest) || !errors.Is(it.Err(), broken) {
		t.Errorf("SeekLT: %v", it.Err())
	}
	failing = false
	if !it.SeekLT(info.Largest) || it.Err() != nil {
		t.Errorf("SeekLT after the error is over: %v", it.Err())
	}
}

func TestHugeValue(t *testing.T) {
	value := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{1}).Read(value)
	model := []record{{"a", 1, entry.KindSet, "small"}, {"b", 2, entry.KindSet, string(value)}, {"c", 3, entry.KindSet, "small"}}
	for _, compression := range []string{"s2", "zstd", "none"} {
		fs, info := build(t, model, nil, WriterOptions{Compression: compression})
		c := cache.New(1 << 20)
		table := open(t, fs, info, c)
		for _, e := range model {
			if value, _, _, found, err := table.Get(nil, []byte(e.key), 9); string(value) != e.value || !found || err != nil {
				t.Errorf("%s: %s came back with %d bytes, %v", compression, e.key, len(value), err)
			}
		}
		table.Close()
		c.Close()
	}
}

func TestFilterLetsFewThrough(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	hashes := make([]uint64, 4000)
	for i := range hashes {
		hashes[i] = keyHash(binary.BigEndian.AppendUint64(nil, r.Uint64()>>2))
	}
	var empty blockBuilder
	p, ok := parsePartition(empty.finish(appendFilter(nil, hashes, DefaultBloomBits)))
	if !ok {
		t.Fatal("the partition cannot be parsed")
	}
	for _, h := range hashes {
		if !p.mayHave(h) {
			t.Fatal("a key is missing from its filter")
		}
	}
	through := 0
	for range 100_000 {
		if p.mayHave(keyHash(binary.BigEndian.AppendUint64(nil, r.Uint64()>>2))) {
			through++
		}
	}
	t.Logf("%d of 100000 absent keys pass", through)
	if through > 2000 {
		t.Errorf("%d of 100000 absent keys pass", through)
	}
}

func TestWarmReadsDoNotAllocate(t *testing.T) {
	model := randomRecords(rand.New(rand.NewPCG(1, 1)), 2000, keyShapes["uniform tokens"])
	fs, info := build(t, model, nil, WriterOptions{})
	c := cache.New(4 << 20)
	defer c.Close()
	table := open(t, fs, info, c)
	defer table.Close()
	dst := make([]byte, 0, 1<<20)
	for _, e := range model {
		table.Get(dst, []byte(e.key), entry.MaxSeq)
	}
	present, absent := []byte(model[1000].key), []byte("\x20absent key")
	if n := testing.AllocsPerRun(100, func() {
		table.Get(dst, present, entry.MaxSeq)
		table.TryGet(dst, present, entry.MaxSeq)
		table.Get(dst, absent, entry.MaxSeq)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConcurrentReaders(t *testing.T) {
	shape := keyShapes["system"]
	model := randomRecords(rand.New(rand.NewPCG(2, 2)), 2000, shape)
	fs, info := build(t, model, nil, WriterOptions{BlockSize: 500})
	c := cache.New(0) // smaller than the table, so that blocks come and go
	defer c.Close()
	table := open(t, fs, info, c)
	defer table.Close()
	var wg sync.WaitGroup
	for worker := range uint64(3) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(worker, 3))
			checkGetsQuietly(t, r, table, model)
			it := table.NewIter()
			n := 0
			for ok := it.First(); ok; ok = it.Next() {
				if string(it.Key()) != model[n].key || string(it.Value()) != model[n].value {
					t.Errorf("record %d is wrong", n)
				}
				n++
			}
			if err := it.Close(); err != nil || n != len(model) {
				t.Errorf("%d records, %v", n, err)
			}
		})
	}
	wg.Wait()
	if m := c.Metrics(); m.Evictions == 0 {
		t.Errorf("nothing was evicted: %+v", m)
	}
}

func checkGetsQuietly(t *testing.T, r *rand.Rand, table *Reader, model []record) {
	for range 1000 {
		e := model[r.IntN(len(model))]
		value, _, seq, found, err := table.Get(nil, []byte(e.key), e.seq)
		if err != nil || !found || seq != e.seq || string(value) != e.value {
			t.Errorf("Get(%q, %d) = %d bytes, %d, %v, %v", e.key, e.seq, len(value), seq, found, err)
			return
		}
	}
}
