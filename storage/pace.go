package storage

import (
	"time"

	"kvstore/storage/compaction"
)

// pacer makes one compaction rest while the engine is busy with writes.
type pacer struct {
	db   *DB
	pace compaction.Pace
	// looked is when the last rest began, and seq the last write then; resumed is when it ended.
	looked, resumed time.Time
	seq             uint64
	timer           *time.Timer
}

// paceInterval is how long a compaction works before it asks whether to rest: far less than a client would notice, and
// enough for a few thousand records.
const paceInterval = time.Millisecond

func newPacer(d *DB) *pacer {
	now := time.Now()
	o := &d.options
	return &pacer{db: d, pace: compaction.Pace{Trigger: o.L0Trigger, Stop: o.L0Stop}, looked: now, resumed: now, seq: d.visible.Load()}
}

// rest pauses for as long as the pace demands, or until stop is closed. A nil pacer never rests.
func (p *pacer) rest(stop <-chan struct{}) {
	if p == nil {
		return
	}
	now := time.Now()
	worked := now.Sub(p.resumed)
	if worked < paceInterval {
		return
	}
	tables := 0
	if s := p.db.state.Load(); s != nil {
		tables = len(s.version.levels[0])
	}
	seq := p.db.visible.Load()
	length := p.pace.Rest(worked, now.Sub(p.looked), seq-p.seq, tables)
	p.looked, p.resumed, p.seq = now, now, seq
	if length == 0 {
		return
	}
	if p.timer == nil {
		p.timer = time.NewTimer(length)
	} else {
		p.timer.Reset(length)
	}
	select {
	case <-p.timer.C:
	case <-stop:
		p.timer.Stop()
	}
	p.resumed = time.Now()
	p.db.metrics.compactionRest.Add(int64(p.resumed.Sub(now)))
}
