package wal

import (
	"errors"
	"io"

	"kvstore/storage/corrupt"
	"kvstore/storage/vfs"
)

// Piece is a stretch of a log: a whole record, or what lies between two.
type Piece struct {
	Offset, Length int64
	// Damage is nil for a record, else why there is none.
	Damage *corrupt.Error
	// Record is valid until the next piece.
	Record Record
	// Tail describes what is behind the damage.
	Tail Tail
}

// Salvage calls fn with the pieces of a log, in order, up to its end: every record that is whole, whatever is damaged
// before it. The log's number is told because the header may be damaged, which is then the first piece. It ends with
// fn's first error.
func Salvage(fsys vfs.FS, name string, number uint64, fn func(*Piece) error) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := newReader(f, name)
	header, damaged := errors.AsType[*corrupt.Error](err)
	if err != nil && !damaged {
		return err
	}
	if damaged {
		size, err := f.Size()
		if err != nil {
			return err
		}
		r = &Reader{name: name, number: number, tag: tagOf(number), file: f, size: size, offset: HeaderSize}
	} else if r.number != number && r.number != 0 {
		header = corrupt.New(name, 0, "this is log %d", r.number)
	}
	if header != nil {
		if err := fn(&Piece{Length: min(r.size, HeaderSize), Damage: header}); err != nil {
			return err
		}
	}
	for {
		p := Piece{Offset: r.offset}
		p.Record, err = r.Next()
		if err == io.EOF {
			return nil
		}
		if damage, ok := errors.AsType[*corrupt.Error](err); ok {
			if err := r.skip(&p, damage); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		p.Length = r.offset - p.Offset
		if err := fn(&p); err != nil {
			return err
		}
	}
}

// skip makes p the stretch up to the next whole record, or up to the end.
func (r *Reader) skip(p *Piece, damage *corrupt.Error) (err error) {
	p.Damage = damage
	if p.Tail, err = r.Tail(); err != nil {
		return err
	}
	r.offset, _, err = r.findRecord(r.offset + 1)
	return err
}
