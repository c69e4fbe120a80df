package storage

import (
	"fmt"

	"kvstore/storage/entry"
	"kvstore/storage/sstable"
)

const kindSet = entry.KindSet

// record is the newest record of a key; its sequence number is 0 when there is none.
type record struct {
	value []byte
	kind  entry.Kind
	seq   uint64
}

// newest finds the newest record of key as of seq, its sequence number included, which the usual way of a read has no
// use for. The value is appended to dst.
func (s *readState) newest(dst, key []byte, seq uint64, io bool) (r record, ready bool, err error) {
	if v, kind, at, ok := s.active.table.Get(key, seq); ok {
		return record{append(dst, v...), kind, at}, true, nil
	}
	for _, m := range s.immutable {
		if v, kind, at, ok := m.table.Get(key, seq); ok {
			return record{append(dst, v...), kind, at}, true, nil
		}
	}
	probe := sstable.NewProbe(key)
	for level, tables := range s.version.levels {
		if level > 0 {
			tables = nil
			if t := s.version.find(level, key); t != nil {
				tables = []*table{t}
			}
		}
		for _, t := range tables {
			if t.reader.TurnsAway(probe) || !t.mayHold(key) {
				continue
			}
			r, found, ready, err := t.newest(dst, key, seq, io)
			if found || !ready || err != nil {
				s.db.noticeDamage(err)
				return r, ready, err
			}
		}
	}
	return record{value: dst}, true, nil
}

// newest is get that tells the record's sequence number.
func (t *table) newest(dst, key []byte, seq uint64, io bool) (r record, found, ready bool, err error) {
	ready = true
	if io {
		r.value, r.kind, r.seq, found, err = t.reader.Get(dst, key, seq)
	} else {
		r.value, r.kind, r.seq, found, ready, err = t.reader.TryGet(dst, key, seq)
	}
	if err != nil {
		return record{value: dst}, false, ready, fmt.Errorf("get: %w", err)
	}
	return r, found, ready, nil
}
