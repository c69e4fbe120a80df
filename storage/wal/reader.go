package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"kvstore/storage/corrupt"
	"kvstore/storage/vfs"
)

// Reader reads a log's records in order.
type Reader struct {
	name   string
	number uint64
	tag    uint32
	file   vfs.File
	size   int64
	// offset is where the next record begins; Next leaves it there when that record is damaged.
	offset int64
	buffer []byte
	// window holds the file's bytes from windowAt on, so that small records do not cost two reads each.
	window   []byte
	windowAt int64
}

// windowSize is how much is read at once.
const windowSize = 256 << 10

// Open opens a log for reading. A log whose creation was cut short, shorter than its header or all zero, reads as
// empty.
func Open(fsys vfs.FS, name string) (*Reader, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	r, err := newReader(f, name)
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

func newReader(f vfs.File, name string) (*Reader, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	r := &Reader{name: name, file: f, size: size, offset: HeaderSize}
	if size < HeaderSize {
		r.offset = size
		return r, nil
	}
	zero, err := r.zeroFrom(0)
	if err != nil {
		return nil, err
	}
	if zero {
		r.offset = size
		return r, nil
	}
	var header [HeaderSize]byte
	if err := r.readAt(header[:], 0); err != nil {
		return nil, err
	}
	if r.number, err = parseHeader(header[:], name); err != nil {
		return nil, err
	}
	r.tag = tagOf(r.number)
	return r, nil
}

// Number returns the log's number, 0 for a log whose creation was cut short.
func (r *Reader) Number() uint64 { return r.number }

// Offset returns where the next record begins.
func (r *Reader) Offset() int64 { return r.offset }

// Size returns the file's size.
func (r *Reader) Size() int64 { return r.size }

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Next returns the next record. At the end of the file, or before zeros that reach to it, the error is io.EOF. Where
// the bytes are no whole record it is a *corrupt.Error, and Tail tells what that means.
func (r *Reader) Next() (Record, error) {
	if r.offset >= r.size {
		return Record{}, io.EOF
	}
	record, reason, err := r.recordAt(r.offset)
	if err != nil {
		return Record{}, err
	}
	if reason != "" {
		zero, err := r.zeroFrom(r.offset)
		if err != nil {
			return Record{}, err
		}
		if zero {
			return Record{}, io.EOF
		}
		return Record{}, corrupt.New(r.name, r.offset, "%s", reason)
	}
	r.offset += RecordHeaderSize + int64(len(record.Payload))
	return record, nil
}

// recordAt decodes the record at offset; reason says why there is none, err that reading failed.
func (r *Reader) recordAt(offset int64) (record Record, reason string, err error) {
	if r.size-offset < RecordHeaderSize {
		return Record{}, reasonShort, nil
	}
	r.buffer = resize(r.buffer, RecordHeaderSize)
	if err := r.readAt(r.buffer, offset); err != nil {
		return Record{}, "", err
	}
	if binary.LittleEndian.Uint32(r.buffer[4:]) != r.tag {
		return Record{}, "no record begins here", nil
	}
	length := payloadLength(r.buffer)
	if length > MaxPayload || offset+RecordHeaderSize+length > r.size {
		return Record{}, reasonShort, nil
	}
	r.buffer = resize(r.buffer, RecordHeaderSize+int(length))
	if err := r.readAt(r.buffer[RecordHeaderSize:], offset+RecordHeaderSize); err != nil {
		return Record{}, "", err
	}
	record, reason = unseal(r.buffer, r.tag)
	return record, reason, nil
}

const reasonShort = "the record is cut short"

// Tail describes what lies at and behind the first damaged record.
type Tail struct {
	// Offset is where the damage begins.
	Offset int64
	// Records counts the whole records behind the damage, in this log.
	Records int
	// Durable is the largest durable claim among them.
	Durable uint64
	// Short says that the damaged record runs past the end of the file and nothing follows it.
	Short bool
	// Hole says that zeros end at a page's boundary, or at the end of the file, between the damage and the next whole
	// record.
	Hole bool
}

// Torn reports whether the damage is what a killed process or a loss of power leaves: last is the sequence number of
// the last whole record before it, durable the largest claim of any record behind it, in this log and later ones, and
// followed whether later logs hold records.
//
// Damage that a later claim covers is loss. Without a claim, a hole of zeros is an unsynced page, and a record cut
// short at the end of the last log is a write the process did not finish. Anything else, such as a wrong byte in a
// record with whole ones behind it, no crash leaves.
func (t Tail) Torn(last, durable uint64, followed bool) bool {
	if durable > last || t.Durable > last {
		return false
	}
	if t.Records > 0 {
		return t.Hole
	}
	return !followed || t.Hole || t.Short
}

// page is the unit in which the kernel writes a file's cache back.
const page = 4096

// scanChunk is how much of the file the search behind damage holds in memory at a time.
const scanChunk = 1 << 20

// Tail searches what is behind the damaged record at which Next stopped.
func (r *Reader) Tail() (Tail, error) {
	t := Tail{Offset: r.offset}
	for from := r.offset; from < r.size; {
		at, record, err := r.findRecord(from + 1)
		if err != nil {
			return Tail{}, err
		}
		hole, err := r.holeIn(from, at)
		if err != nil {
			return Tail{}, err
		}
		// Only the gap before the first whole record decides: behind it one damaged record is as good as another.
		if t.Records == 0 {
			t.Hole = hole
		}
		if at == r.size {
			break
		}
		t.Records++
		t.Durable = max(t.Durable, record.Durable)
		// The whole records that follow directly are taken in turn; the search starts again where they end.
		from = at + RecordHeaderSize + int64(len(record.Payload)) - 1
	}
	if t.Records == 0 {
		_, reason, err := r.recordAt(r.offset)
		if err != nil {
			return Tail{}, err
		}
		t.Short = reason == reasonShort
	}
	return t, nil
}

// findRecord returns the first whole record that begins at or after from, or the file's size as its place.
func (r *Reader) findRecord(from int64) (int64, Record, error) {
	var tag [4]byte
	binary.LittleEndian.PutUint32(tag[:], r.tag)
	chunk := make([]byte, min(scanChunk, max(0, r.size-from)))
	for from+RecordHeaderSize <= r.size {
		part := chunk[:min(int64(len(chunk)), r.size-from)]
		if err := r.readAt(part, from); err != nil {
			return 0, Record{}, err
		}
		for i := 4; ; i++ {
			next := bytes.Index(part[min(i, len(part)):], tag[:])
			if next < 0 {
				break
			}
			i += next
			at := from + int64(i) - 4
			record, reason, err := r.recordAt(at)
			if err != nil {
				return 0, Record{}, err
			}
			if reason == "" {
				return at, record, nil
			}
		}
		// The last bytes of the chunk may begin a record whose tag is in the next one.
		from += max(1, int64(len(part))-7)
	}
	return r.size, Record{}, nil
}

// holeIn reports whether zeros end at a page's boundary or at the end of the file within [from, to). A few may be a
// record's own, so eight are asked for.
func (r *Reader) holeIn(from, to int64) (bool, error) {
	const enough = 8
	var zeros, got [enough]byte
	for boundary := (from/page + 1) * page; ; boundary += page {
		end := min(boundary, to)
		if end == to && to != r.size && end != boundary {
			return false, nil
		}
		if end-from >= enough {
			if err := r.readAt(got[:], end-enough); err != nil {
				return false, err
			}
			if got == zeros {
				return true, nil
			}
		}
		if end == to {
			return false, nil
		}
	}
}

// zeroFrom reports whether all bytes from offset to the end are zero.
func (r *Reader) zeroFrom(offset int64) (bool, error) {
	chunk := make([]byte, min(64<<10, max(0, r.size-offset)))
	for offset < r.size {
		part := chunk[:min(int64(len(chunk)), r.size-offset)]
		if err := r.readAt(part, offset); err != nil {
			return false, err
		}
		for _, b := range part {
			if b != 0 {
				return false, nil
			}
		}
		offset += int64(len(part))
	}
	return true, nil
}

func (r *Reader) readAt(p []byte, offset int64) error {
	if len(p) >= windowSize {
		return r.readFile(p, offset)
	}
	if offset < r.windowAt || offset+int64(len(p)) > r.windowAt+int64(len(r.window)) {
		r.window = resize(r.window[:0], int(max(int64(len(p)), min(windowSize, r.size-offset))))
		if err := r.readFile(r.window, offset); err != nil {
			r.window = r.window[:0]
			return err
		}
		r.windowAt = offset
	}
	copy(p, r.window[offset-r.windowAt:])
	return nil
}

func (r *Reader) readFile(p []byte, offset int64) error {
	if n, err := r.file.ReadAt(p, offset); n < len(p) {
		return fmt.Errorf("read log %s at %d: %w", r.name, offset, err)
	}
	return nil
}

func resize(b []byte, n int) []byte {
	if cap(b) < n {
		grown := make([]byte, n)
		copy(grown, b)
		return grown
	}
	return b[:n]
}
