package offline

import (
	"errors"
	"io"

	"kvstore/storage"
	"kvstore/storage/corrupt"
	"kvstore/storage/wal"
)

// logState is what a log holds.
type logState struct {
	number  uint64
	size    int64
	records int
	ops     uint64
	// first and last are the sequence numbers of its operations, 0 without any.
	first, last uint64
	damage      []*corrupt.Error
	// torn is the end of the log, when that is what a crash leaves, and not damage.
	torn *corrupt.Error
}

// logScan reads the logs as recovery does, but goes on behind damage.
type logScan struct {
	dir *directory
	// last is the last operation in tables or logs so far.
	last uint64
	// lenient takes operations that the tables have already for what a lost manifest leaves, and not for damage.
	lenient bool
	states  []logState
}

var errStop = errors.New("stop")

// run reads the logs from the one that the manifest names on.
func (s *logScan) run(first uint64) error {
	numbers := s.dir.files.Logs
	for len(numbers) > 0 && numbers[0] < first {
		numbers = numbers[1:]
	}
	if first != 0 && (len(numbers) == 0 || numbers[0] != first) {
		name := s.dir.name(storage.LogName(first))
		s.states = append(s.states, logState{number: first, damage: []*corrupt.Error{corrupt.New(name, 0, "the log is missing")}})
	}
	for i, n := range numbers {
		if err := s.log(n, numbers[i+1:]); err != nil {
			return err
		}
		if s.states[len(s.states)-1].torn != nil {
			return nil // what follows was never promised, and recovery leaves it out
		}
	}
	return nil
}

func (s *logScan) log(number uint64, later []uint64) error {
	name := s.dir.name(storage.LogName(number))
	info, err := s.dir.fs.Stat(name)
	if err != nil {
		return err
	}
	l := logState{number: number, size: info.Size}
	err = wal.Salvage(s.dir.fs, name, number, func(p *wal.Piece) error {
		if p.Damage != nil {
			return s.damage(&l, p, later)
		}
		return s.record(&l, p, later)
	})
	s.states = append(s.states, l)
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (s *logScan) damage(l *logState, p *wal.Piece, later []uint64) error {
	durable, followed, err := s.claims(later)
	if err != nil {
		return err
	}
	if p.Offset >= wal.HeaderSize && p.Tail.Torn(s.last, durable, followed) {
		l.torn = p.Damage
		return errStop
	}
	l.damage = append(l.damage, p.Damage)
	return nil
}

func (s *logScan) record(l *logState, p *wal.Piece, later []uint64) error {
	name := s.dir.name(storage.LogName(l.number))
	r := &p.Record
	n, whole := countOps(r.Payload)
	switch {
	case r.Format != wal.FormatOps || !whole || n == 0:
		l.damage = append(l.damage, corrupt.New(name, p.Offset, "the record of format %d holds no operations that decode", r.Format))
		return nil
	case r.First <= s.last && !s.lenient:
		l.damage = append(l.damage, corrupt.New(name, p.Offset, "the record begins with operation %d where %d is due", r.First, s.last+1))
	case r.First > s.last+1 && p.Offset == wal.HeaderSize:
		durable, _, err := s.claims(later)
		if err != nil {
			return err
		}
		missing := corrupt.New(name, p.Offset, "the operations from %d to %d before it are missing", s.last+1, r.First-1)
		if (wal.Tail{Short: true, Durable: r.Durable}).Torn(s.last, max(durable, r.Durable), true) {
			l.torn = missing
			return errStop
		}
		l.damage = append(l.damage, missing)
	case r.First > s.last+1 && len(l.damage) == 0:
		l.damage = append(l.damage, corrupt.New(name, p.Offset, "the operations from %d to %d before it are missing", s.last+1, r.First-1))
	}
	if l.first == 0 {
		l.first = r.First
	}
	l.records++
	l.ops += n
	l.last = r.First + n - 1
	s.last = max(s.last, l.last)
	return nil
}

// claims returns the largest operation that records of later logs claim to have been durable, and whether there are such
// records.
func (s *logScan) claims(later []uint64) (durable uint64, followed bool, err error) {
	for _, n := range later {
		l, err := wal.Open(s.dir.fs, s.dir.name(storage.LogName(n)))
		if _, damaged := damageOf(err); damaged {
			continue
		}
		if err != nil {
			return 0, false, err
		}
		for {
			r, err := l.Next()
			if err != nil {
				break // the end, or damage, behind which nothing counts
			}
			followed = true
			durable = max(durable, r.Durable)
		}
		if err := l.Close(); err != nil && !errors.Is(err, io.EOF) {
			return 0, false, err
		}
	}
	return durable, followed, nil
}

// countOps counts the operations of a record.
func countOps(payload []byte) (n uint64, whole bool) {
	for len(payload) > 0 {
		_, rest, ok := wal.NextOp(payload)
		if !ok {
			return n, false
		}
		n++
		payload = rest
	}
	return n, true
}

// beforeFirst returns the number before the first operation of any log, 0 when they hold none.
func beforeFirst(d *directory) uint64 {
	for _, n := range d.files.Logs {
		first := uint64(0)
		_ = wal.Salvage(d.fs, d.name(storage.LogName(n)), n, func(p *wal.Piece) error {
			if p.Damage != nil {
				return nil
			}
			first = p.Record.First
			return errStop
		}) // what cannot be read is found by the scan that follows
		if first > 0 {
			return first - 1
		}
	}
	return 0
}
