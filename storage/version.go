package storage

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"

	"kvstore/storage/manifest"
	"kvstore/storage/sstable"
)

// table is an open table of the tree. It lives as long as a version holds it. Its Level is where it was made: a table
// may be moved down as it is, so where it stands is for the version to say.
type table struct {
	manifest.Table
	reader *sstable.Reader
	// refs counts the versions that hold the table. It starts at one, for who made it.
	refs atomic.Int64
	// obsolete says that the manifest no longer names the table: its file goes when its last version does.
	obsolete atomic.Bool
	// clean is the newest range deletion such that the table holds nothing that it or an older one hides from everyone.
	clean uint64
}

// mayHold reports whether key is within the table's bounds.
func (t *table) mayHold(key []byte) bool {
	return bytes.Compare(t.Smallest, key) <= 0 && bytes.Compare(key, t.Largest) <= 0
}

// version is the set of tables at one time. It is immutable.
type version struct {
	// refs counts the read states that hold the version.
	refs atomic.Int64
	// levels holds level 0 newest first, where tables overlap and the newer one's records are newer, and the others in
	// key order without overlap.
	levels [levels][]*table
	// flushed is the last sequence number that the tables hold.
	flushed uint64
	// lost is the ranges of keys of which damage has cost records, or nil.
	lost *lostSet
}

// newVersion returns a version of the tables, holding each once, and one reference to itself.
func newVersion(byLevel [levels][]*table, flushed uint64) *version {
	v := &version{levels: byLevel, flushed: flushed}
	v.refs.Store(1)
	for level, tables := range v.levels {
		if level == 0 {
			slices.SortFunc(tables, func(a, b *table) int { return cmp.Compare(b.MaxSeq, a.MaxSeq) })
		} else {
			slices.SortFunc(tables, func(a, b *table) int { return bytes.Compare(a.Smallest, b.Smallest) })
		}
		for _, t := range tables {
			t.refs.Add(1)
		}
	}
	return v
}

// edited returns the version after a change.
func (v *version) edited(c *change) *version {
	var byLevel [levels][]*table
	for level, tables := range v.levels {
		for _, t := range tables {
			if !slices.Contains(c.edit.Removed, t.Number) {
				byLevel[level] = append(byLevel[level], t)
			}
		}
	}
	for _, t := range c.added {
		byLevel[t.Level] = append(byLevel[t.Level], t)
	}
	if c.moved != nil {
		byLevel[c.movedTo] = append(byLevel[c.movedTo], c.moved)
	}
	next := newVersion(byLevel, max(v.flushed, c.edit.Flushed))
	next.lost = v.lost.edited(&c.edit)
	return next
}

// find returns the one table of a level below 0 that may hold key, or nil.
func (v *version) find(level int, key []byte) *table {
	tables := v.levels[level]
	if i := firstNotBefore(tables, key); i < len(tables) && bytes.Compare(tables[i].Smallest, key) <= 0 {
		return tables[i]
	}
	return nil
}

// firstNotBefore returns the index of the first table whose largest key is at or after key.
func firstNotBefore(tables []*table, key []byte) int {
	low, high := 0, len(tables)
	for low < high {
		if middle := int(uint(low+high) / 2); bytes.Compare(tables[middle].Largest, key) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// all calls do with every table.
func (v *version) all(do func(*table)) {
	for _, tables := range v.levels {
		for _, t := range tables {
			do(t)
		}
	}
}
