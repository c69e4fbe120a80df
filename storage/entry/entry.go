// Package entry names what the layers of the engine pass to each other: the kind of a record and the face of an
// internal iterator over records.
//
// A record is (key, sequence number, kind, value). Records are ordered by key ascending and, within one key, by
// sequence number descending, so that the newest record of a key is met first. Sequence numbers are unique within an
// engine, so the order is total. The memtable, the tables and the merging iterator all present this order through
// Iterator.
package entry

// Kind says what a record does to its key. The values are written to log and table files and must not change.
type Kind uint8

const (
	// KindDelete hides every older record of the key; its value is empty.
	KindDelete Kind = 0
	// KindSet gives the key its value.
	KindSet Kind = 1
)

// String returns the kind's name for messages.
func (k Kind) String() string {
	switch k {
	case KindDelete:
		return "delete"
	case KindSet:
		return "set"
	}
	return "unknown"
}

// MaxSeq is the largest sequence number a record can have: 56 bits, which leaves a byte beside it for the kind.
const MaxSeq = 1<<56 - 1

// Iterator walks records in (key ascending, sequence number descending) order. It shows every record, older ones and
// deletions too; hiding them is the work of the layer above.
//
// A positioning call returns whether the iterator stands on a record. After false, Err tells an end (nil) from a
// failure, and the next call must be an absolute one (SeekGE, SeekLT, First or Last). Key and Value are valid until the
// next positioning call or Close. An Iterator belongs to one goroutine.
type Iterator interface {
	// SeekGE moves to the first record whose key is at or after key: the newest record of that key.
	SeekGE(key []byte) bool
	// SeekLT moves to the last record whose key is before key: the oldest record of that key.
	SeekLT(key []byte) bool
	First() bool
	Last() bool
	Next() bool
	Prev() bool
	Key() []byte
	Seq() uint64
	Kind() Kind
	Value() []byte
	Err() error
	Close() error
}
