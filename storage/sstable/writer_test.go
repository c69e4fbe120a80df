package sstable

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"kvstore/storage/entry"
)

// TestCompressionGivesUp counts the data blocks a writer compresses: all where it pays, hardly any try where it does not,
// and again most when the data changes.
func TestCompressionGivesUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	random := func(dst []byte) []byte {
		for len(dst) < 4000 {
			dst = binary.LittleEndian.AppendUint64(dst, r.Uint64())
		}
		return dst
	}
	e, err := newEncoder("s2")
	if err != nil {
		t.Fatal(err)
	}
	// seal returns how many of 1000 blocks shrank, and how many were tried.
	seal := func(contents func() []byte) (shrunk, tried int) {
		for range 1000 {
			raw := contents()
			if e.skip == 0 {
				tried++
			}
			sealed := e.sealData(raw, 0, 7)
			stored, kind, length, err := unseal(7, sealed)
			if err != nil || length != len(raw) {
				t.Fatal(err, length)
			}
			if kind == compressS2 {
				shrunk++
			} else if len(stored) != len(raw) {
				t.Fatalf("%d bytes where %d are as they were", len(stored), len(raw))
			}
		}
		return shrunk, tried
	}
	zeros := func() []byte { return make([]byte, 4000) }
	if shrunk, _ := seal(zeros); shrunk != 1000 {
		t.Errorf("%d of 1000 blocks of zeros are compressed", shrunk)
	}
	if shrunk, tried := seal(func() []byte { return random(nil) }); shrunk != 0 || tried > 50 {
		t.Errorf("of 1000 random blocks %d are tried and %d compressed", tried, shrunk)
	}
	if shrunk, _ := seal(zeros); shrunk < 1000-maxSkip {
		t.Errorf("%d of 1000 blocks of zeros behind random ones are compressed", shrunk)
	}
	n := 0
	shrunk, _ := seal(func() []byte {
		if n++; n%2 == 0 {
			return random(nil)
		}
		return zeros()
	})
	if shrunk != 500 {
		t.Errorf("%d of 500 blocks of zeros between random ones are compressed", shrunk)
	}
}

// TestWriterHugeValues writes values larger than what is handed to the file at once, between small ones.
func TestWriterHugeValues(t *testing.T) {
	var records []record
	r := rand.New(rand.NewPCG(2, 2))
	for i := range 40 {
		value := make([]byte, 100)
		if i%10 == 5 {
			value = make([]byte, writeSize*(1+i/10))
		}
		for at := 0; at+8 <= len(value); at += 8 {
			binary.LittleEndian.PutUint64(value[at:], r.Uint64())
		}
		records = append(records, record{string(binary.BigEndian.AppendUint64(nil, uint64(i))), uint64(i + 1), entry.KindSet, string(value)})
	}
	for _, compression := range []string{"none", "s2", "zstd"} {
		fs, info := build(t, records, nil, WriterOptions{Compression: compression})
		table := open(t, fs, info, nil)
		if err := table.Verify(); err != nil {
			t.Errorf("%s: %v", compression, err)
		}
		it := table.NewScanIter()
		for i, ok := 0, it.First(); ok; i, ok = i+1, it.Next() {
			if string(it.Value()) != records[i].value {
				t.Errorf("%s: value %d is another", compression, i)
			}
		}
		it.Close()
		table.Close()
	}
}
