package compaction

import (
	"bytes"
	"slices"
)

const (
	// DefaultL0Trigger is how many flushed tables are worth merging: each costs a read a look into its filter.
	DefaultL0Trigger = 4
	// DefaultBaseBytes is a few memtables, so that a merge of level 0 rewrites not much more than it brings.
	DefaultBaseBytes = 256 << 20
	// DefaultTableBytes keeps a compaction's parts small beside the data, and the number of files too.
	DefaultTableBytes = 32 << 20
	// DefaultRatio is between the sizes of two levels.
	DefaultRatio = 10

	// overlapTables bounds how much of the level below its own an output may overlap, in tables.
	overlapTables = 10
)

// File describes a table.
type File struct {
	Num               uint64
	Size              int64
	Smallest, Largest []byte // both included
	MaxSeq            uint64
	// Entries counts records, Deletes the deletions among them, Ranges the range deletions.
	Entries, Deletes, Ranges uint64
	// Busy says that a running compaction has the file for input.
	Busy bool
}

// Levels are the tables of an engine by level. Level 0 is ordered newest first, every other by key. There are at least two.
type Levels [][]File

// Options are the shape that Pick aims at. Zero fields mean the defaults.
type Options struct {
	L0Trigger  int
	BaseBytes  int64
	TableBytes int64
	Ratio      int64
}

func (o *Options) ensureDefaults() {
	if o.L0Trigger <= 0 {
		o.L0Trigger = DefaultL0Trigger
	}
	if o.BaseBytes <= 0 {
		o.BaseBytes = DefaultBaseBytes
	}
	if o.TableBytes <= 0 {
		o.TableBytes = DefaultTableBytes
	}
	if o.Ratio <= 1 {
		o.Ratio = DefaultRatio
	}
}

// Plan is one compaction.
type Plan struct {
	// Level and Output are where the inputs are and where the outputs go.
	Level, Output int
	// Inputs are files of Level, Overlaps all files of Output that share keys with them. They are parts of the levels given.
	Inputs, Overlaps []File
	// Bottom says that no level below Output has any of these keys, so that deletions have nothing left to hide.
	Bottom bool
	// Move says that the single input may be taken into Output as it is.
	Move bool
	// Cuts are keys, ascending, before which an output is to end, so that no output overlaps too much of the level below.
	Cuts [][]byte
	// Score is how far Level is over its measure; 1 is at it.
	Score float64
}

