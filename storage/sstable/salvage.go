package sstable

import (
	"bytes"
	"errors"
	"slices"

	"kvstore/storage/corrupt"
	"kvstore/storage/entry"
)

// Lost is a stretch of a table that cannot be read: the keys from Lo up to and without Hi may have had records there.
type Lost struct {
	Damage *corrupt.Error
	Lo, Hi []byte
}

// Salvage walks what can be read of a damaged table, front to back and past the cache; only First and Next are for use.
// Lost has what was passed over so far.
type Salvage struct {
	Iter
	Lost []Lost
}

// NewSalvage returns a walk of what can be read of the table.
func (r *Reader) NewSalvage() *Salvage {
	s := &Salvage{Iter: Iter{r: r, inTop: -1}}
	s.scan = &scan{r: r}
	return s
}

// First implements entry.Iterator.
func (s *Salvage) First() bool { return s.r.top.n > 0 && s.from(0, 0) }

// Next implements entry.Iterator.
func (s *Salvage) Next() bool {
	if s.err != nil {
		return false
	}
	if s.inData+1 < s.data.n && s.standIn(s.inData+1) {
		return true
	}
	return s.err == nil && s.from(s.inTop, s.inPart+1)
}

// from stands on the first record that can be read at or after a data block of a partition.
func (s *Salvage) from(top, part int) bool {
	for ; top < s.r.top.n; top, part = top+1, 0 {
		if !s.try(s.loadPartition(top), top, -1) {
			if s.err != nil {
				return false
			}
			continue
		}
		for ; part < s.part.index.n; part++ {
			if s.try(s.loadData(part), top, part) && s.standIn(0) {
				return true
			}
			if s.err != nil {
				return false
			}
		}
	}
	return false
}

// standIn stands on a row of the present block. A row that cannot be read, or is not in order, takes the rest of the
// block with it.
func (s *Salvage) standIn(at int) bool {
	before, seq := bytes.Clone(s.key), s.row.seq
	ordered := s.inTop >= 0 && at > 0
	if !s.stand(at) {
		s.try(false, s.inTop, s.inPart)
		return false
	}
	if c := bytes.Compare(before, s.key); ordered && (c > 0 || c == 0 && seq <= s.row.seq) {
		s.try(s.damage(s.dataAt, "records are not in order"), s.inTop, s.inPart)
		return false
	}
	return true
}

// try passes ok on. If it is false for damage, the stretch is noted as lost and the error forgotten.
func (s *Salvage) try(ok bool, top, part int) bool {
	if ok {
		return true
	}
	damage, is := damageOf(s.err)
	if !is {
		return false
	}
	s.err = nil
	lo, hi := s.r.stretch(top, part, &s.part.index)
	s.Lost = append(s.Lost, Lost{damage, lo, hi})
	return false
}

// stretch returns the bounds of the keys in a data block, or with part -1 in a partition. The versions of a separator
// that is a key may go on behind it, so that each bound counts for both sides.
func (r *Reader) stretch(top, part int, index *block) (lo, hi []byte) {
	lo, hi = r.info.Smallest, r.info.Largest
	if top > 0 {
		lo = separatorAt(&r.top, top-1, lo)
	}
	if part > 0 {
		lo = separatorAt(index, part-1, lo)
	}
	if end := separatorAt(&r.top, top, hi); bytes.Compare(end, hi) < 0 {
		hi = end
	}
	if part >= 0 {
		if end := separatorAt(index, part, hi); bytes.Compare(end, hi) < 0 {
			hi = end
		}
	}
	return bytes.Clone(lo), append(bytes.Clone(hi), 0)
}

// separatorAt returns the key of an index row, or another when it cannot be read.
func separatorAt(index *block, at int, or []byte) []byte {
	v, ok := index.row(at)
	if !ok {
		return or
	}
	return slices.Concat(index.prefix, v.suffix)
}

var _ entry.Iterator = (*Salvage)(nil)

// damageOf returns the damage that an error reports, if it does.
func damageOf(err error) (*corrupt.Error, bool) { return errors.AsType[*corrupt.Error](err) }
