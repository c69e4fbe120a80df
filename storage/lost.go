package storage

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"kvstore/storage/corrupt"
	"kvstore/storage/manifest"
)

// Range is the keys from Lo up to and without Hi.
type Range struct{ Lo, Hi []byte }

// lostSet is the ranges of keys of which damage has cost records. What is found of such a key counts only if it is newer
// than everything that was lost; otherwise the answer is a *CorruptError, never an older value and never an absent key.
// It is immutable, and nil when nothing is lost.
type lostSet struct {
	all []manifest.Mark
	// over[i] is the newest sequence number that may be lost of the keys of the i-th fragment, 0 for none.
	cuts fragments
	over []uint64
}

func newLostSet(all []manifest.Mark) *lostSet {
	if len(all) == 0 {
		return nil
	}
	s := &lostSet{all: all}
	for _, m := range all {
		s.cuts = append(s.cuts, m.Lo, m.Hi)
	}
	s.cuts = newFragments(s.cuts)
	s.over = make([]uint64, len(s.cuts))
	for _, m := range all {
		for i, end := s.cuts.of(m.Lo, m.Hi); i < end; i++ {
			s.over[i] = max(s.over[i], m.Seq)
		}
	}
	return s
}

// list returns the marks in the order in which they were made.
func (s *lostSet) list() []manifest.Mark {
	if s == nil {
		return nil
	}
	return s.all
}

// edited returns the set after an edit.
func (s *lostSet) edited(e *manifest.Edit) *lostSet {
	if len(e.Marks) == 0 && len(e.Unmarked) == 0 {
		return s
	}
	all := slices.DeleteFunc(slices.Clone(s.list()), func(m manifest.Mark) bool { return slices.Contains(e.Unmarked, m.ID) })
	return newLostSet(append(all, e.Marks...))
}

// of returns the newest sequence number that may be lost of key, 0 when none is.
func (s *lostSet) of(key []byte) uint64 {
	if s == nil {
		return 0
	}
	if i := s.cuts.at(key); i >= 0 {
		return s.over[i]
	}
	return 0
}

// within reports whether records may be lost of keys from lo up to hi, which counts only when closed. A nil lo is before
// every key, a nil hi behind.
func (s *lostSet) within(lo, hi []byte, closed bool) bool {
	if s == nil {
		return false
	}
	for i := max(0, s.cuts.at(lo)); i < len(s.cuts); i++ {
		if hi != nil {
			if c := bytes.Compare(s.cuts[i], hi); c > 0 || c == 0 && !closed {
				return false
			}
		}
		if s.over[i] != 0 {
			return true
		}
	}
	return false
}

// lostError is the answer where what was stored is lost.
func (d *DB) lostError() error {
	return corrupt.New(d.name(QuarantineName), 0,
		"what was stored here was damaged and has been moved aside; it is served again once it has been refilled from other replicas")
}

// getAmid is get for a key of which records up to the sequence number lost may be missing.
func (s *readState) getAmid(dst, key []byte, seq, deleted, lost uint64, io bool) (value []byte, found, ready bool, err error) {
	n, ready, err := s.newest(dst, key, seq, io)
	switch {
	case !ready || err != nil:
		return dst, false, ready, err
	case n.seq <= lost:
		return dst, false, true, s.db.lostError()
	case n.kind != kindSet || n.seq < deleted:
		return dst, false, true, nil
	}
	return n.value, true, true, nil
}

// Lost returns the ranges of keys of which records are lost to damage: reads of them fail with a *CorruptError unless
// they meet something newer. They stay until Refilled.
func (d *DB) Lost() []Range {
	s := d.acquire()
	if s == nil {
		return nil
	}
	defer s.release()
	var ranges []Range
	l := s.version.lost
	if l == nil {
		return nil
	}
	for i, over := range l.over {
		if over == 0 {
			continue
		}
		if n := len(ranges) - 1; n >= 0 && bytes.Equal(ranges[n].Hi, l.cuts[i]) {
			ranges[n].Hi = l.cuts[i+1]
			continue
		}
		ranges = append(ranges, Range{l.cuts[i], l.cuts[i+1]})
	}
	return ranges
}

// Refilled forgets that records of the keys from lo up to and without hi were lost: whoever calls it has stored again
// what others had of them. It is durable when it returns.
func (d *DB) Refilled(lo, hi []byte) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.background.Done()
	err := d.editMarks(func(marks map[uint64]manifest.Mark, e *manifest.Edit) {
		for _, m := range sorted(marks) {
			if bytes.Compare(m.Lo, hi) >= 0 || bytes.Compare(lo, m.Hi) >= 0 {
				continue
			}
			e.Unmarked = append(e.Unmarked, m.ID)
			if bytes.Compare(m.Lo, lo) < 0 {
				e.Marks = append(e.Marks, d.mark(m.Lo, lo, m.Seq))
			}
			if bytes.Compare(hi, m.Hi) < 0 {
				e.Marks = append(e.Marks, d.mark(hi, m.Hi, m.Seq))
			}
		}
	})
	if err != nil {
		return fmt.Errorf("note a refilled range: %w", err)
	}
	return nil
}

func sorted(marks map[uint64]manifest.Mark) []manifest.Mark {
	var all []manifest.Mark
	for _, id := range slices.Sorted(maps.Keys(marks)) {
		all = append(all, marks[id])
	}
	return all
}

// mark returns a mark with an id of its own.
func (d *DB) mark(lo, hi []byte, seq uint64) manifest.Mark {
	return manifest.Mark{ID: d.nextFile.Add(1) - 1, Seq: seq, Lo: bytes.Clone(lo), Hi: bytes.Clone(hi)}
}

// editMarks applies the edit that edit makes of the present marks, unless it stays empty.
func (d *DB) editMarks(edit func(map[uint64]manifest.Mark, *manifest.Edit)) error {
	return d.applyMade(func() change {
		var c change
		edit(d.tree.sum.Marks, &c.edit)
		return c
	})
}

// Repaired reports whether the store was repaired offline, or lost its manifest, since AcknowledgeRepair: writes that
// others have seen may be missing, so its owner must not continue its own history of writes.
func (d *DB) Repaired() bool {
	d.tree.token.take()
	defer d.tree.token.put()
	return d.tree.sum.Repaired
}

// NoteRepair durably makes Repaired true.
func (d *DB) NoteRepair() error { return d.setRepair(manifest.Mended) }

// AcknowledgeRepair durably ends Repaired.
func (d *DB) AcknowledgeRepair() error { return d.setRepair(manifest.Known) }

func (d *DB) setRepair(r manifest.Repair) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.background.Done()
	err := d.applyMade(func() change { return change{edit: manifest.Edit{Repair: r}} })
	if err != nil {
		return fmt.Errorf("note the repair: %w", err)
	}
	return nil
}

// GetLeft is Get that also returns what is left of a key of which newer records may be lost. It is for those who merge
// it with what others have.
func (d *DB) GetLeft(dst, key []byte) (value []byte, found bool, err error) {
	s := d.acquire()
	if s == nil {
		return dst, false, ErrClosed
	}
	defer s.release()
	seq := d.visible.Load()
	n, _, err := s.newest(dst, key, seq, true)
	if err != nil || n.seq == 0 || n.kind != kindSet || n.seq < s.ranges.newest(key, seq) {
		return dst, false, errors.Join(err)
	}
	return n.value, true, nil
}
