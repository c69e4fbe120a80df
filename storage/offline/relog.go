package offline

import (
	"errors"

	"kvstore/storage"
	"kvstore/storage/wal"
)

const (
	// maxFiller bounds the lost operations that are filled in: more than four full memtables of the smallest records hold.
	maxFiller = 1 << 26
	// fillerBatch is how many of them one record holds.
	fillerBatch = 1 << 16
)

var errTooWide = errors.New("too many operations are missing")

// logs writes again the logs that are damaged, or that do not follow the one before.
func (r *repair) logs(lenient bool) error {
	s := logScan{dir: r.directory, last: r.state.Flushed, lenient: lenient}
	if err := s.run(r.state.Log); err != nil {
		return err
	}
	last, lost, cut := r.state.Flushed, uint64(0), false
	for _, l := range s.states {
		for _, d := range l.damage {
			r.say("%s %s", storage.LogName(l.number), describe(d))
		}
		switch {
		case cut && r.exists(storage.LogName(l.number)):
			r.say("%s: dropped, with %s of %d bytes, because too much is missing before it", storage.LogName(l.number), plural(int(l.ops), "operation"), l.size)
			if err := r.setAside(storage.LogName(l.number)); err != nil {
				return err
			}
			continue
		case !r.exists(storage.LogName(l.number)):
			r.changed = true
			lost = max(lost, last)
			continue
		case len(l.damage) == 0 && l.torn == nil && (l.ops == 0 || l.first == last+1):
			last = max(last, l.last)
			continue
		case l.torn != nil && len(l.damage) == 0 && (l.ops == 0 || l.first == last+1):
			continue // recovery cuts it
		}
		w := rewrite{repair: r, last: last}
		if err := w.log(l.number); err != nil {
			return err
		}
		r.changed = true
		if len(l.damage) > 0 || w.filled > 0 {
			lost = max(lost, w.lostUpTo, w.last)
			r.say("%s: kept %s, dropped %d bytes that are no whole record and %s in all; the file as it was is in %s",
				storage.LogName(l.number), plural(int(w.kept), "operation"), w.dropped, lostOps(w.filled), r.name(storage.QuarantineName))
		}
		last, cut = w.last, w.cut
	}
	if r.changed {
		r.state.Log = 0
	}
	if lost > 0 {
		r.lose(lost)
	}
	return nil
}

func lostOps(n uint64) string {
	if n == 0 {
		return "an unknown number of operations at the end"
	}
	return plural(int(n), "operation")
}

// rewrite writes a log again with what is whole of it.
type rewrite struct {
	*repair
	out *wal.Writer
	// last is the last operation written, or in tables.
	last uint64
	// kept and filled count operations, dropped bytes. lostUpTo is the last operation that was filled in.
	kept, filled, lostUpTo uint64
	dropped                int64
	// cut says that the rest was left out.
	cut bool
}

func (w *rewrite) log(number uint64) error {
	base := storage.LogName(number)
	temporary := base + ".tmp"
	out, err := wal.Create(w.fs, w.name(temporary), number, 0)
	if err != nil {
		return err
	}
	w.out = out
	err = wal.Salvage(w.fs, w.name(base), number, w.piece)
	if errors.Is(err, errTooWide) {
		w.cut, err = true, nil
	}
	if err == nil {
		err = out.Sync()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = w.setAside(base)
	}
	if err == nil {
		err = w.fs.Rename(w.name(temporary), w.name(base))
	}
	if err == nil {
		err = w.fs.SyncDir(w.path)
	}
	return err
}

// piece takes over a record, as far as the tables do not have it, behind what is missing before it.
func (w *rewrite) piece(p *wal.Piece) error {
	r := &p.Record
	n, whole := uint64(0), false
	if p.Damage == nil {
		n, whole = countOps(r.Payload)
	}
	if !whole || n == 0 || r.Format != wal.FormatOps {
		w.dropped += p.Length
		return nil
	}
	if r.First > w.last+1 {
		if err := w.fill(r.First - 1); err != nil {
			w.dropped += p.Length
			return err
		}
	}
	payload := r.Payload
	first := r.First
	for ; first <= w.last && len(payload) > 0; first++ {
		_, payload, _ = wal.NextOp(payload)
	}
	if len(payload) == 0 {
		return nil
	}
	w.kept += r.First + n - first
	w.last = r.First + n - 1
	return w.out.Write(append(wal.Begin(nil), payload...), wal.FormatOps, first, min(r.Durable, first-1))
}

// fill writes operations without effect up to a sequence number.
func (w *rewrite) fill(upTo uint64) error {
	if upTo-w.last > maxFiller {
		return errTooWide
	}
	w.filled += upTo - w.last
	w.lostUpTo = upTo
	for w.last < upTo {
		record := wal.Begin(nil)
		first := w.last + 1
		for n := 0; w.last < upTo && n < fillerBatch; n++ {
			record = wal.AppendOp(record, wal.OpDelete, fillerKey(), nil)
			w.last++
		}
		if err := w.out.Write(record, wal.FormatOps, first, first-1); err != nil {
			return err
		}
	}
	return nil
}
