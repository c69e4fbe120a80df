package sstable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"kvstore/storage/cache"
	"kvstore/storage/corrupt"
	"kvstore/storage/vfs"
)

// ReaderOptions are what a reader shares with others.
type ReaderOptions struct {
	// Cache holds the blocks; without one every block is read again each time.
	Cache *cache.Cache
	// FileNum names the file in the cache. It is never used again for another file.
	FileNum uint64
	// Name is what errors call the file.
	Name string
	// Decoder, which may be nil, saves each reader one of its own.
	Decoder *Decoder
	// Hot says that most reads of the engine ask this table, so that its partitions come first to be pinned.
	Hot bool
}

// Reader reads one table.
type Reader struct {
	file    vfs.File
	size    uint64
	options ReaderOptions
	decoder *Decoder
	own     Decoder
	scratch sync.Pool // of *[]byte, for blocks as they are in the file

	info   Info
	footer footer
	ranges []RangeDel
	held   cache.Handle // of top's memory
	top    block
	parts  []part // what the rows of top lead to
	bounds bounds // of the parts
}

// Open reads the footer and top index of a table of size bytes. The reader owns the file from then on, after an error the
// caller does.
func Open(f vfs.File, size int64, o ReaderOptions) (*Reader, error) {
	r := &Reader{file: f, size: uint64(size), options: o, decoder: o.Decoder}
	if r.decoder == nil {
		r.decoder = &r.own
	}
	if err := r.open(); err != nil {
		r.held.Release()
		return nil, err
	}
	return r, nil
}

func (r *Reader) open() error {
	if r.size < footerSize {
		return r.damage(0, "shorter than a footer")
	}
	var tail [footerSize]byte
	end := r.size - footerSize
	if err := r.readAt(tail[:], end); err != nil {
		return err
	}
	if reason := r.footer.parse(tail[:], end); reason != "" {
		return r.damage(end, reason)
	}
	properties, err := r.readBlock(r.footer.properties, nil, false)
	if err != nil {
		return err
	}
	if !r.info.parse(properties.Data()) {
		return r.damage(r.footer.properties.offset, "the properties cannot be read")
	}
	r.info.Size = int64(r.size)
	// The top index is held for good, in memory that counts as the cache's, and is not for others to find.
	if r.held, err = r.readBlock(r.footer.top, r.options.Cache, false); err != nil {
		return err
	}
	var ok bool
	if r.top, ok = parseBlock(r.held.Data()); !ok {
		return r.damage(r.footer.top.offset, "the top index cannot be read")
	}
	if err := r.findParts(); err != nil {
		return err
	}
	return r.readRanges()
}

// findParts reads the top index once, so that reads find its rows decoded.
func (r *Reader) findParts() error {
	r.parts = make([]part, r.top.n)
	largest := make([]uint64, r.top.n)
	for i := range r.parts {
		var err error
		if r.parts[i].at, err = r.child(&r.top, i, r.footer.top); err != nil {
			return err
		}
		v, _ := r.top.row(i)
		largest[i] = prefixOf(slices.Concat(r.top.prefix, v.suffix))
	}
	r.bounds = newBounds(prefixOf(r.info.Smallest), largest)
	return nil
}

func (r *Reader) readRanges() error {
	if r.footer.ranges.length == 0 {
		return nil
	}
	h, err := r.readBlock(r.footer.ranges, nil, false)
	if err != nil {
		return err
	}
	b, ok := parseBlock(h.Data())
	for i := 0; ok && i < b.n; i++ {
		var v rowView
		if v, ok = b.row(i); ok {
			r.ranges = append(r.ranges, RangeDel{slices.Concat(b.prefix, v.suffix), bytes.Clone(v.value), v.seq})
		}
	}
	if !ok {
		return r.damage(r.footer.ranges.offset, "the range deletions cannot be read")
	}
	return nil
}

// Info describes the table.
func (r *Reader) Info() Info { return r.info }

// Ranges are the table's range deletions, ordered by lower bound. They are not applied by Get or by iterators.
func (r *Reader) Ranges() []RangeDel { return r.ranges }

// Close closes the file. No iterator may be open, and the reader may not be in use.
func (r *Reader) Close() error {
	r.unpin()
	r.held.Release()
	r.own.Close()
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close table %s: %w", r.options.Name, err)
	}
	return nil
}

// child is the handle in a row of an index that was itself read from at.
func (r *Reader) child(index *block, i int, at handle) (handle, error) {
	v, ok := index.row(i)
	if !ok {
		return handle{}, r.damage(at.offset, "a row of the index cannot be read")
	}
	h, ok := parseHandle(v.value, r.size-footerSize)
	if !ok {
		return handle{}, r.damage(at.offset, "a row of the index points outside the file")
	}
	return h, nil
}

// block returns a block from the cache, or from the file through the cache.
func (r *Reader) block(h handle, cachedOnly bool) (cache.Handle, error) {
	c := r.options.Cache
	if c != nil {
		if held, ok := c.Get(r.options.FileNum, h.offset); ok {
			return held, nil
		}
	}
	if cachedOnly && (c == nil || h.length > maxResident) {
		return cache.Handle{}, errNotReady
	}
	held, err := r.readBlock(h, c, cachedOnly)
	if err != nil || c == nil {
		return held, err
	}
	return c.Publish(held), nil
}

// maxResident is the length, as it is stored and as it is decoded, up to which a block is read by who must not wait: some ten
// microseconds.
const maxResident = 32 << 10

// readBlock reads a block from the file into memory of the cache, or of its own when c is nil. With residentOnly it is
// errNotReady when the file would have to be read from the disk.
func (r *Reader) readBlock(h handle, c *cache.Cache, residentOnly bool) (cache.Handle, error) {
	buf, _ := r.scratch.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer r.recycle(buf)
	if cap(*buf) < int(h.length) {
		*buf = make([]byte, h.length)
	}
	sealed := (*buf)[:h.length]
	if residentOnly {
		if !vfs.ReadResident(r.file, sealed, int64(h.offset)) {
			return cache.Handle{}, errNotReady
		}
	} else if err := r.readAt(sealed, h.offset); err != nil {
		return cache.Handle{}, err
	}
	stored, kind, length, err := unseal(h.offset, sealed)
	if err != nil {
		return cache.Handle{}, r.damage(h.offset, err.Error())
	}
	if residentOnly && length > maxResident {
		return cache.Handle{}, errNotReady
	}
	var held cache.Handle
	if c != nil {
		held = c.Alloc(r.options.FileNum, h.offset, length)
	} else {
		held = cache.Heap(length)
	}
	if err := r.decoder.decode(held.Data(), stored, kind); err != nil {
		held.Release()
		return cache.Handle{}, r.damage(h.offset, err.Error())
	}
	return held, nil
}

func (r *Reader) recycle(buf *[]byte) {
	if cap(*buf) <= keepBuffer {
		r.scratch.Put(buf)
	}
}

// readAt fills buf. A file that ends too early is damaged.
func (r *Reader) readAt(buf []byte, offset uint64) error {
	n, err := r.file.ReadAt(buf, int64(offset))
	switch {
	case n == len(buf):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return r.damage(offset, "the file ends too early")
	}
	return fmt.Errorf("read table %s at offset %d: %w", r.options.Name, offset, err)
}

func (r *Reader) damage(offset uint64, reason string) error {
	return &corrupt.Error{File: r.options.Name, Offset: int64(offset), Reason: reason}
}
