package storage

import (
	"fmt"
	"testing"
	"time"

	"kvstore/storage/vfs"
)

// plant is an engine's background work without the engine: memtables are flushed one after another, and a compaction takes
// all of level 0 at once, however long that lasts.
type plant struct {
	o              Options
	flush, compact float64 // bytes a second
	b              backpressure

	now          time.Time
	filled       float64 // of the active memtable
	full, tables int
	merging      int // tables of level 0 that the compaction has taken
	flushed      time.Time
	merged       time.Time
}

// advance does what is due up to the present time.
func (p *plant) advance() {
	size := float64(p.o.MemtableSize)
	for {
		if p.full > 0 && p.flushed.IsZero() && p.tables < p.o.L0Stop {
			p.flushed = p.now.Add(time.Duration(size / p.flush * 1e9))
		}
		if p.tables >= p.o.L0Trigger && p.merging == 0 {
			p.merging = p.tables
			p.merged = p.now.Add(time.Duration(size * float64(p.merging) / p.compact * 1e9))
		}
		switch {
		case !p.flushed.IsZero() && !p.flushed.After(p.now):
			p.flushed = time.Time{}
			p.full--
			p.tables++
			p.b.memtables.worked(int64(size), time.Duration(size/p.flush*1e9))
		case p.merging > 0 && !p.merged.After(p.now):
			p.b.tables.worked(int64(size)*int64(p.merging), time.Duration(size*float64(p.merging)/p.compact*1e9))
			p.tables -= p.merging
			p.merging = 0
		default:
			return
		}
	}
}

func (p *plant) state() *readState {
	s := &readState{immutable: make([]*memory, p.full), version: &version{}}
	s.version.levels[0] = make([]*table, p.tables)
	return s
}

// TestWritersAreSlowedBeforeTheyStop has a writer that is faster than the disk write for a virtual while: it must never
// have to stop, rest briefly each time, and yet get nearly all that the disk can do.
func TestWritersAreSlowedBeforeTheyStop(t *testing.T) {
	const writer, write = 400e6, 4096
	for _, memtable := range []int64{1 << 20, 16 << 20} {
		for _, compact := range []float64{5e6, 40e6, 200e6, 1e9} {
			for _, flush := range []float64{20e6, 150e6} {
				t.Run(fmt.Sprintf("memtable=%d,compact=%.0f,flush=%.0f", memtable, compact, flush), func(t *testing.T) {
					o := Options{MemtableSize: memtable}
					o.EnsureDefaults()
					p := &plant{o: o, flush: flush, compact: compact, b: newBackpressure(&o), now: time.Unix(0, 0)}
					began, written := p.now, 0.0
					for written < 150*float64(memtable) {
						p.now = p.now.Add(time.Duration(write / writer * 1e9))
						p.advance()
						s := p.state()
						p.b.look(s)
						if p.b.on {
							rest := p.b.charge(s, p.filled, write, p.now)
							if rest > mostDelay || rest != 0 && rest < leastDelay {
								t.Fatalf("a rest of %v", rest)
							}
							p.now = p.now.Add(rest)
							p.advance()
						}
						written += write
						if p.filled += write / float64(memtable); p.filled >= 1 {
							if p.full == o.MaxImmutable {
								t.Fatalf("the writer stops after %.0f MB with %d tables in level 0", written/1e6, p.tables)
							}
							p.full++
							p.filled = 0
						}
					}
					rate := written / p.now.Sub(began).Seconds()
					if most := min(writer, compact, flush); rate < 0.8*most {
						t.Errorf("%.0f MB/s where %.0f were possible", rate/1e6, most/1e6)
					}
				})
			}
		}
	}
}

// TestNoDelayWithoutBacklog holds delays to their purpose: an engine that keeps up has none.
func TestNoDelayWithoutBacklog(t *testing.T) {
	o := Options{}
	o.EnsureDefaults()
	b := newBackpressure(&o)
	for full := range 2 {
		for tables := range 13 {
			p := plant{full: full, tables: tables}
			if rest := b.charge(p.state(), 0.4, 1<<20, time.Now()); rest != 0 {
				t.Errorf("%d memtables and %d tables make a writer rest for %v", full, tables, rest)
			}
		}
	}
}

// TestDelaysAreCounted writes faster than a slow disk takes tables.
func TestDelaysAreCounted(t *testing.T) {
	slow := &vfs.Faulty{FS: vfs.NewMem(), Inject: func(op vfs.Op, _ string) error {
		if op == vfs.OpSync {
			time.Sleep(2 * time.Millisecond)
		}
		return nil
	}}
	db, err := Open("/db", tinyOptions(slow, SyncNever))
	must(t, err)
	for i := range 3000 {
		_, err := db.Set(fmt.Appendf(nil, "key%05d", i), make([]byte, 200))
		must(t, err)
	}
	m := db.Metrics()
	if m.Delays == 0 || m.DelayTime < time.Duration(m.Delays)*leastDelay || m.DelayTime > time.Duration(m.Delays)*mostDelay {
		t.Errorf("%d delays of %v", m.Delays, m.DelayTime)
	}
	if m.LongestStall > m.StallTime || (m.Stalls == 0) != (m.LongestStall == 0) {
		t.Errorf("%d stalls of %v, the longest of %v", m.Stalls, m.StallTime, m.LongestStall)
	}
	must(t, db.Close())
}
