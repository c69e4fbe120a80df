package sstable

import (
	"errors"
	"fmt"
	"testing"

	"kvstore/storage/cache"
	"kvstore/storage/corrupt"
	"kvstore/storage/entry"
	"kvstore/storage/vfs"
)

// pageCache is a file of which the system has all in memory, or nothing.
type pageCache struct {
	vfs.File
	has    bool
	damage bool // what it reads has a bit too many
	asked  int
}

// ReadResident is what vfs.ReadResident looks for.
func (p *pageCache) ReadResident(b []byte, offset int64) bool {
	p.asked++
	if !p.has {
		return false
	}
	n, err := p.ReadAt(b, offset)
	if p.damage {
		b[0] ^= 1
	}
	return n == len(b) && err == nil
}

// TestTryGetReadsWhatTheSystemHas reads without waiting, of a cold cache, what the page cache has and what it has not.
func TestTryGetReadsWhatTheSystemHas(t *testing.T) {
	var records []record
	for i := range 1000 {
		size := 100
		if i == 500 {
			size = 2 * maxResident
		}
		records = append(records, record{fmt.Sprintf("\x01key %04d", i), uint64(i + 1), entry.KindSet, string(make([]byte, size))})
	}
	fs, info := build(t, records, nil, WriterOptions{Compression: "none"})
	c := cache.New(1 << 20)
	defer c.Close()
	f, err := fs.Open("table")
	if err != nil {
		t.Fatal(err)
	}
	file := &pageCache{File: f}
	table, err := Open(file, info.Size, ReaderOptions{Cache: c, FileNum: 7, Name: "table"})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	try := func(i int) (found, ready bool, err error) {
		value, _, _, found, ready, err := table.TryGet(nil, []byte(records[i].key), entry.MaxSeq)
		if found && string(value) != records[i].value {
			t.Errorf("key %d has another value", i)
		}
		return found, ready, err
	}
	if found, ready, err := try(3); found || ready || err != nil || file.asked == 0 {
		t.Errorf("on the disk only: found %v, ready %v, %v, asked %d times", found, ready, err, file.asked)
	}
	file.has = true
	for i := range records {
		if found, ready, err := try(i); err != nil || found != ready || ready != (i != 500) {
			t.Fatalf("key %d in the page cache: found %v, ready %v, %v", i, found, ready, err)
		}
	}
	asked := file.asked
	if found, ready, err := try(3); !found || !ready || err != nil || file.asked != asked {
		t.Errorf("read before: found %v, ready %v, %v, asked %d times more", found, ready, err, file.asked-asked)
	}
	table.options.FileNum++ // so that nothing is found in the cache
	file.damage = true
	_, ready, err := try(700)
	if _, ok := errors.AsType[*corrupt.Error](err); !ready || !ok {
		t.Errorf("damaged: ready %v, %v", ready, err)
	}
}

// TestTryGetDecodesNoHugeBlock asks for a value that takes little room as it is stored, and a long time to decode.
func TestTryGetDecodesNoHugeBlock(t *testing.T) {
	for _, compression := range []string{"s2", "zstd"} {
		r := record{"\x01key", 1, entry.KindSet, string(make([]byte, 8<<20))}
		fs, info := build(t, []record{r}, nil, WriterOptions{Compression: compression})
		c := cache.New(32 << 20)
		defer c.Close()
		f, err := fs.Open("table")
		if err != nil {
			t.Fatal(err)
		}
		table, err := Open(&pageCache{File: f, has: true}, info.Size, ReaderOptions{Cache: c, FileNum: 7, Name: "table"})
		if err != nil {
			t.Fatal(err)
		}
		defer table.Close()
		if _, _, _, found, ready, err := table.TryGet(nil, []byte(r.key), entry.MaxSeq); found || ready || err != nil {
			t.Errorf("%s: found %v, ready %v, %v", compression, found, ready, err)
		}
		if _, _, _, found, err := table.Get(nil, []byte(r.key), entry.MaxSeq); !found || err != nil {
			t.Errorf("%s: found %v, %v", compression, found, err)
		}
	}
}
