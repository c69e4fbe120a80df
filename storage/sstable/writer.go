package sstable

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"kvstore/storage/cache"
	"kvstore/storage/entry"
	"kvstore/storage/vfs"
)

const (
	// DefaultBlockSize makes a point read cost one page of the disk, mostly.
	DefaultBlockSize = 4 << 10
	// DefaultBloomBits lets about one absent key of a hundred through.
	DefaultBloomBits = 10

	// partitionBlocks is how many data blocks one partition indexes: with blocks of 4 KiB a partition is some 8 KiB.
	partitionBlocks = 128

	// writeSize is how much is handed to the file at once.
	writeSize = 256 << 10
	// spreadSize is how much is left to the system before it is asked to begin writing it back.
	spreadSize = 1 << 20
)

// WriterOptions are how a table is written. The zero value is valid.
type WriterOptions struct {
	// BlockSize is the length in bytes up to which a data block is filled; 0 is DefaultBlockSize.
	BlockSize int
	// Compression is s2 (also ""), zstd or none.
	Compression string
	// BloomBitsPerKey is the size of the filter; 0 is DefaultBloomBits, less than 0 is no filter.
	BloomBitsPerKey int
	// Cache, if it is not nil, gets the data blocks as they are written, of a file that it knows by FileNum.
	Cache   *cache.Cache
	FileNum uint64
}

// Writer writes one table. After an error from any method the file is of no use.
type Writer struct {
	file    vfs.File
	options WriterOptions
	encoder *encoder
	info    Info
	ranges  []RangeDel
	lastSeq uint64
	anySeq  bool // the bounds in info are set

	data, index, top blockBuilder
	last             []byte // the last key added
	// pending is the finished data block that has no row in the index yet, because its separator needs the next key.
	pending    handle
	hasPending bool
	hashes     []uint64 // of the keys in the open partition

	offset uint64 // where the next block begins
	// handed is how much the file has been handed, and spread how much of that is being written back.
	handed, spread int64
	// out is what is not yet written to the file: blocks are laid out, compressed and sealed at its end.
	out []byte
	err error
}

// NewWriter returns a writer to an empty file, which the caller closes.
func NewWriter(f vfs.File, o WriterOptions) *Writer {
	if o.BlockSize <= 0 {
		o.BlockSize = DefaultBlockSize
	}
	if o.BloomBitsPerKey == 0 {
		o.BloomBitsPerKey = DefaultBloomBits
	}
	w := &Writer{file: f, options: o}
	w.encoder, w.err = newEncoder(o.Compression)
	return w
}

// EstimatedSize is about the length of the file so far, in bytes.
func (w *Writer) EstimatedSize() int64 { return int64(w.offset) + int64(w.data.size()) }

// Add appends a record. Records come ordered by key ascending and sequence number descending.
func (w *Writer) Add(key []byte, seq uint64, kind entry.Kind, value []byte) error {
	if w.err != nil {
		return w.err
	}
	same := false
	if w.info.Entries > 0 {
		c := bytes.Compare(w.last, key)
		if same = c == 0; c > 0 || same && w.lastSeq <= seq {
			return w.fail(fmt.Errorf("add to table: record %x/%d is not after %x/%d", key, seq, w.last, w.lastSeq))
		}
	}
	if len(w.data.rows) > 0 && w.data.size()+len(key)+len(value)+rowOverhead > w.options.BlockSize {
		w.finishData()
	}
	if len(w.data.rows) == 0 {
		w.indexPending(key)
		same = false // the partition may be a new one
	}
	if !same && w.options.BloomBitsPerKey > 0 {
		w.hashes = append(w.hashes, keyHash(key))
	}
	w.data.add(key, seq, kind, value)
	if w.info.Entries == 0 {
		w.info.Smallest = bytes.Clone(key)
	}
	w.last, w.lastSeq = append(w.last[:0], key...), seq
	w.info.Entries++
	if kind == entry.KindDelete {
		w.info.Deletes++
	}
	w.countSeq(seq)
	return w.err
}

// AddRange adds a range deletion of [lo, hi), in any order.
func (w *Writer) AddRange(lo, hi []byte, seq uint64) {
	w.ranges = append(w.ranges, RangeDel{bytes.Clone(lo), bytes.Clone(hi), seq})
	w.countSeq(seq)
}

func (w *Writer) countSeq(seq uint64) {
	if !w.anySeq {
		w.info.MinSeq, w.anySeq = seq, true
	}
	w.info.MinSeq, w.info.MaxSeq = min(w.info.MinSeq, seq), max(w.info.MaxSeq, seq)
}

