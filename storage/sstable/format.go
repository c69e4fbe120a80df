package sstable

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"kvstore/storage/entry"
)

const (
	formatVersion = 1
	magic         = "kvstable"
	footerSize    = 52
)

// handle says where a block with its trailer lies.
type handle struct {
	offset uint64
	length uint32
}

func appendHandle(dst []byte, h handle) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, h.offset), uint64(h.length))
}

// parseHandle reads a handle that lies before end.
func parseHandle(data []byte, end uint64) (h handle, ok bool) {
	offset, n := binary.Uvarint(data)
	if n <= 0 {
		return h, false
	}
	length, m := binary.Uvarint(data[n:])
	if m <= 0 || n+m != len(data) {
		return h, false
	}
	h = handle{offset, uint32(length)}
	return h, uint64(h.length) == length && h.within(end)
}

func (h handle) within(end uint64) bool {
	return h.length >= trailerSize && h.offset <= end && uint64(h.length) <= end-h.offset
}

type footer struct {
	properties, top, ranges handle
}

func (f *footer) append(dst []byte) []byte {
	start := len(dst)
	for _, h := range []handle{f.properties, f.top, f.ranges} {
		dst = binary.LittleEndian.AppendUint64(dst, h.offset)
		dst = binary.LittleEndian.AppendUint32(dst, h.length)
	}
	dst = binary.LittleEndian.AppendUint32(dst, formatVersion)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli()))
	return append(dst, magic...)
}

// parse returns why data is not a footer, or "".
func (f *footer) parse(data []byte, end uint64) string {
	if string(data[44:]) != magic {
		return "not a table: the magic is missing"
	}
	if binary.LittleEndian.Uint32(data[40:]) != crc32.Checksum(data[:40], castagnoli()) {
		return "the footer's checksum does not match"
	}
	if v := binary.LittleEndian.Uint32(data[36:]); v != formatVersion {
		return "the format version is unknown"
	}
	for i, h := range []*handle{&f.properties, &f.top, &f.ranges} {
		h.offset = binary.LittleEndian.Uint64(data[12*i:])
		h.length = binary.LittleEndian.Uint32(data[12*i+8:])
		if !h.within(end) && !(i == 2 && h.length == 0) {
			return "the footer points outside the file"
		}
	}
	return ""
}

// Info describes a finished table.
type Info struct {
	// Size is the length of the file in bytes.
	Size int64
	// Smallest and Largest bound all keys and ranges. The upper bound of a range, which it does not include, counts.
	Smallest, Largest []byte
	// MinSeq and MaxSeq bound the sequence numbers of records and ranges.
	MinSeq, MaxSeq uint64
	// Entries counts records, Deletes the deletions among them. Ranges counts range deletions.
	Entries, Deletes, Ranges uint64
}

// RangeDel hides the records with Lo <= key < Hi and a sequence number below Seq.
type RangeDel struct {
	Lo, Hi []byte
	Seq    uint64
}

// Covers reports whether the range deletion hides a record.
func (d *RangeDel) Covers(key []byte, seq uint64) bool {
	return seq < d.Seq && bytes.Compare(d.Lo, key) <= 0 && bytes.Compare(key, d.Hi) < 0
}

// sortRanges orders range deletions as records are.
func sortRanges(ranges []RangeDel) {
	slices.SortFunc(ranges, func(a, b RangeDel) int {
		if c := bytes.Compare(a.Lo, b.Lo); c != 0 {
			return c
		}
		return cmp.Compare(b.Seq, a.Seq)
	})
}

func (i *Info) appendTo(dst []byte) []byte {
	for _, x := range []uint64{i.Entries, i.Deletes, i.Ranges, i.MinSeq, i.MaxSeq} {
		dst = binary.AppendUvarint(dst, x)
	}
	for _, key := range [][]byte{i.Smallest, i.Largest} {
		dst = binary.AppendUvarint(dst, uint64(len(key)))
		dst = append(dst, key...)
	}
	return dst
}

func (i *Info) parse(data []byte) bool {
	for _, x := range []*uint64{&i.Entries, &i.Deletes, &i.Ranges, &i.MinSeq, &i.MaxSeq} {
		v, n := binary.Uvarint(data)
		if n <= 0 {
			return false
		}
		*x, data = v, data[n:]
	}
	for _, key := range []*[]byte{&i.Smallest, &i.Largest} {
		v, n := binary.Uvarint(data)
		if n <= 0 || v > uint64(len(data)-n) {
			return false
		}
		*key, data = bytes.Clone(data[n:n+int(v)]), data[n+int(v):]
	}
	return len(data) == 0 && i.MaxSeq <= entry.MaxSeq
}
