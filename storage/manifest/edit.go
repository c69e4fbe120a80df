// Package manifest records which tables make up the engine's tree, in which levels, and from which log on recovery
// replays.
//
// The state is a sum of edits, each durable before it takes effect, in a record log (package wal) named
// MANIFEST-number. The file CURRENT holds that name and is replaced atomically, so the switch to a fresh, shorter
// manifest happens at once or not at all.
//
// Range deletions live here and not in tables: they are rare, they apply to the whole tree, and one that covers whole
// files removes them without reading. An edit adds one when the memtable it fell into is flushed, and removes it when
// no table holds anything older under it.
//
// An edit's payload is a run of fields, each a tag byte and the values below; integers are uvarints, byte strings have
// a uvarint length before them:
//
//	1 next      the next unused file number
//	2 log       the first log that recovery must replay
//	3 flushed   the last sequence number that tables hold
//	4 add       level, number, size, min seq, max seq, entries, deletes, smallest key, largest key
//	5 remove    number
//	6 range     sequence number, lower bound, upper bound
//	7 unrange   sequence number
//	8 sums      what the edit changes the sums of leaves by, as package sum encodes it, with its length before
//	9 exact     first leaf, and the leaf behind the last, whose sums are exact from here on
//	10 inexact  first leaf, and the leaf behind the last, whose sums are not known from here on
//	16 mark     id, sequence number, lower bound, upper bound: a range of keys that damage has cost records
//	17 unmark   id
//	18 repaired 1: the store was repaired and may have lost writes; 2: its user knows
//
// For example 02 03 05 07 reads: replay from log 3, table 7 is gone.
package manifest

import (
	"encoding/binary"
	"errors"

	"kvstore/storage/sum"
)

// Levels is the number of levels of the tree.
const Levels = 7

// Table describes one table of the tree.
type Table struct {
	Number uint64
	Level  int
	// Size is in bytes.
	Size int64
	// MinSeq and MaxSeq bound the records' sequence numbers.
	MinSeq, MaxSeq uint64
	// Entries counts the records, Deletes the deletions among them.
	Entries, Deletes uint64
	// Smallest and Largest are the first and the last key.
	Smallest, Largest []byte
}

// Range is a range deletion: it hides records of the keys from Lo up to and without Hi whose sequence number is below
// Seq.
type Range struct {
	Seq    uint64
	Lo, Hi []byte
}

// Edit is one change of the state. A zero number leaves the state's as it is.
type Edit struct {
	Next, Log, Flushed uint64
	Added              []Table
	Removed            []uint64
	Ranges             []Range
	Unranged           []uint64
	Marks              []Mark
	Unmarked           []uint64
	Repair             Repair
	// Sums is what the edit changes the sums of leaves by; nil is nothing.
	Sums *sum.Leaves
	// Exact and Inexact are the leaves whose sums are known to be right from here on, or not to be.
	Exact, Inexact sum.Set
}

const (
	tagNext byte = iota + 1
	tagLog
	tagFlushed
	tagAdd
	tagRemove
	tagRange
	tagUnrange
	tagSums
	tagExact
	tagInexact
)

// Append appends the edit's encoding to dst.
func (e *Edit) Append(dst []byte) []byte {
	for i, n := range [...]uint64{e.Next, e.Log, e.Flushed} {
		if n != 0 {
			dst = binary.AppendUvarint(append(dst, tagNext+byte(i)), n)
		}
	}
	for i := range e.Added {
		dst = e.Added[i].append(append(dst, tagAdd))
	}
	for _, n := range e.Removed {
		dst = binary.AppendUvarint(append(dst, tagRemove), n)
	}
	for _, r := range e.Ranges {
		dst = binary.AppendUvarint(append(dst, tagRange), r.Seq)
		dst = appendBytes(appendBytes(dst, r.Lo), r.Hi)
	}
	for _, n := range e.Unranged {
		dst = binary.AppendUvarint(append(dst, tagUnrange), n)
	}
	if e.Sums != nil {
		dst = appendBytes(append(dst, tagSums), e.Sums.Append(nil))
	}
	dst = appendLeaves(appendLeaves(dst, tagExact, e.Exact), tagInexact, e.Inexact)
	return e.appendDamage(dst)
}

func appendLeaves(dst []byte, tag byte, s sum.Set) []byte {
	for _, r := range s {
		dst = binary.AppendUvarint(append(dst, tag), uint64(r.Lo))
		dst = binary.AppendUvarint(dst, uint64(r.Hi))
	}
	return dst
}

func (t *Table) append(dst []byte) []byte {
	for _, n := range [...]uint64{uint64(t.Level), t.Number, uint64(t.Size), t.MinSeq, t.MaxSeq, t.Entries, t.Deletes} {
		dst = binary.AppendUvarint(dst, n)
	}
	return appendBytes(appendBytes(dst, t.Smallest), t.Largest)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// Decode decodes an edit; its byte strings are copies.
func Decode(payload []byte) (Edit, error) {
	d := decoder{rest: payload}
	var e Edit
	for len(d.rest) > 0 && !d.failed {
		tag := d.rest[0]
		d.rest = d.rest[1:]
		switch tag {
		case tagNext:
			e.Next = d.uvarint()
		case tagLog:
			e.Log = d.uvarint()
		case tagFlushed:
			e.Flushed = d.uvarint()
		case tagAdd:
			e.Added = append(e.Added, d.table())
		case tagRemove:
			e.Removed = append(e.Removed, d.uvarint())
		case tagRange:
			e.Ranges = append(e.Ranges, Range{Seq: d.uvarint(), Lo: d.bytes(), Hi: d.bytes()})
		case tagUnrange:
			e.Unranged = append(e.Unranged, d.uvarint())
		case tagSums:
			e.Sums = d.sums()
		case tagExact:
			e.Exact = append(e.Exact, d.leaves())
		case tagInexact:
			e.Inexact = append(e.Inexact, d.leaves())
		default:
			d.failed = d.failed || !e.decodeDamage(tag, &d)
		}
	}
	if d.failed {
		return Edit{}, errors.New("the edit does not decode")
	}
	return e, nil
}

// decoder takes values off the front of rest; after a failure it returns zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.failed, d.rest = true, nil
		return nil
	}
	b := append([]byte{}, d.rest[:n]...)
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) sums() *sum.Leaves {
	l, err := sum.Decode(d.bytes())
	if err != nil {
		d.failed = true
	}
	return l
}

func (d *decoder) leaves() sum.Range {
	lo, hi := d.uvarint(), d.uvarint()
	if lo >= hi || hi > sum.Count {
		d.failed = true
		return sum.Range{}
	}
	return sum.Range{Lo: uint32(lo), Hi: uint32(hi)}
}

func (d *decoder) table() Table {
	var n [7]uint64
	for i := range n {
		n[i] = d.uvarint()
	}
	t := Table{
		Level: int(n[0]), Number: n[1], Size: int64(n[2]), MinSeq: n[3], MaxSeq: n[4], Entries: n[5], Deletes: n[6],
		Smallest: d.bytes(), Largest: d.bytes(),
	}
	if n[0] >= Levels || t.Size < 0 {
		d.failed = true
	}
	return t
}
