package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"kvstore/storage/manifest"
	"kvstore/storage/vfs"
	"kvstore/storage/wal"
)

// scrubber verifies everything at rest within Options.ScrubPeriod, over and over: it reads each table past the cache, a
// little at a time, and checks every block. Damage is passed on to the doctor, as readers pass it on.
//
// A pass goes through the tables by their numbers, so that its place is one number. It is kept in a file over restarts,
// with the time at which the pass began:
//
//	0   the number of the last table verified, u64, little endian
//	8   when the pass began, in nanoseconds since 1970, u64
//	16  CRC-32C of these
type scrubber struct {
	// passes counts those completed, bytes what was verified, since Open; place is the last table of the present pass.
	passes, bytes, place atomic.Int64
	// began is when the present pass began, in nanoseconds since 1970.
	began atomic.Int64
}

const (
	scrubName = "SCRUB"
	// scrubIdle is how often a scrubber looks again when the period is over, or nothing is there.
	scrubIdle = time.Minute
	// scrubRest is the shortest pause that is worth a timer.
	scrubRest = 10 * time.Millisecond
)

// runScrubber is the scrubber's goroutine.
func (d *DB) runScrubber() {
	if d.options.ScrubPeriod <= 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.background.Go(func() {
		select {
		case <-d.quit:
			cancel()
		case <-ctx.Done():
		}
	})
	d.loadScrub()
	d.saveScrub()
	for {
		began := time.Unix(0, d.scrub.began.Load())
		if err := d.scrubPass(ctx, began.Add(d.options.ScrubPeriod)); err != nil {
			if ctx.Err() != nil {
				return
			}
			d.logger.Error().Err(err).Msg("what is at rest cannot be verified")
		}
		wait := max(time.Until(began.Add(d.options.ScrubPeriod)), scrubIdle)
		select {
		case <-time.After(wait):
		case <-d.quit:
			return
		}
		d.scrub.began.Store(time.Now().UnixNano())
		d.scrub.place.Store(0)
		d.saveScrub()
	}
}

// scrubPass verifies what the pass has not verified yet, evenly until the time by which it should end.
func (d *DB) scrubPass(ctx context.Context, by time.Time) error {
	for {
		number, left := d.nextToScrub(uint64(d.scrub.place.Load()))
		if number == 0 {
			break
		}
		p := scrubPace{db: d, ctx: ctx, began: time.Now()}
		if left > 0 {
			p.perByte = float64(max(time.Until(by), 0)) / float64(left)
		}
		if err := d.scrubTable(number, p.pause); err != nil {
			return err
		}
		d.scrub.place.Store(int64(number))
		d.saveScrub()
	}
	d.scrub.passes.Add(1)
	return d.scrubRecords()
}

// nextToScrub returns the number of the first table behind place, 0 when there is none, and the bytes of all those.
func (d *DB) nextToScrub(place uint64) (number uint64, bytes int64) {
	s := d.acquire()
	if s == nil {
		return 0, 0
	}
	defer s.release()
	s.version.all(func(t *table) {
		if t.Number > place {
			bytes += t.Size
			if number == 0 || t.Number < number {
				number = t.Number
			}
		}
	})
	return number, bytes
}

// scrubTable verifies one table, if it is still there. Damage goes to the doctor and is no error.
func (d *DB) scrubTable(number uint64, pace func(int) error) error {
	s := d.acquire()
	if s == nil {
		return ErrClosed
	}
	s = s.onTables()
	defer s.release()
	t := s.version.numbered(number)
	if t == nil {
		return nil
	}
	err := t.reader.VerifyAt(pace)
	if IsCorrupt(err) {
		d.noticeDamage(err)
		return nil
	}
	return err
}

// scrubPace spreads the reading over the time there is.
type scrubPace struct {
	db  *DB
	ctx context.Context
	// perByte is how many nanoseconds a byte may take.
	perByte float64
	began   time.Time
	bytes   int64
}

// pause is called when n more bytes were verified.
func (p *scrubPace) pause(n int) error {
	p.bytes += int64(n)
	p.db.scrub.bytes.Add(int64(n))
	ahead := time.Duration(float64(p.bytes)*p.perByte) - time.Since(p.began)
	if ahead < scrubRest {
		return p.ctx.Err()
	}
	select {
	case <-time.After(ahead):
	case <-p.ctx.Done():
	}
	return p.ctx.Err()
}

// Scrub verifies everything at rest now, at full speed, and returns when what was damaged has been mended.
func (d *DB) Scrub(ctx context.Context) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.background.Done()
	for place := uint64(0); ; {
		number, _ := d.nextToScrub(place)
		if number == 0 {
			break
		}
		if err := d.scrubTable(number, func(n int) error {
			d.scrub.bytes.Add(int64(n))
			if d.closing() {
				return ErrClosed
			}
			return ctx.Err()
		}); err != nil {
			return fmt.Errorf("scrub: %w", err)
		}
		place = number
	}
	if err := d.scrubRecords(); err != nil {
		return fmt.Errorf("scrub: %w", err)
	}
	return d.awaitDoctor(ctx)
}

// AwaitMended waits until the tables that were found damaged so far have been mended.
func (d *DB) AwaitMended(ctx context.Context) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.background.Done()
	return d.awaitDoctor(ctx)
}

