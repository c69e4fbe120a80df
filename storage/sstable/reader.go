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
	"kvstore/storage/entry"
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
}

// errNotReady is how a reader that must not do I/O says that a block is not cached. It never leaves the package.
var errNotReady = errors.New("a block is not in the cache")

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
	properties, err := r.readBlock(r.footer.properties, nil)
	if err != nil {
		return err
	}
	if !r.info.parse(properties.Data()) {
		return r.damage(r.footer.properties.offset, "the properties cannot be read")
	}
	r.info.Size = int64(r.size)
	// The top index is held for good, in memory that counts as the cache's, and is not for others to find.
	if r.held, err = r.readBlock(r.footer.top, r.options.Cache); err != nil {
		return err
	}
	var ok bool
	if r.top, ok = parseBlock(r.held.Data()); !ok {
		return r.damage(r.footer.top.offset, "the top index cannot be read")
	}
	return r.readRanges()
}

func (r *Reader) readRanges() error {
	if r.footer.ranges.length == 0 {
		return nil
	}
	h, err := r.readBlock(r.footer.ranges, nil)
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
	r.held.Release()
	r.own.Close()
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close table %s: %w", r.options.Name, err)
	}
	return nil
}

// Get finds the newest record of key whose sequence number is at most seq, and appends its value to dst.
func (r *Reader) Get(dst, key []byte, seq uint64) (value []byte, kind entry.Kind, entrySeq uint64, found bool, err error) {
	return r.get(dst, key, seq, false)
}

// TryGet is Get without I/O: it is not ready when a block that it needs is not in the cache.
func (r *Reader) TryGet(dst, key []byte, seq uint64) (value []byte, kind entry.Kind, entrySeq uint64, found, ready bool, err error) {
	value, kind, entrySeq, found, err = r.get(dst, key, seq, true)
	if err == errNotReady {
		return dst, 0, 0, false, false, nil
	}
	return value, kind, entrySeq, found, true, err
}

func (r *Reader) get(dst, key []byte, seq uint64, cachedOnly bool) ([]byte, entry.Kind, uint64, bool, error) {
	at, ok := r.top.search(key, entry.MaxSeq)
	if !ok {
		return dst, 0, 0, false, r.damage(r.footer.top.offset, "a row of the top index cannot be read")
	}
	if at == r.top.n {
		return dst, 0, 0, false, nil
	}
	h, err := r.child(&r.top, at, r.footer.top)
	if err != nil {
		return dst, 0, 0, false, err
	}
	held, err := r.block(h, cachedOnly)
	if err != nil {
		return dst, 0, 0, false, err
	}
	data, more, err := r.lookInPartition(held.Data(), h, key)
	held.Release()
	if err != nil || data.length == 0 {
		return dst, 0, 0, false, err
	}
	if held, err = r.block(data, cachedOnly); err != nil {
		return dst, 0, 0, false, err
	}
	defer held.Release()
	b, ok := parseBlock(held.Data())
	if !ok {
		return dst, 0, 0, false, r.damage(data.offset, "a block cannot be read")
	}
	i, ok := b.search(key, seq)
	if !ok {
		return dst, 0, 0, false, r.damage(data.offset, "a row cannot be read")
	}
	if i == b.n {
		if more {
			return r.getFurther(dst, key, seq, cachedOnly)
		}
		return dst, 0, 0, false, nil
	}
	v, ok := b.row(i)
	if !ok {
		return dst, 0, 0, false, r.damage(data.offset, "a row cannot be read")
	}
	if len(key) != len(b.prefix)+len(v.suffix) || !bytes.Equal(key[len(b.prefix):], v.suffix) || !bytes.HasPrefix(key, b.prefix) {
		return dst, 0, 0, false, nil
	}
	return append(dst, v.value...), v.kind, v.seq, true, nil
}

// lookInPartition returns the data block that has the key if the table has it, or one of length 0. With more the key is
// the block's separator, so its versions may go on in the next block.
func (r *Reader) lookInPartition(data []byte, at handle, key []byte) (h handle, more bool, err error) {
	p, ok := parsePartition(data)
	if !ok {
		return h, false, r.damage(at.offset, "a partition cannot be read")
	}
	if !p.mayHave(keyHash(key)) {
		return h, false, nil
	}
	i, ok := p.index.search(key, entry.MaxSeq)
	if !ok || i == p.index.n { // the partition's last separator is its row in the top index
		return h, false, r.damage(at.offset, "the index does not agree with the one above")
	}
	v, ok := p.index.row(i)
	if !ok {
		return h, false, r.damage(at.offset, "a row of the index cannot be read")
	}
	more = len(key) == len(p.index.prefix)+len(v.suffix) && bytes.Equal(key[len(p.index.prefix):], v.suffix)
	if h, ok = parseHandle(v.value, r.size-footerSize); !ok {
		return h, false, r.damage(at.offset, "a row of the index points outside the file")
	}
	return h, more, nil
}

// getFurther is get for a key whose versions fill more than one block.
func (r *Reader) getFurther(dst, key []byte, seq uint64, cachedOnly bool) ([]byte, entry.Kind, uint64, bool, error) {
	i := r.newIter()
	i.cachedOnly = cachedOnly
	defer i.Close()
	for ok := i.SeekGE(key); ok && bytes.Equal(i.Key(), key); ok = i.Next() {
		if i.Seq() <= seq {
			return append(dst, i.Value()...), i.Kind(), i.Seq(), true, nil
		}
	}
	return dst, 0, 0, false, i.err
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
	if cachedOnly {
		return cache.Handle{}, errNotReady
	}
	held, err := r.readBlock(h, c)
	if err != nil || c == nil {
		return held, err
	}
	return c.Publish(held), nil
}

// readBlock reads a block from the file into memory of the cache, or of its own when c is nil.
func (r *Reader) readBlock(h handle, c *cache.Cache) (cache.Handle, error) {
	buf, _ := r.scratch.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer r.recycle(buf)
	if cap(*buf) < int(h.length) {
		*buf = make([]byte, h.length)
	}
	sealed := (*buf)[:h.length]
	if err := r.readAt(sealed, h.offset); err != nil {
		return cache.Handle{}, err
	}
	stored, kind, length, err := unseal(h.offset, sealed)
	if err != nil {
		return cache.Handle{}, r.damage(h.offset, err.Error())
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
