package storage

import (
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/storage/memtable"
)

// keeper removes files that nobody uses any more, gives memory back, and tries a full disk until it has room: what
// writers and readers must not wait for.
type keeper struct {
	signal
	mu sync.Mutex
	// tables are those no version holds any more, and files the names to be removed; both stand under mu.
	tables []*table
	files  []string
	// memtables are those no read state holds any more; it stands under mu.
	memtables []*memtable.Table
	// pins counts the checkpoints in progress, during which no file is removed; it stands under mu.
	pins int
	// dropped says that a range deletion waits for a flush to give much room back.
	dropped atomic.Bool
}

// retryInterval is how often a full disk is tried.
const retryInterval = time.Second

// discard hands over a table that no version holds. It may be called under DB.mu.
func (k *keeper) discard(t *table) {
	k.mu.Lock()
	k.tables = append(k.tables, t)
	k.mu.Unlock()
	k.kick()
}

// discardMemtable hands over a memtable that no read state holds. It may be called under DB.mu.
func (k *keeper) discardMemtable(t *memtable.Table) {
	k.mu.Lock()
	k.memtables = append(k.memtables, t)
	k.mu.Unlock()
	k.kick()
}

// freeMemtables gives the memory back of the memtables handed over.
func (k *keeper) freeMemtables() {
	k.mu.Lock()
	memtables := k.memtables
	k.memtables = nil
	k.mu.Unlock()
	for _, t := range memtables {
		t.Free()
	}
}

// remove hands over files that nothing needs any more.
func (k *keeper) remove(names ...string) {
	k.mu.Lock()
	k.files = append(k.files, names...)
	k.mu.Unlock()
	k.kick()
}

// pin keeps files from being removed until unpin.
func (k *keeper) pin() {
	k.mu.Lock()
	k.pins++
	k.mu.Unlock()
}

func (k *keeper) unpin() {
	k.mu.Lock()
	k.pins--
	k.mu.Unlock()
	k.kick()
}

// runKeeper is the keeper's goroutine.
func (d *DB) runKeeper() {
	retry := time.NewTimer(retryInterval)
	defer retry.Stop()
	// waiting says that the timer runs. Kicks meanwhile make a full disk's tries neither more nor less frequent.
	waiting := true
	if d.WriteError() == nil {
		if err := d.keepReserve(); err != nil {
			d.logger.Warn().Err(err).Msg("there is no room for the reserve")
		}
	}
	for {
		d.keeper.sweep(d)
		d.spendReserve()
		d.flushDropped()
		if !waiting && d.isFull() {
			retry.Reset(retryInterval)
			waiting = true
		}
		select {
		case <-d.keeper.c:
		case <-retry.C:
			waiting = false
			d.tryFullDisk()
		case <-d.quit:
			return
		}
	}
}

func (d *DB) isFull() bool { return errors.Is(d.WriteError(), ErrFull) }

// probeSize is how much room a full disk must have again before writes are taken.
const probeSize = 1 << 20

// tryFullDisk lifts the refusal of a full disk when it takes what it owes and some more.
func (d *DB) tryFullDisk() {
	if !d.isFull() {
		return
	}
	if err := d.probe(probeSize + d.missingReserve()); err != nil {
		d.spendRest()
		d.logger.Debug().Err(err).Msg("the disk is still full")
		return
	}
	d.turn.token.take()
	err := d.writePending()
	d.turn.token.put()
	if err == nil {
		err = d.keepReserve()
	}
	if err != nil {
		return
	}
	d.mu.Lock()
	if errors.Is(d.refused, ErrFull) {
		d.refused = nil
		d.reserve.spending.Store(false)
		d.logger.Info().Msg("the disk has room again, writes are taken")
	}
	d.room.Broadcast()
	d.mu.Unlock()
	d.preparer.kick()
	d.flusher.kick()
	d.compactor.kick()
}

// probe finds out whether a file of a size can be made.
func (d *DB) probe(size int64) error {
	name := d.name("PROBE.tmp")
	f, err := d.fs.Create(name)
	if err != nil {
		return err
	}
	err = f.Preallocate(size)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if removed := d.fs.Remove(name); err == nil {
		err = removed
	}
	return err
}

// sweep closes and removes what was handed over.
func (k *keeper) sweep(d *DB) {
	k.freeMemtables()
	k.mu.Lock()
	tables, files := k.tables, k.files
	k.tables, k.files = nil, nil
	if k.pins > 0 {
		tables, files, k.tables, k.files = nil, nil, tables, files
	}
	k.mu.Unlock()
	for _, t := range tables {
		if err := t.reader.Close(); err != nil {
			d.logger.Warn().Err(err).Uint64("table", t.Number).Msg("close table")
		}
		if t.obsolete.Load() {
			d.cache.EvictFile(t.Number)
			files = append(files, d.name(tableName(t.Number)))
		}
	}
	for _, name := range files {
		// A file that stays costs room until the next Open removes it, nothing else.
		if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.logger.Warn().Err(err).Str("file", name).Msg("remove")
		}
	}
}
