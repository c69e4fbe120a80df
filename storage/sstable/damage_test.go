package sstable

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kvstore/storage/corrupt"
	"kvstore/storage/entry"
	"kvstore/storage/vfs"
)

// bytesFile is a read-only file in memory, so that damaged tables are cheap to make.
type bytesFile struct {
	vfs.File
	*bytes.Reader
}

func (f bytesFile) Read(p []byte) (int, error)              { return f.Reader.Read(p) }
func (f bytesFile) ReadAt(p []byte, off int64) (int, error) { return f.Reader.ReadAt(p, off) }
func (f bytesFile) Size() (int64, error)                    { return f.Reader.Size(), nil }
func (f bytesFile) Close() error                            { return nil }

func openBytes(data []byte, d *Decoder) (*Reader, error) {
	return Open(bytesFile{Reader: bytes.NewReader(data)}, int64(len(data)), ReaderOptions{Decoder: d, Name: "t.sst"})
}

// smallTable is a table with several partitions' worth of structure in few bytes.
func smallTable(t testing.TB, compression string) ([]byte, []record) {
	r := rand.New(rand.NewPCG(5, 6))
	model := randomRecords(r, 40, keyShapes["system"])
	for i := range model {
		model[i].value = strings.Repeat("v", i%40)
	}
	ranges := []RangeDel{{[]byte("a"), []byte("c"), 150}, {[]byte{0x40, 'x'}, []byte{0x40, 'y'}, 200}}
	fs, _ := build(t, model, ranges, WriterOptions{BlockSize: 300, Compression: compression})
	data, err := vfs.ReadFile(fs, "table")
	if err != nil {
		t.Fatal(err)
	}
	return data, model
}

// checkAnswers reads everything and reports any answer that is neither right nor an error that names the damage.
func checkAnswers(data []byte, model []record, d *Decoder) error {
	table, err := openBytes(data, d)
	if err != nil {
		return asDamage(err)
	}
	defer table.Close()
	if len(table.Ranges()) != 2 || table.Info().Entries != uint64(len(model)) {
		return fmt.Errorf("wrong ranges %v or properties %+v", table.Ranges(), table.Info())
	}
	for _, e := range model {
		value, kind, seq, found, err := table.Get(nil, []byte(e.key), e.seq)
		if err != nil {
			if err := asDamage(err); err != nil {
				return err
			}
		} else if got := (record{e.key, seq, kind, string(value)}); !found || got != e {
			return fmt.Errorf("got %v %v, want %v", got, found, e)
		}
	}
	for _, forward := range []bool{true, false} {
		it := table.NewIter()
		start, step := it.First, it.Next
		if !forward {
			start, step = it.Last, it.Prev
		}
		n := 0
		for ok := start(); ok; ok = step() {
			i := n
			if !forward {
				i = len(model) - 1 - n
			}
			if got := (record{string(it.Key()), it.Seq(), it.Kind(), string(it.Value())}); got != model[i] {
				return fmt.Errorf("iterator at %v, want %v", got, model[i])
			}
			n++
		}
		if err := it.Err(); err != nil {
			if err := asDamage(err); err != nil {
				return err
			}
		} else if n != len(model) {
			return fmt.Errorf("iterator ended after %d without an error", n)
		}
		it.Close()
	}
	return nil
}