// awaitDoctor waits until the doctor has treated what was found.
func (d *DB) awaitDoctor(ctx context.Context) error {
	const look = 10 * time.Millisecond
	for {
		d.doctor.mu.Lock()
		left := len(d.doctor.found)
		d.doctor.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return ctx.Err()
		case <-d.quit:
			return ErrClosed
		}
	}
}

// scrubRecords verifies the manifest and the logs. What they say is in memory too, so that damage costs nothing while the
// engine is open: a new manifest takes the place of a damaged one, and a flush makes a damaged log superfluous.
func (d *DB) scrubRecords() error {
	if err := d.scrubManifest(); err != nil {
		return err
	}
	s := d.acquire()
	if s == nil {
		return ErrClosed
	}
	written := d.written.Load()
	logs := []uint64{s.active.log}
	for _, m := range s.immutable {
		logs = append(logs, m.log)
	}
	s.release()
	for _, n := range logs {
		damage, err := d.scrubLog(n, written)
		if err != nil {
			return err
		}
		if damage == nil {
			continue
		}
		d.doctor.noticed.Add(1)
		d.logger.Error().Err(damage).Msg("damage was found in a log; what it holds is in memory and is flushed now")
		if d.options.OnDamage != nil {
			d.options.OnDamage(Damage{Err: damage})
		}
		return d.Flush()
	}
	return nil
}

// scrubManifest verifies the manifest, and replaces it when it is damaged.
func (d *DB) scrubManifest() error {
	d.tree.token.take()
	defer d.tree.token.put()
	if d.WriteError() != nil {
		return nil // nothing could be done about it
	}
	edits := uint64(0)
	name := d.name(manifest.Name(d.tree.manifest.Number()))
	err := manifest.Each(d.fs, name, func(int64, *manifest.Edit) error { edits++; return nil })
	if err == nil && edits < d.tree.manifest.Edits() {
		err = &CorruptError{File: name, Reason: fmt.Sprintf("%d edits can be read of %d", edits, d.tree.manifest.Edits())}
	}
	damage, ok := errors.AsType[*CorruptError](err)
	if err == nil || !ok {
		return err
	}
	d.doctor.noticed.Add(1)
	d.logger.Error().Err(damage).Msg("damage was found in the manifest; it is written anew")
	d.renewManifest()
	if d.options.OnDamage != nil {
		d.options.OnDamage(Damage{Err: damage})
	}
	return nil
}

// scrubLog verifies the records of a log up to an operation that has been written for sure.
func (d *DB) scrubLog(number, written uint64) (*CorruptError, error) {
	l, err := wal.Open(d.fs, d.name(logName(number)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // flushed meanwhile
	}
	damage, ok := errors.AsType[*CorruptError](err)
	if ok || err != nil {
		return damage, ignoreIf(ok, err)
	}
	defer l.Close()
	last := uint64(0)
	for {
		r, err := l.Next()
		damage, ok := errors.AsType[*CorruptError](err)
		switch {
		case err == io.EOF, ok && (last >= written || last == 0 && l.Offset() == wal.HeaderSize && d.firstOf(number) > written):
			return nil, nil // whatever stands here is being written
		case ok:
			return damage, nil
		case err != nil:
			return nil, err
		}
		d.scrub.bytes.Add(int64(len(r.Payload)))
		last = r.First
		for rest := r.Payload; len(rest) > 0; last++ {
			var whole bool
			if _, rest, whole = wal.NextOp(rest); !whole {
				break
			}
		}
		last--
	}
}

func ignoreIf(ignore bool, err error) error {
	if ignore {
		return nil
	}
	return err
}

// firstOf returns the number of the first operation that can be in a log.
func (d *DB) firstOf(log uint64) uint64 {
	s := d.acquire()
	if s == nil {
		return 0
	}
	defer s.release()
	first := s.version.flushed + 1
	for i := len(s.immutable) - 1; i >= 0; i-- {
		if s.immutable[i].log == log {
			return first
		}
		first = s.immutable[i].last + 1
	}
	return first
}

// loadScrub reads where the last pass was, if that can be read.
func (d *DB) loadScrub() {
	d.scrub.began.Store(time.Now().UnixNano())
	b, err := vfs.ReadFile(d.fs, d.name(scrubName))
	if err != nil || len(b) != 20 || binary.LittleEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], crc32.MakeTable(crc32.Castagnoli)) {
		return
	}
	began := int64(binary.LittleEndian.Uint64(b[8:]))
	if age := time.Since(time.Unix(0, began)); age < 0 || age > 2*d.options.ScrubPeriod {
		return // the clock was set, or the node was away for long
	}
	d.scrub.place.Store(int64(binary.LittleEndian.Uint64(b)))
	d.scrub.began.Store(began)
}

// saveScrub writes where the pass is. That it is not durable costs some verifying twice.
func (d *DB) saveScrub() {
	b := binary.LittleEndian.AppendUint64(nil, uint64(d.scrub.place.Load()))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.scrub.began.Load()))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	if err := vfs.WriteFile(d.fs, d.name(scrubName), b); err != nil {
		d.logger.Debug().Err(err).Msg("the scrubber's place cannot be written")
	}
}
