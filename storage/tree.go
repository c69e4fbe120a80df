package storage

import (
	"errors"

	"kvstore/storage/manifest"
	"kvstore/storage/sum"
)

// manifestGrowth is when a manifest is replaced by a fresh one that sums it up: its edits take that many bytes.
const manifestGrowth = 4 << 20

// change is one step of the tree: a flush, a compaction, a range deletion that is no longer needed.
type change struct {
	edit manifest.Edit
	// added are the tables of edit.Added, open.
	added []*table
	// flushed is the memory that added holds, or nil.
	flushed *memory
	// moved, if any, is a table among edit.Removed that goes to the level movedTo instead.
	moved   *table
	movedTo int
}

// apply makes a change durable and then the readers' state. After an error nothing has changed, and the added tables
// are gone, unless the disk left it open whether the manifest has the edit: then they stay, and writes are refused for
// good.
func (d *DB) apply(c change) error {
	d.tree.token.take()
	defer d.tree.token.put()
	if c.flushed != nil {
		d.mu.Lock()
		c.flushed.sums.addTo(&c.edit)
		d.mu.Unlock()
	}
	return d.applyHeld(&c)
}

// applyMade is apply for a change that depends on the manifest's state; an empty one is none.
func (d *DB) applyMade(make func() change) error {
	d.tree.token.take()
	defer d.tree.token.put()
	c := make()
	if len(c.edit.Append(nil)) == 0 {
		return nil
	}
	return d.applyHeld(&c)
}

// applyHeld is apply for who has the tree's token.
func (d *DB) applyHeld(c *change) error {
	if d.tree.unknown != nil {
		d.dropTables(c.added)
		return d.tree.unknown
	}
	for _, m := range c.edit.Marks {
		c.edit.Inexact = c.edit.Inexact.With(sum.Touched(m.Lo, m.Hi))
	}
	c.edit.Next = d.nextFile.Load()
	for _, t := range c.added {
		c.edit.Added = append(c.edit.Added, t.Table)
	}
	if c.moved != nil {
		m := c.moved.Table
		m.Level = c.movedTo
		c.edit.Added = append(c.edit.Added, m)
	}
	if err := d.tree.manifest.Append(&c.edit); err != nil {
		if _, unknown := errors.AsType[*manifest.SyncError](err); unknown {
			for _, t := range c.added {
				d.releaseTable(t)
			}
			d.tree.unknown = d.refuseForGood(err)
			return d.tree.unknown
		}
		d.dropTables(c.added)
		return d.refuse(err)
	}
	if err := d.tree.sum.Apply(&c.edit); err != nil {
		panic(err) // The change was made against this very sum.
	}
	d.install(c)
	if d.tree.manifest.Grown() > manifestGrowth {
		d.renewManifest()
	}
	return nil
}

// install publishes the state after a change.
func (d *DB) install(c *change) {
	d.mu.Lock()
	s := d.state.Load()
	for _, number := range c.edit.Removed {
		if t := s.version.numbered(number); t != c.moved {
			t.obsolete.Store(true)
		}
	}
	v := s.version.edited(c)
	immutable := s.immutable
	if c.flushed == nil {
		for _, r := range c.edit.Inexact {
			d.sums.doubt(r)
		}
	} else {
		// Flushes go from the oldest to the newest, so the flushed one is the last.
		immutable = immutable[: len(immutable)-1 : len(immutable)-1]
	}
	d.publish(s.active, immutable, v, s.ranges.without(c.edit.Unranged))
	d.room.Broadcast()
	d.mu.Unlock()
	// The state holds the version, the version the tables: the makers' own holds end here.
	d.releaseVersion(v)
	for _, t := range c.added {
		d.releaseTable(t)
	}
}

// dropTables closes and removes tables that did not become part of the tree.
func (d *DB) dropTables(tables []*table) {
	for _, t := range tables {
		t.obsolete.Store(true)
		d.releaseTable(t)
	}
}

// renewManifest replaces the manifest by one that sums it up. When that fails the old one goes on. The caller has the
// tree's token.
func (d *DB) renewManifest() {
	number := d.nextFile.Add(1) - 1
	d.tree.sum.Next = d.nextFile.Load()
	l, err := manifest.Create(d.fs, d.dir, number, d.tree.sum)
	if err != nil {
		if manifest.InForce(d.fs, d.dir, number) {
			// CURRENT names the new one, but not for sure durably. Both say the same only until the next edit, so there
			// is none.
			d.tree.unknown = d.refuseForGood(err)
			return
		}
		d.logger.Warn().Err(err).Msg("the manifest could not be renewed")
		d.keeper.remove(d.name(manifest.Name(number)))
		return
	}
	old := d.tree.manifest
	d.tree.manifest = l
	if err := old.Close(); err != nil {
		d.logger.Warn().Err(err).Msg("close manifest")
	}
	d.keeper.remove(d.name(manifest.Name(old.Number())))
}
