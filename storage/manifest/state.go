package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"kvstore/storage/sum"
)

// State is the sum of a manifest's edits.
type State struct {
	// Next is the next unused file number, of tables, logs and manifests alike.
	Next uint64
	// Log is the first log that recovery must replay.
	Log uint64
	// Flushed is the last sequence number that tables hold: the logs from Log on begin behind it.
	Flushed uint64
	// Tables are the tree's tables by number.
	Tables map[uint64]Table
	// Ranges are the range deletions still needed, by sequence number.
	Ranges map[uint64]Range
	// Marks are the ranges of keys that damage has cost records, by id.
	Marks map[uint64]Mark
	// Repaired says that the store was repaired and its user has not taken notice yet.
	Repaired bool
	// Sums are the sums of what the tables hold, and Exact the leaves of which that is known.
	Sums  *sum.Leaves
	Exact sum.Set
}

// NewState returns the state of an empty tree. That its sums are exact is for who knows it to say.
func NewState() *State {
	return &State{
		Next: 1, Tables: map[uint64]Table{}, Ranges: map[uint64]Range{}, Marks: map[uint64]Mark{}, Sums: &sum.Leaves{},
	}
}

// Apply adds an edit to the state, or says why it cannot follow it; then the state is undefined.
func (s *State) Apply(e *Edit) error {
	s.Next = max(s.Next, e.Next)
	s.Log = max(s.Log, e.Log)
	s.Flushed = max(s.Flushed, e.Flushed)
	for _, n := range e.Removed {
		if _, ok := s.Tables[n]; !ok {
			return fmt.Errorf("the edit removes table %d, which is not there", n)
		}
		delete(s.Tables, n)
	}
	for _, t := range e.Added {
		if _, ok := s.Tables[t.Number]; ok {
			return fmt.Errorf("the edit adds table %d, which is there", t.Number)
		}
		s.Tables[t.Number] = t
	}
	for _, r := range e.Ranges {
		s.Ranges[r.Seq] = r
	}
	for _, n := range e.Unranged {
		delete(s.Ranges, n)
	}
	for _, n := range e.Unmarked {
		delete(s.Marks, n)
	}
	for _, m := range e.Marks {
		s.Marks[m.ID] = m
	}
	if e.Repair != 0 {
		s.Repaired = e.Repair == Mended
	}
	if e.Sums != nil {
		s.Sums.Add(e.Sums)
	}
	for _, r := range e.Exact {
		s.Exact = s.Exact.With(r)
	}
	for _, r := range e.Inexact {
		s.Exact = s.Exact.Without(r)
	}
	return nil
}

// Edit returns the one edit that makes the state out of an empty one.
func (s *State) Edit() *Edit {
	e := &Edit{
		Exact: s.Exact,
		Next:  s.Next, Log: s.Log, Flushed: s.Flushed,
		Added:  slices.SortedFunc(maps.Values(s.Tables), func(a, b Table) int { return cmp.Compare(a.Number, b.Number) }),
		Ranges: slices.SortedFunc(maps.Values(s.Ranges), func(a, b Range) int { return cmp.Compare(a.Seq, b.Seq) }),
		Marks:  slices.SortedFunc(maps.Values(s.Marks), func(a, b Mark) int { return cmp.Compare(a.ID, b.ID) }),
	}
	if s.Repaired {
		e.Repair = Mended
	}
	if !s.Sums.Empty() {
		e.Sums = s.Sums
	}
	return e
}
