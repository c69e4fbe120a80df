package sstable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// The compressions, as the byte behind a block says them.
const (
	compressNone byte = 0
	compressS2   byte = 1
	compressZstd byte = 2
)

const (
	trailerSize = 9

	// maxBlock bounds what a damaged length can make a reader allocate: the largest value there is, with its key.
	maxBlock = 1 << 30

	// keepBuffer is the size up to which a buffer is kept for the next block; a huge value must not stay in memory.
	keepBuffer = 1 << 20
)

func compressionOf(name string) (byte, error) {
	switch name {
	case "", "s2":
		return compressS2, nil
	case "zstd":
		return compressZstd, nil
	case "none":
		return compressNone, nil
	}
	return 0, fmt.Errorf("unknown compression %q: s2, zstd and none are known", name)
}

// blockSum is the checksum of a block at an offset, so that a block written to another's place is found out.
func blockSum(offset uint64, contentsAndHead []byte) uint32 {
	return crc32.Update(uint32(offset)^uint32(offset>>32), castagnoli(), contentsAndHead)
}

// castagnoli returns the table that crc32 keeps; it is made once by crc32 itself.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encoder compresses and seals blocks.
type encoder struct {
	kind byte
	zstd *zstd.Encoder
	buf  []byte
	// misses counts the data blocks in a row that hardly shrank, and skip those to be left as they are before another is
	// tried.
	misses, skip int
}

const (
	// patience is how many data blocks in a row must hardly shrink before some are left untried. Keys are spread by a
	// hash, so neighbouring blocks are alike; but where a block is one value, a few unlike ones come together by chance.
	patience = 4
	// maxSkip bounds how many blocks are left untried: a table whose second half compresses still does.
	maxSkip = 32
)

func newEncoder(compression string) (*encoder, error) {
	kind, err := compressionOf(compression)
	if err != nil {
		return nil, err
	}
	e := &encoder{kind: kind}
	if kind == compressZstd {
		e.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, fmt.Errorf("make a zstd encoder: %w", err)
		}
	}
	return e, nil
}

// seal makes the contents at dst[start:] a block of the file at an offset, in place. Contents that hardly shrink stay as they
// are.
func (e *encoder) seal(dst []byte, start int, offset uint64) []byte {
	raw := dst[start:]
	length, kind := len(raw), compressNone
	if e.kind != compressNone {
		if out := e.compress(raw); len(out) <= length-length/8 {
			dst, kind = append(dst[:start], out...), e.kind
		}
	}
	dst = append(dst, kind)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(length))
	return binary.LittleEndian.AppendUint32(dst, blockSum(offset, dst[start:]))
}

// sealData is seal for data blocks, of which there are many: when they do not shrink, most are not tried.
func (e *encoder) sealData(dst []byte, start int, offset uint64) []byte {
	kind := e.kind
	if e.skip > 0 {
		e.skip--
		e.kind = compressNone
	}
	tried, length := e.kind != compressNone, len(dst)-start
	dst = e.seal(dst, start, offset)
	e.kind = kind
	if tried {
		if len(dst)-start < length+trailerSize {
			e.misses = 0
		} else if e.misses++; e.misses >= patience {
			e.skip = min(maxSkip, 1<<min(e.misses-patience, 16))
		}
	}
	return dst
}

// compress returns raw compressed, valid until the next call.
func (e *encoder) compress(raw []byte) []byte {
	out := e.buf[:0]
	if e.kind == compressZstd {
		out = e.zstd.EncodeAll(raw, out)
	} else {
		if need := s2.MaxEncodedLen(len(raw)); cap(out) < need {
			out = make([]byte, 0, need)
		}
		out = s2.Encode(out[:cap(out)], raw)
	}
	if e.buf = out[:0]; cap(out) > keepBuffer {
		e.buf = nil
	}
	return out
}

// unseal verifies the bytes of a block and returns its stored contents, its compression and its length.
func unseal(offset uint64, sealed []byte) (stored []byte, kind byte, length int, err error) {
	n := len(sealed) - trailerSize
	if n < 0 {
		return nil, 0, 0, errors.New("a block shorter than its trailer")
	}
	if binary.LittleEndian.Uint32(sealed[n+5:]) != blockSum(offset, sealed[:n+5]) {
		return nil, 0, 0, errors.New("the checksum does not match")
	}
	kind, length = sealed[n], int(binary.LittleEndian.Uint32(sealed[n+1:]))
	if length > maxBlock || kind == compressNone && length != n {
		return nil, 0, 0, fmt.Errorf("a length of %d cannot be", length)
	}
	return sealed[:n], kind, length, nil
}

// Decoder decompresses blocks of all readers that share it. The zero Decoder is ready; it makes what zstd needs when the
// first such block comes.
type Decoder struct {
	once sync.Once
	zstd *zstd.Decoder
	err  error
}

// Close frees the decoder's memory. No reader may use it any more.
func (d *Decoder) Close() {
	d.once.Do(func() { d.err = errors.New("the decoder is closed") })
	if d.zstd != nil {
		d.zstd.Close()
	}
}

// decode fills dst, which has the length of the contents.
func (d *Decoder) decode(dst, stored []byte, kind byte) error {
	switch kind {
	case compressNone:
		copy(dst, stored)
		return nil
	case compressS2:
		if n, err := s2.DecodedLen(stored); err != nil || n != len(dst) {
			return errors.New("the compressed length does not match")
		}
		if _, err := s2.Decode(dst, stored); err != nil {
			return fmt.Errorf("s2: %w", err)
		}
		return nil
	case compressZstd:
		return d.decodeZstd(dst, stored)
	}
	return fmt.Errorf("compression %d is unknown", kind)
}

func (d *Decoder) decodeZstd(dst, stored []byte) error {
	d.once.Do(func() {
		d.zstd, d.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxBlock))
	})
	if d.err != nil {
		return fmt.Errorf("make a zstd decoder: %w", d.err)
	}
	out, err := d.zstd.DecodeAll(stored, dst[:0:len(dst)])
	if err != nil {
		return fmt.Errorf("zstd: %w", err)
	}
	if len(out) != len(dst) {
		return errors.New("the compressed length does not match")
	}
	if len(out) > 0 && &out[0] != &dst[0] {
		copy(dst, out)
	}
	return nil
}