func asDamage(err error) error {
	if !corrupt.Is(err) || !strings.Contains(err.Error(), "t.sst is damaged at offset") {
		return fmt.Errorf("not an error of damage: %w", err)
	}
	return nil
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	var shared Decoder
	defer shared.Close()
	for _, compression := range []string{"none", "s2", "zstd"} {
		data, model := smallTable(t, compression)
		if err := checkAnswers(data, model, &shared); err != nil {
			t.Fatal(err)
		}
		step := 1
		if compression != "none" {
			step = 11 // the same code but for the decompression
		}
		for bit := 0; bit < len(data)*8; bit += step {
			data[bit/8] ^= 1 << (bit % 8)
			if err := checkAnswers(data, model, &shared); err != nil {
				t.Fatalf("%s, bit %d of byte %d of %d: %v", compression, bit%8, bit/8, len(data), err)
			}
			if table, err := openBytes(data, &shared); err == nil {
				if err := table.Verify(); !corrupt.Is(err) {
					t.Fatalf("%s, bit %d of byte %d of %d: Verify says %v", compression, bit%8, bit/8, len(data), err)
				}
			}
			data[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestEveryTruncationIsFound(t *testing.T) {
	data, _ := smallTable(t, "s2")
	for n := range data {
		if _, err := openBytes(data[:n], nil); asDamage(err) != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(data), err)
		}
	}
}

func TestBlockAtAnothersPlaceIsFound(t *testing.T) {
	var model []record
	for i := range 60 {
		model = append(model, record{fmt.Sprintf("%02d", i), 7, entry.KindSet, "value"})
	}
	ranges := []RangeDel{{[]byte("a"), []byte("b"), 7}, {[]byte("c"), []byte("d"), 7}}
	fs, _ := build(t, model, ranges, WriterOptions{BlockSize: 300, Compression: "none"})
	data, err := vfs.ReadFile(fs, "table")
	if err != nil {
		t.Fatal(err)
	}
	table, err := openBytes(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	it := table.newIter()
	it.First()
	first := it.dataAt
	for it.dataAt == first {
		it.Next()
	}
	if it.dataAt.length != first.length {
		t.Fatal("the first two blocks differ in length")
	}
	copy(data[it.dataAt.offset:], data[first.offset:][:first.length])
	if err := checkAnswers(data, model, nil); err != nil {
		t.Fatal(err)
	}
	if err := table.Verify(); !corrupt.Is(err) {
		t.Errorf("Verify says %v", err)
	}
}

func FuzzTable(f *testing.F) {
	data, _ := smallTable(f, "s2")
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := openBytes(data, nil)
		if err != nil {
			if err := asDamage(err); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := table.Verify(); err != nil && !corrupt.Is(err) {
			t.Fatal(err)
		}
		it := table.NewIter()
		for ok, n := it.Last(), 0; ok && n < 1000; ok = it.Prev() {
			table.Get(nil, it.Key(), it.Seq())
			n++
		}
	})
}

// FuzzBlock gives parseBlock and parsePartition what no checksum protects.
func FuzzBlock(f *testing.F) {
	var b blockBuilder
	b.add([]byte{1, 2, 0xaa}, 7, entry.KindSet, []byte("x"))
	b.add([]byte{1, 2, 0xbb}, 9, entry.KindDelete, nil)
	f.Add(b.finish(nil), []byte{1, 2, 0xaa})
	f.Add(b.finish(appendFilter(nil, []uint64{1, 2, 3}, 10)), []byte{1, 2, 0xaa})
	f.Fuzz(func(t *testing.T, data, key []byte) {
		if p, ok := parsePartition(data); ok {
			p.mayHave(keyHash(key))
			p.index.search(key, 5)
		}
		b, ok := parseBlock(data)
		if !ok {
			return
		}
		if i, ok := b.search(key, 5); ok && (i < 0 || i > b.n) {
			t.Fatalf("search returned %d of %d", i, b.n)
		}
		for i := range min(b.n, 1000) {
			if row, ok := b.row(i); ok {
				parseHandle(row.value, 1<<40)
			}
		}
	})
}

func TestBlockExample(t *testing.T) {
	// The worked example of the package comment.
	var b blockBuilder
	b.add([]byte{1, 2, 0xaa}, 7, entry.KindSet, []byte("x"))
	b.add([]byte{1, 2, 0xbb}, 9, entry.KindDelete, nil)
	want := "0200000002000000" + "0e00000000000000" + "0102" + "aa00bb00" + "00000500" + "010101aa78" + "080100bb"
	if got := fmt.Sprintf("%x", b.finish(nil)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestBlockSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 300 {
		model := randomRecords(r, 1+r.IntN(60), keyShapes[[]string{"short", "system", "few keys"}[r.IntN(3)]])
		var b blockBuilder
		for _, e := range model {
			b.add([]byte(e.key), e.seq, e.kind, []byte(e.value))
		}
		parsed, ok := parseBlock(b.finish(nil))
		if !ok || parsed.n != len(model) {
			t.Fatal("the block cannot be parsed")
		}
		for range 50 {
			target := record{key: string(keyShapes["short"](r)), seq: 90 + r.Uint64N(90)}
			if r.IntN(2) == 0 {
				target.key = model[r.IntN(len(model))].key
			}
			want, _ := slices.BinarySearchFunc(model, target, compareRecords)
			if got, ok := parsed.search([]byte(target.key), target.seq); !ok || got != want {
				t.Fatalf("search %q/%d: %d, want %d", target.key, target.seq, got, want)
			}
		}
	}
}