// Finish writes what is left, and makes the file durable. A table may be empty.
func (w *Writer) Finish() (Info, error) {
	if w.err != nil {
		return Info{}, w.err
	}
	w.info.Largest = bytes.Clone(w.last)
	if len(w.data.rows) > 0 {
		w.finishData()
	}
	w.indexPending(nil)
	if len(w.index.rows) > 0 {
		w.finishPartition()
	}
	var f footer
	f.top = w.seal(w.top.finish(w.out))
	f.ranges = w.writeRanges()
	f.properties = w.seal(w.info.appendTo(w.out))
	start := len(w.out)
	w.out = f.append(w.out)
	w.offset += uint64(len(w.out) - start)
	w.toFile()
	if w.err == nil {
		if err := w.file.Sync(); err != nil {
			w.fail(fmt.Errorf("sync table: %w", err))
		}
	}
	if w.err != nil {
		return Info{}, w.err
	}
	w.info.Size = int64(w.offset)
	w.err = errors.New("the table is finished")
	return w.info, nil
}

// writeRanges writes the range deletions and widens the bounds by them.
func (w *Writer) writeRanges() handle {
	if len(w.ranges) == 0 {
		return handle{}
	}
	sortRanges(w.ranges)
	var b blockBuilder
	for i := range w.ranges {
		d := &w.ranges[i]
		if w.info.Entries == 0 && i == 0 || bytes.Compare(d.Lo, w.info.Smallest) < 0 {
			w.info.Smallest = d.Lo
		}
		if bytes.Compare(d.Hi, w.info.Largest) > 0 {
			w.info.Largest = d.Hi
		}
		b.add(d.Lo, d.Seq, entry.KindDelete, d.Hi)
	}
	w.info.Ranges = uint64(len(w.ranges))
	return w.seal(b.finish(w.out))
}

// finishData writes the open data block.
func (w *Writer) finishData() {
	start := len(w.out)
	out := w.data.finish(w.out)
	if w.options.Cache != nil {
		w.options.Cache.Put(w.options.FileNum, w.offset, out[start:])
	}
	w.pending = w.written(w.encoder.sealData(out, start, w.offset))
	w.hasPending = true
	w.data.reset()
}

// indexPending gives the last data block its row in the index, knowing the key that follows it (nil at the end).
func (w *Writer) indexPending(next []byte) {
	if !w.hasPending {
		return
	}
	w.hasPending = false
	var value [20]byte
	w.index.add(separator(w.last, next), 0, entry.KindSet, appendHandle(value[:0], w.pending))
	if len(w.index.rows) >= partitionBlocks {
		w.finishPartition()
	}
}

func (w *Writer) finishPartition() {
	h := w.seal(w.index.finish(appendFilter(w.out, w.hashes, max(w.options.BloomBitsPerKey, 0))))
	w.hashes = w.hashes[:0]
	last := w.index.key(len(w.index.rows) - 1)
	var value [20]byte
	w.top.add(last, 0, entry.KindSet, appendHandle(value[:0], h))
	w.index.reset()
}

// separator returns a short key at or after a and, unless b is nil or equal to a, before b.
func separator(a, b []byte) []byte {
	if n := commonPrefix(a, b) + 1; n < len(b) && n < len(a) {
		return b[:n]
	}
	return a
}

// seal makes a block of the contents that out has beyond w.out.
func (w *Writer) seal(out []byte) handle {
	return w.written(w.encoder.seal(out, len(w.out), w.offset))
}

// written takes over out, which is w.out with one more block, and hands it to the file when there is enough.
func (w *Writer) written(out []byte) handle {
	h := handle{w.offset, uint32(len(out) - len(w.out))}
	w.offset += uint64(h.length)
	w.out = out
	if len(out) >= writeSize {
		w.toFile()
	}
	return h
}

func (w *Writer) toFile() {
	data := w.out
	if w.out = data[:0]; cap(data) > keepBuffer {
		w.out = nil
	}
	if w.err != nil || len(data) == 0 {
		return
	}
	n, err := w.file.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.fail(fmt.Errorf("write table: %w", err))
		return
	}
	w.handed += int64(n)
	if w.handed-w.spread >= spreadSize {
		vfs.StartWriteback(w.file, w.spread, w.handed-w.spread)
		w.spread = w.handed
	}
}

func (w *Writer) fail(err error) error {
	w.err = err
	return err
}
