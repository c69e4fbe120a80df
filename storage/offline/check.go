package offline

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"kvstore/storage"
	"kvstore/storage/corrupt"
	"kvstore/storage/manifest"
	"kvstore/storage/sstable"
	"kvstore/storage/vfs"
)

// File is what Check found of one file.
type File struct {
	Name string
	Size int64
	// Text describes the content in a few words.
	Text string
	// Damage is what does not hold; with any, the file is damaged.
	Damage []*corrupt.Error
}

// Summary is what Check found in all.
type Summary struct {
	Files, Damaged int
	Bytes          int64
	// Lost counts the ranges of keys that an earlier damage has cost records, and that wait to be refilled.
	Lost int
}

// Check verifies every byte at rest of the engine's directory: the manifest, every block of every table against its
// checksum, the order of keys, indexes, filters and counts, every record of every log. report gets each file in turn.
func Check(fsys vfs.FS, dir string, report func(File)) (s Summary, err error) {
	d, err := open(fsys, dir)
	if err != nil {
		return s, err
	}
	defer d.close()
	c := checker{directory: d, summary: &s, report: report}
	state, err := c.manifest()
	if err != nil {
		return s, err
	}
	if err := c.tables(state); err != nil {
		return s, err
	}
	return s, c.logs(state)
}

type checker struct {
	*directory
	summary *Summary
	report  func(File)
}

func (c *checker) tell(f File) {
	c.summary.Files++
	c.summary.Bytes += f.Size
	if len(f.Damage) > 0 {
		c.summary.Damaged++
	}
	c.report(f)
}

// manifest checks the manifest and returns the state it describes, nil when it is damaged.
func (c *checker) manifest() (*manifest.State, error) {
	f := File{Name: c.manifestName()}
	if f.Name == "" {
		f.Name = manifest.CurrentName
	} else if info, err := c.fs.Stat(c.name(f.Name)); err == nil {
		f.Size = info.Size
	}
	state, err := manifest.Load(c.fs, c.path)
	damage, damaged := damageOf(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Damage = append(f.Damage, corrupt.New(c.name(manifest.CurrentName), 0, "it is missing"))
	case damaged:
		f.Damage = append(f.Damage, damage)
	case err != nil:
		return nil, err
	default:
		c.summary.Lost = len(state.Marks)
		f.Text = fmt.Sprintf("%s, %s", plural(len(state.Tables), "table"), plural(len(state.Ranges), "range deletion"))
		if state.Repaired {
			f.Text += ", repaired"
		}
		f.Damage = append(f.Damage, overlaps(c.name(f.Name), state)...)
	}
	c.tell(f)
	if err != nil {
		return nil, nil
	}
	return state, nil
}

// overlaps finds tables below level 0 that overlap.
func overlaps(name string, state *manifest.State) (found []*corrupt.Error) {
	var levels [manifest.Levels][]manifest.Table
	for _, t := range state.Tables {
		levels[t.Level] = append(levels[t.Level], t)
	}
	for level, tables := range levels[1:] {
		slices.SortFunc(tables, func(a, b manifest.Table) int { return bytes.Compare(a.Smallest, b.Smallest) })
		for i := 1; i < len(tables); i++ {
			if a, b := tables[i-1], tables[i]; bytes.Compare(a.Largest, b.Smallest) >= 0 {
				found = append(found, corrupt.New(name, 0, "tables %d and %d of level %d overlap", a.Number, b.Number, level+1))
			}
		}
	}
	return found
}

// tables checks the tables that are there, and that those are there which should be. Without a state every table counts.
func (c *checker) tables(state *manifest.State) error {
	numbers := slices.Clone(c.files.Tables)
	if state != nil {
		for n := range state.Tables {
			if !slices.Contains(numbers, n) {
				numbers = append(numbers, n)
			}
		}
		slices.Sort(numbers)
	}
	for _, n := range numbers {
		f := File{Name: storage.TableName(n)}
		var want *manifest.Table
		if state != nil {
			if t, ok := state.Tables[n]; ok {
				want = &t
			} else {
				f.Text = "not in use; the next start removes it"
				if info, err := c.fs.Stat(c.name(f.Name)); err == nil {
					f.Size = info.Size
				}
				c.tell(f)
				continue
			}
		}
		if err := c.table(&f, n, want); err != nil {
			return err
		}
		c.tell(f)
	}
	return nil
}

// table checks one table against itself and, if there is one, its row in the manifest.
func (c *checker) table(f *File, number uint64, want *manifest.Table) error {
	r, size, err := openTable(c.directory, number)
	f.Size = size
	if damage, ok := damageOf(err); ok {
		f.Damage = append(f.Damage, damage)
		return nil
	}
	if err != nil {
		return err
	}
	info := r.Info()
	f.Text = plural(int(info.Entries), "record")
	if want != nil {
		f.Text = fmt.Sprintf("level %d, %s", want.Level, f.Text)
		f.Damage = append(f.Damage, differences(c.name(f.Name), &info, want)...)
	}
	lost, err := r.VerifyAll()
	for _, l := range lost {
		f.Damage = append(f.Damage, l.Damage)
	}
	return errors.Join(err, r.Close())
}

// differences compares a table's properties with the manifest's.
func differences(name string, info *sstable.Info, want *manifest.Table) (found []*corrupt.Error) {
	if info.Size != want.Size {
		found = append(found, corrupt.New(name, info.Size, "the table has %d bytes and not the %d the manifest names", info.Size, want.Size))
	}
	if info.Entries != want.Entries || info.Deletes != want.Deletes || info.MinSeq != want.MinSeq || info.MaxSeq != want.MaxSeq ||
		!bytes.Equal(info.Smallest, want.Smallest) || !bytes.Equal(info.Largest, want.Largest) {
		found = append(found, corrupt.New(name, 0, "its properties are not what the manifest says"))
	}
	return found
}

// openTable opens a table without a cache. A missing one is damage.
func openTable(d *directory, number uint64) (r *sstable.Reader, size int64, err error) {
	name := d.name(storage.TableName(number))
	f, err := d.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, corrupt.New(name, 0, "the table is missing")
	}
	if err != nil {
		return nil, 0, err
	}
	if size, err = f.Size(); err == nil {
		r, err = sstable.Open(f, size, sstable.ReaderOptions{FileNum: number, Name: name})
	}
	if err != nil {
		f.Close()
		return nil, size, err
	}
	return r, size, nil
}

// logs checks the logs. Without a state nobody knows what the tables have already.
func (c *checker) logs(state *manifest.State) error {
	s := logScan{dir: c.directory}
	first := uint64(0)
	if state == nil {
		s.lenient = true
	} else {
		s.last, first = state.Flushed, state.Log
	}
	if state == nil && len(c.files.Logs) > 0 {
		s.last = beforeFirst(c.directory)
	}
	if err := s.run(first); err != nil {
		return err
	}
	for _, l := range s.states {
		f := File{Name: storage.LogName(l.number), Size: l.size, Damage: l.damage}
		f.Text = "empty"
		if l.records > 0 {
			f.Text = fmt.Sprintf("%s, %s", plural(l.records, "record"), plural(int(l.ops), "operation"))
		}
		if l.torn != nil {
			f.Text += fmt.Sprintf(", a torn end at offset %d, which a crash leaves", l.torn.Offset)
		}
		c.tell(f)
	}
	return nil
}

// plural is a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
