package storage

import (
	"io"
	"sync"

	"kvstore/storage/corrupt"
	"kvstore/storage/wal"
)

const (
	// partSize is about how many bytes of records are handed to the replay at once, and partsAhead how often that may be
	// done before the replay takes one: far less than the memtables beside it.
	partSize   = 1 << 20
	partsAhead = 4
)

// readAhead reads and verifies the records of logs while others are being replayed.
type readAhead struct {
	db *DB
	// parts come from the reading goroutine, which closes it behind the last log or the first part with an error.
	parts chan logPart
	// spare are buffers of parts that are done with.
	spare chan []byte
	// quit is closed by stop.
	quit chan struct{}
	wg   sync.WaitGroup
	// logs are the open logs. It belongs to the reading goroutine and, when that has ended, to stop.
	logs []*wal.Reader
}

// logPart is some consecutive records of one log.
type logPart struct {
	number uint64
	// log is nil when it could not be opened. Where end is neither nil nor io.EOF nobody reads from it any more.
	log *wal.Reader
	// records have their payloads in buffer. Record i begins at offsets[i].
	records []wal.Record
	offsets []int64
	buffer  []byte
	// bytes is how much of the file this is, and end why nothing of the log follows, nil when something may.
	bytes int64
	end   error
}

// readAhead starts to read the logs.
func (d *DB) readAhead(numbers []uint64) *readAhead {
	a := &readAhead{db: d, parts: make(chan logPart, partsAhead), spare: make(chan []byte, partsAhead+2), quit: make(chan struct{})}
	a.wg.Go(func() {
		defer close(a.parts)
		for _, n := range numbers {
			if !a.readLog(n) {
				return
			}
		}
	})
	return a
}

// stop ends the reading.
func (a *readAhead) stop() {
	close(a.quit)
	a.wg.Wait()
	for _, l := range a.logs {
		l.Close()
	}
}

// done gives back a part's buffer.
func (a *readAhead) done(part logPart) {
	select {
	case a.spare <- part.buffer[:0]:
	default:
	}
}

// readLog reads one log to its end; it is false when nothing must be read behind it.
func (a *readAhead) readLog(number uint64) bool {
	name := a.db.name(logName(number))
	l, err := wal.Open(a.db.fs, name)
	if err != nil {
		a.send(logPart{number: number, end: err})
		return false
	}
	a.logs = append(a.logs, l)
	if l.Number() != number && l.Number() != 0 {
		a.send(logPart{number: number, end: corrupt.New(name, 0, "this is log %d", l.Number())})
		return false
	}
	for {
		part := logPart{number: number, log: l}
		select {
		case part.buffer = <-a.spare:
		default:
		}
		part.fill()
		if !a.send(part) {
			return false
		}
		if part.end != nil {
			return part.end == io.EOF
		}
	}
}

// send hands a part on; it is false when nobody wants it.
func (a *readAhead) send(part logPart) bool {
	select {
	case a.parts <- part:
		return true
	case <-a.quit:
		return false
	}
}

// fill reads records until there are enough, or no more.
func (p *logPart) fill() {
	began := p.log.Offset()
	for p.end == nil && len(p.buffer) < partSize {
		at := p.log.Offset()
		record, err := p.log.Next()
		if err != nil {
			p.end = err
			break
		}
		p.buffer = append(p.buffer, record.Payload...)
		p.records = append(p.records, record)
		p.offsets = append(p.offsets, at)
	}
	// The buffer has its final place only now.
	rest := p.buffer
	for i := range p.records {
		n := len(p.records[i].Payload)
		p.records[i].Payload, rest = rest[:n:n], rest[n:]
	}
	p.bytes = p.log.Offset() - began
}