// Pick chooses the most urgent compaction that does not touch busy files. It is false when none is due.
func Pick(levels Levels, o Options) (Plan, bool) {
	o.ensureDefaults()
	base, targets := measure(levels, o)
	type candidate struct {
		level int
		score float64
	}
	var due []candidate
	for l := range levels[:len(levels)-1] {
		score := levelScore(levels, l, targets, o)
		if score >= 1 {
			due = append(due, candidate{l, score})
		}
	}
	slices.SortStableFunc(due, func(a, b candidate) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	for _, c := range due {
		var p Plan
		var ok bool
		if c.level == 0 {
			p, ok = pickZero(levels, base)
		} else {
			p, ok = pickLevel(levels, c.level, c.score == onlyForDeletes)
		}
		if ok {
			p.Score = c.score
			p.complete(levels, o)
			return p, true
		}
	}
	return Plan{}, false
}

// PickAll merges everything above the last level that has data into that level; it is what an operator's compaction runs,
// again and again until it is false.
func PickAll(levels Levels, o Options) (Plan, bool) {
	o.ensureDefaults()
	base, _ := measure(levels, o)
	if p, ok := pickZero(levels, base); ok {
		p.complete(levels, o)
		return p, true
	}
	for l := 1; l < len(levels)-1; l++ {
		if len(levels[l]) == 0 || levelsEmpty(levels[l+1:]) {
			continue
		}
		if p, ok := pickLevel(levels, l, false); ok {
			p.complete(levels, o)
			return p, true
		}
	}
	return Plan{}, false
}

func levelsEmpty(levels Levels) bool {
	return !slices.ContainsFunc(levels, func(files []File) bool { return len(files) > 0 })
}

// measure returns the base level and what each level may hold.
func measure(levels Levels, o Options) (base int, targets []int64) {
	last := len(levels) - 1
	var largest int64
	for _, files := range levels[1:] {
		largest = max(largest, totalSize(files))
	}
	targets = make([]int64, len(levels))
	base = last
	for size := largest; base > 1 && size > o.BaseBytes; base-- {
		size /= o.Ratio
	}
	size := largest
	for l := last; l > 0; l-- {
		targets[l] = max(size, o.BaseBytes)
		size /= o.Ratio
	}
	// What a lower level holds is newer, so nothing may be merged past it.
	for l := 1; l < base; l++ {
		if len(levels[l]) > 0 {
			base = l
		}
	}
	return base, targets
}

// onlyForDeletes is the score of a level that is not full but has tables of deletions.
const onlyForDeletes = 1.0

// levelScore is how far a level is over its measure.
func levelScore(levels Levels, l int, targets []int64, o Options) float64 {
	if l > 0 {
		var idle int64
		for i := range levels[l] {
			if !levels[l][i].Busy {
				idle += levels[l][i].Size
			}
		}
		score := float64(idle) / float64(targets[l])
		if score < 1 && hidesMuch(levels[l]) && !levelsEmpty(levels[l+1:]) {
			score = onlyForDeletes
		}
		return score
	}
	score := float64(len(levels[0])) / float64(o.L0Trigger)
	if score < 1 && slices.ContainsFunc(levels[0], func(f File) bool { return f.Ranges > 0 }) {
		score = 1
	}
	return score
}

// hidesMuch reports whether a level has a table that is mostly deletions, which give their space back only further down.
func hidesMuch(files []File) bool { return slices.ContainsFunc(files, mostlyDeletes) }

func mostlyDeletes(f File) bool {
	return !f.Busy && (f.Ranges > 0 || f.Entries > 0 && f.Deletes > f.Entries/2)
}

// pickZero takes all of level 0: its tables overlap, and an older one must not be left behind a newer one.
func pickZero(levels Levels, base int) (Plan, bool) {
	if len(levels[0]) == 0 || anyBusy(levels[0]) {
		return Plan{}, false
	}
	p := Plan{Level: 0, Output: base, Inputs: levels[0]}
	lo, hi := bounds(p.Inputs)
	p.Overlaps = overlapping(levels[base], lo, hi)
	return p, !anyBusy(p.Overlaps)
}

// pickLevel takes the table of a level whose merge rewrites the least of the next for each of its bytes. Deletions count
// for more, because they make the data smaller; it can be asked for tables that are mostly deletions only.
func pickLevel(levels Levels, l int, deletesOnly bool) (best Plan, found bool) {
	bestCost := 0.0
	for i := range levels[l] {
		f := &levels[l][i]
		if deletesOnly && !mostlyDeletes(*f) {
			continue
		}
		p := Plan{Level: l, Output: l + 1, Inputs: touching(levels[l], i)}
		lo, hi := bounds(p.Inputs)
		p.Overlaps = overlapping(levels[l+1], lo, hi)
		if anyBusy(p.Inputs) || anyBusy(p.Overlaps) {
			continue
		}
		worth := 1 + 4*float64(f.Deletes)/float64(max(f.Entries, 1))
		if f.Ranges > 0 {
			worth = 5
		}
		cost := float64(totalSize(p.Overlaps)) / (float64(max(totalSize(p.Inputs), 1)) * worth)
		if !found || cost < bestCost {
			best, bestCost, found = p, cost, true
		}
	}
	return best, found
}

// touching is a table with its neighbours that share a bound with it, as the upper bound of a range deletion can be.
func touching(files []File, i int) []File {
	from, to := i, i+1
	for from > 0 && bytes.Compare(files[from-1].Largest, files[from].Smallest) >= 0 {
		from--
	}
	for to < len(files) && bytes.Compare(files[to-1].Largest, files[to].Smallest) >= 0 {
		to++
	}
	return files[from:to]
}

// complete fills in what follows from the inputs.
func (p *Plan) complete(levels Levels, o Options) {
	lo, hi := bounds(append(slices.Clone(p.Inputs), p.Overlaps...))
	p.Bottom = true
	for _, files := range levels[p.Output+1:] {
		if len(overlapping(files, lo, hi)) > 0 {
			p.Bottom = false
		}
	}
	limit := overlapTables * o.TableBytes
	if p.Output+1 < len(levels) {
		below := overlapping(levels[p.Output+1], lo, hi)
		var sum int64
		for i := range below {
			if sum > 0 && sum+below[i].Size > limit {
				p.Cuts = append(p.Cuts, below[i].Smallest)
				sum = 0
			}
			sum += below[i].Size
		}
	}
	f := &p.Inputs[0]
	p.Move = len(p.Inputs) == 1 && len(p.Overlaps) == 0 && len(p.Cuts) == 0 && !(p.Bottom && (f.Ranges > 0 || f.Deletes > 0))
}

// Covered returns the files, not busy, in which a range deletion of [lo, hi) with a sequence number hides every record for
// everyone. They can be removed without being read. Snapshots are those that are live.
func Covered(levels Levels, lo, hi []byte, seq uint64, snapshots []uint64) []File {
	for _, s := range snapshots {
		if s < seq {
			return nil
		}
	}
	var out []File
	for _, files := range levels {
		for _, f := range files {
			if !f.Busy && f.MaxSeq < seq && bytes.Compare(lo, f.Smallest) <= 0 && bytes.Compare(f.Largest, hi) < 0 {
				out = append(out, f)
			}
		}
	}
	return out
}

func anyBusy(files []File) bool {
	return slices.ContainsFunc(files, func(f File) bool { return f.Busy })
}

func totalSize(files []File) (n int64) {
	for i := range files {
		n += files[i].Size
	}
	return n
}

func bounds(files []File) (lo, hi []byte) {
	lo, hi = files[0].Smallest, files[0].Largest
	for i := range files {
		if bytes.Compare(files[i].Smallest, lo) < 0 {
			lo = files[i].Smallest
		}
		if bytes.Compare(files[i].Largest, hi) > 0 {
			hi = files[i].Largest
		}
	}
	return lo, hi
}

// overlapping returns the files of a level other than 0 that share keys with [lo, hi], both included.
func overlapping(files []File, lo, hi []byte) []File {
	from, _ := slices.BinarySearchFunc(files, lo, func(f File, lo []byte) int { return bytes.Compare(f.Largest, lo) })
	to := from
	for to < len(files) && bytes.Compare(files[to].Smallest, hi) <= 0 {
		to++
	}
	return files[from:to]
}
