package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"kvstore/storage"
	"kvstore/storage/corrupt"
	"kvstore/storage/key"
	"kvstore/storage/manifest"
	"kvstore/storage/vfs"
)

// Options are how a directory is repaired.
type Options struct {
	// Forget takes what is left for what holds, where records were lost: reads answer it instead of an error.
	Forget bool
	// Logger gets the engine's events while it mends tables.
	Logger zerolog.Logger
}

// Report is what a repair did.
type Report struct {
	// Steps says, in order, what was done and dropped, a line each.
	Steps []string
	// Lost are the ranges of keys that wait to be refilled.
	Lost []storage.Range
	// Damaged reports whether there was anything to repair.
	Damaged bool
}

// Repair makes a damaged directory one that opens, see the package comment. A directory that is whole is left as it is.
func Repair(ctx context.Context, fsys vfs.FS, dir string, o Options) (*Report, error) {
	d, err := open(fsys, dir)
	if err != nil {
		return nil, err
	}
	r := &repair{directory: d, options: o, report: &Report{}}
	err = r.mendFiles()
	if closed := d.close(); err == nil {
		err = closed
	}
	if err != nil {
		return r.report, fmt.Errorf("repair %s: %w", dir, err)
	}
	if err := r.tables(ctx); err != nil {
		return r.report, fmt.Errorf("repair the tables of %s: %w", dir, err)
	}
	return r.report, nil
}

type repair struct {
	*directory
	options Options
	report  *Report
	state   *manifest.State
	// next is the next unused file number.
	next uint64
	// changed says that the manifest has to be written again.
	changed bool
}

func (r *repair) say(format string, args ...any) {
	r.report.Damaged = true
	r.report.Steps = append(r.report.Steps, fmt.Sprintf(format, args...))
}

// number returns an unused file number.
func (r *repair) number() uint64 {
	r.next++
	return r.next - 1
}

// everything is a range that holds every key: the first has token 0.
func everything() storage.Range {
	return storage.Range{Lo: key.AppendToken(nil, 0), Hi: bytes.Repeat([]byte{0xff}, 32)}
}

// lose marks every key as one that may have lost operations up to seq.
func (r *repair) lose(seq uint64) {
	r.changed = true
	r.state.Repaired = true
	all := everything()
	id := r.number()
	r.state.Marks[id] = manifest.Mark{ID: id, Seq: seq, Lo: all.Lo, Hi: all.Hi}
}

// mendFiles mends the manifest and the logs.
func (r *repair) mendFiles() error {
	r.next = r.files.Last + 1
	lenient, err := r.manifest()
	if err != nil {
		return err
	}
	if err := r.logs(lenient); err != nil {
		return err
	}
	if !r.changed {
		return nil
	}
	old := r.manifestName()
	number := r.number()
	r.state.Next = r.next
	l, err := manifest.Create(r.fs, r.path, number, r.state)
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	if old == "" {
		return nil
	}
	return r.setAside(old)
}

// manifest finds the state of the tree. It is lenient when it had to be made of what is there, so that logs may hold
// what tables have too.
func (r *repair) manifest() (lenient bool, err error) {
	r.state, err = manifest.Load(r.fs, r.path)
	if err == nil {
		r.next = max(r.next, r.state.Next)
		err = r.contradiction(r.state)
		if err == nil {
			return false, nil
		}
	}
	if _, ok := damageOf(err); !ok && !notExist(err) {
		return false, err
	}
	r.say("the manifest: %v", err)
	base := r.manifestName()
	partial, whole := manifest.NewState(), false
	if base != "" {
		if partial, whole, err = manifest.Salvage(r.fs, r.name(base)); err != nil {
			return false, err
		}
	}
	r.next = max(r.next, partial.Next)
	if whole && r.contradiction(partial) == nil {
		r.state, r.changed = partial, true
		r.say("%s is whole: %s names it again; nothing was lost", base, manifest.CurrentName)
		return false, nil
	}
	return true, r.rebuild(partial)
}

// contradiction returns why a state cannot be the one in force: a file that it names is not there. The end of a manifest
// that is damaged looks like one that was cut short; then the files that its last edit made are there instead.
func (r *repair) contradiction(s *manifest.State) error {
	for n := range s.Tables {
		if name := storage.TableName(n); !r.exists(name) {
			return corrupt.New(r.name(name), 0, "the table is missing")
		}
	}
	if name := storage.LogName(s.Log); s.Log != 0 && !r.exists(name) {
		return corrupt.New(r.name(name), 0, "the log is missing")
	}
	if found := overlaps(r.name(r.manifestName()), s); len(found) > 0 {
		return found[0]
	}
	return nil
}

// tables opens the engine and has it mend what is damaged in its tables, which proves that it opens.
func (r *repair) tables(ctx context.Context) error {
	var found []storage.Damage
	db, err := storage.Open(r.path, storage.Options{
		FS: r.fs, Logger: r.options.Logger, CacheSize: 1 << 20, CompactionWorkers: 1,
		OnDamage: func(d storage.Damage) { found = append(found, d) },
	})
	if err != nil {
		return err
	}
	err = db.Scrub(ctx)
	for _, d := range found {
		r.say("%v: what can be read was written again, the file is in %s", d.Err, r.name(storage.QuarantineName))
		for _, l := range d.Lost {
			r.say("  lost of it: the keys from %s to %s", Key(l.Lo), Key(l.Hi))
		}
	}
	if r.report.Damaged && err == nil {
		err = db.NoteRepair()
	}
	if r.options.Forget && err == nil {
		if n := len(db.Lost()); n > 0 {
			r.say("forgotten: %s of which records were lost; reads there answer what is left", plural(n, "range"))
		}
		err = db.Refilled(nil, everything().Hi)
	}
	r.report.Lost = db.Lost()
	return errors.Join(err, db.Close())
}

// describe is damage without the file's name.
func describe(e *corrupt.Error) string { return fmt.Sprintf("at offset %d: %s", e.Offset, e.Reason) }

// fillerKey is the key whose deletions take the place of lost operations. Nobody uses it.
func fillerKey() []byte { return key.AppendSystem(nil, 0xff, []byte("lost")) }
