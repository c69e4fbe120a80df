package storage

import (
	"bytes"

	"kvstore/storage/entry"
	"kvstore/storage/sstable"
)

// levelIter shows the records of tables that follow each other without overlap, opening one at a time.
type levelIter struct {
	tables []*table
	// scan says that everything will be read once, and not through the cache.
	scan bool
	// at is the open table's index; it is nil when none is.
	at  int
	it  entry.Iterator
	err error
	// own is the open table's iterator unless it is a scan.
	own sstable.Iter
}

var _ entry.Iterator = (*levelIter)(nil)

// open goes to the table at index i, which may be past either end, and reports whether there is one.
func (l *levelIter) open(i int) bool {
	if l.it != nil && l.at == i {
		return true
	}
	if l.err = l.Close(); l.err != nil || i < 0 || i >= len(l.tables) {
		return false
	}
	l.at = i
	if l.scan {
		l.it = l.tables[i].reader.NewScanIter()
	} else {
		l.own.Reset(l.tables[i].reader)
		l.it = &l.own
	}
	return true
}

// SeekGE implements entry.Iterator.
func (l *levelIter) SeekGE(key []byte) bool {
	return l.open(firstNotBefore(l.tables, key)) && l.onward(l.it.SeekGE(key))
}

// SeekLT implements entry.Iterator.
func (l *levelIter) SeekLT(key []byte) bool {
	i := firstNotBefore(l.tables, key)
	if i == len(l.tables) {
		return l.open(i-1) && l.back(l.it.SeekLT(key))
	}
	return l.open(i) && l.back(l.it.SeekLT(key))
}

// First implements entry.Iterator.
func (l *levelIter) First() bool { return l.open(0) && l.onward(l.it.First()) }

// Last implements entry.Iterator.
func (l *levelIter) Last() bool { return l.open(len(l.tables)-1) && l.back(l.it.Last()) }

// Next implements entry.Iterator.
func (l *levelIter) Next() bool { return l.onward(l.it.Next()) }

// Prev implements entry.Iterator.
func (l *levelIter) Prev() bool { return l.back(l.it.Prev()) }

// onward goes on to later tables until one has a record; ok says that the open one has.
func (l *levelIter) onward(ok bool) bool {
	for !ok {
		if l.err = l.it.Err(); l.err != nil || !l.open(l.at+1) {
			return false
		}
		ok = l.it.First()
	}
	return true
}

// back goes on to earlier tables until one has a record.
func (l *levelIter) back(ok bool) bool {
	for !ok {
		if l.err = l.it.Err(); l.err != nil || !l.open(l.at-1) {
			return false
		}
		ok = l.it.Last()
	}
	return true
}

// Key implements entry.Iterator.
func (l *levelIter) Key() []byte { return l.it.Key() }

// Seq implements entry.Iterator.
func (l *levelIter) Seq() uint64 { return l.it.Seq() }

// Kind implements entry.Iterator.
func (l *levelIter) Kind() entry.Kind { return l.it.Kind() }

// Value implements entry.Iterator.
func (l *levelIter) Value() []byte { return l.it.Value() }

// Err implements entry.Iterator.
func (l *levelIter) Err() error { return l.err }

// Close implements entry.Iterator.
func (l *levelIter) Close() error {
	if l.it == nil {
		return nil
	}
	err := l.it.Close()
	l.it = nil
	return err
}

// within returns those of a level's tables, below 0, that may hold keys from lower up to and without upper, of which
// nil is no bound.
func within(tables []*table, lower, upper []byte) []*table {
	if lower != nil {
		tables = tables[firstNotBefore(tables, lower):]
	}
	if upper == nil {
		return tables
	}
	n := firstNotBefore(tables, upper)
	if n < len(tables) && bytes.Compare(tables[n].Smallest, upper) < 0 {
		n++
	}
	return tables[:n]
}
