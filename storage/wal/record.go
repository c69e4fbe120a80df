package wal

import (
	"encoding/binary"
	"hash/crc32"

	"kvstore/storage/corrupt"
)

const (
	// HeaderSize is the length of a log's header.
	HeaderSize = 32
	// RecordHeaderSize is the length of what precedes a record's payload.
	RecordHeaderSize = 32
	// MaxPayload bounds a record's payload, so that the length field and 32-bit machines' sizes hold it.
	MaxPayload = 1<<31 - 1

	magic        = "kvlog\x00\x00\x01"
	magicVersion = len(magic) - 1
)

func castagnoli() *crc32.Table {
	// MakeTable answers this polynomial with the package's own table, made once.
	return crc32.MakeTable(crc32.Castagnoli)
}

// Record is one decoded record.
type Record struct {
	// Format is the payload's format, the caller's to interpret.
	Format uint8
	// First is the sequence number of the payload's first operation.
	First uint64
	// Durable is the last sequence number that was safe from a loss of power when the record was written.
	Durable uint64
	// Payload is valid until the Reader's next call.
	Payload []byte
}

// Begin appends room for a record's header to dst. The payload is appended behind it by the caller, and Writer.Write
// fills the header in, so that a record leaves in one write without being copied.
func Begin(dst []byte) []byte {
	var room [RecordHeaderSize]byte
	return append(dst, room[:]...)
}

// tagOf spreads the log's number over the tag's bits; that it is never zero keeps it from matching zeroed space.
func tagOf(number uint64) uint32 {
	return uint32((number*0x9e3779b97f4a7c15)>>32) | 1
}

// seal fills in the header of record, whose payload begins at RecordHeaderSize.
func seal(record []byte, tag uint32, format uint8, first, durable uint64) {
	binary.LittleEndian.PutUint32(record[4:], tag)
	binary.LittleEndian.PutUint32(record[8:], uint32(len(record)-RecordHeaderSize))
	binary.LittleEndian.PutUint32(record[12:], uint32(format))
	binary.LittleEndian.PutUint64(record[16:], first)
	binary.LittleEndian.PutUint64(record[24:], durable)
	binary.LittleEndian.PutUint32(record, crc32.Checksum(record[4:], castagnoli()))
}

// payloadLength reads a record header's length field.
func payloadLength(header []byte) int64 {
	return int64(binary.LittleEndian.Uint32(header[8:]))
}

// unseal decodes record, header and payload, or says what does not hold.
func unseal(record []byte, tag uint32) (Record, string) {
	if binary.LittleEndian.Uint32(record[4:]) != tag {
		return Record{}, "no record begins here"
	}
	if binary.LittleEndian.Uint32(record) != crc32.Checksum(record[4:], castagnoli()) {
		return Record{}, "the record's checksum does not match"
	}
	return Record{
		Format:  record[12],
		First:   binary.LittleEndian.Uint64(record[16:]),
		Durable: binary.LittleEndian.Uint64(record[24:]),
		Payload: record[RecordHeaderSize:],
	}, ""
}

func appendHeader(dst []byte, number uint64) []byte {
	from := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint64(dst, number)
	dst = append(dst, make([]byte, 12)...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli()))
}

// parseHeader returns the log's number.
func parseHeader(header []byte, name string) (uint64, error) {
	if string(header[:magicVersion]) != magic[:magicVersion] {
		return 0, corrupt.New(name, 0, "this is not a log")
	}
	if header[magicVersion] != magic[magicVersion] {
		return 0, corrupt.New(name, 0, "the log has format %d, this program reads format %d", header[magicVersion], magic[magicVersion])
	}
	if binary.LittleEndian.Uint32(header[28:]) != crc32.Checksum(header[:28], castagnoli()) {
		return 0, corrupt.New(name, 0, "the header's checksum does not match")
	}
	return binary.LittleEndian.Uint64(header[8:]), nil
}
