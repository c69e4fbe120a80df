package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
)

// reserve is room on the disk that is taken while there is plenty, as two files, and given back when the disk is full. One
// is for deletions, which are what makes room in the end. The other is for opening an engine on a full disk: what opening
// writes, a manifest above all, must find room even when the first is used up. Writes are taken again only when there is
// room for both.
type reserve struct {
	// size is how large the one for deletions is, 0 for none, and door the one for opening.
	size, door int64
	// held and doorHeld say that the files are there. They belong to the keeper once the engine is open.
	held, doorHeld bool
	// opened says that the engine was opened with their room.
	opened bool
	// spending says that urgent operations may be written though the disk is full. The keeper sets it; it ends when the
	// disk is full once more, or not at all.
	spending atomic.Bool
}

const (
	reserveName = "RESERVE"
	doorName    = "RESERVE-OPEN"
	// leastReserve is the smallest reserve that is worth a file, and largestShare how much of the free room it may take.
	leastReserve = 256 << 10
	largestShare = 8
	// openRoom is what opening an engine takes at most, but for tables: a manifest with the sums of all leaves, a log, and
	// what a node keeps beside them.
	openRoom = 4 << 20
)

// openReserve finds the reserve when the engine is opened, and gives it back at once when the disk has not even the room
// that opening takes.
func (d *DB) openReserve() {
	r := &d.reserve
	if d.options.Reserve <= 0 {
		return
	}
	free, err := d.fs.Free(d.dir)
	if err != nil {
		return
	}
	r.size = max(min(d.options.Reserve, free/largestShare), leastReserve)
	if info, err := d.fs.Stat(d.name(reserveName)); err == nil {
		r.held, r.size = true, max(min(info.Size, d.options.Reserve), leastReserve)
	}
	r.door = min(r.size, openRoom)
	_, err = d.fs.Stat(d.name(doorName))
	r.doorHeld = err == nil
	if free < openRoom {
		d.logger.Warn().Int64("free", free).Msg("the disk is nearly full; the reserve is given back so that the engine can be opened, and writes wait for room")
		r.opened = true
		d.giveBack(doorName, &r.doorHeld)
		d.giveBack(reserveName, &r.held)
	}
}

// beginFull has an engine that was opened with the room of its reserve begin as one whose disk is full. Nothing runs yet.
func (d *DB) beginFull() {
	if d.reserve.opened {
		d.refused = fmt.Errorf("%w: it was when the engine was opened", ErrFull)
		d.reserve.spending.Store(true)
		d.logger.Error().Err(d.refused).Msg("writes are refused")
	}
}

// giveBack removes a file of the reserve.
func (d *DB) giveBack(name string, held *bool) {
	*held = false
	if err := d.fs.Remove(d.name(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.logger.Warn().Err(err).Str("file", name).Msg("a part of the reserve cannot be given back")
	}
}

// keepReserve takes the room of the reserve unless it is held; an error says that there is not enough.
func (d *DB) keepReserve() error {
	r := &d.reserve
	if r.size == 0 {
		return nil
	}
	if err := d.take(doorName, r.door, &r.doorHeld); err != nil {
		return err
	}
	return d.take(reserveName, r.size, &r.held)
}

func (d *DB) take(name string, size int64, held *bool) error {
	if *held {
		return nil
	}
	f, err := d.fs.Create(d.name(name))
	if err != nil {
		return err
	}
	err = f.Preallocate(size)
	if err == nil {
		err = f.Truncate(size)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		d.giveBack(name, held)
		return err
	}
	*held = true
	return nil
}

// missingReserve is how much room the reserve still needs.
func (d *DB) missingReserve() (missing int64) {
	r := &d.reserve
	if !r.held {
		missing += r.size
	}
	if !r.doorHeld {
		missing += r.door
	}
	return missing
}

// spendReserve gives the reserve for deletions back when the disk has become full.
func (d *DB) spendReserve() {
	if !d.reserve.held || !d.isFull() {
		return
	}
	d.giveBack(reserveName, &d.reserve.held)
	d.logger.Warn().Int64("bytes", d.reserve.size).Msg("the disk is full: the reserve is given back for deletions")
	d.spend()
}

// spendRest lets urgent operations be written again after the disk had no room for one, if there is some: a flush that
// failed has given its own back meanwhile.
func (d *DB) spendRest() {
	const enough = 64 << 10
	if d.reserve.size > 0 && !d.reserve.held && !d.reserve.spending.Load() && d.probe(enough) == nil {
		d.spend()
	}
}

// spend lets urgent operations be written, after what was refused.
func (d *DB) spend() {
	d.mu.Lock()
	full := errors.Is(d.refused, ErrFull) && !d.forGood
	d.reserve.spending.Store(full)
	d.room.Broadcast()
	d.mu.Unlock()
	if full {
		d.turn.token.take()
		_ = d.writePending() // a failure ends the spending
		d.turn.token.put()
		d.preparer.kick()
	}
}

// SetUrgent is SetSum that is taken on a full disk too, as long as the reserve lasts. It is for records that delete
// something in the eyes of whoever stores them.
func (d *DB) SetUrgent(key, value []byte, delta uint64) (LSN, error) {
	b := Batch{Urgent: true}
	if delta == 0 {
		b.Set(key, value)
	} else {
		b.SetSum(key, value, delta)
	}
	return d.Apply(&b)
}
