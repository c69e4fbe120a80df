package transfer

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"kvstore/cluster/ring"
)

// Metrics count the work. They only grow.
type Metrics struct {
	Changes  atomic.Uint64 // of the ring that this node asked for
	Copied   atomic.Uint64 // partitions
	Dropped  atomic.Uint64 // partitions
	Keys     atomic.Uint64 // taken or given
	Bytes    atomic.Uint64 // taken or given
	Failures atomic.Uint64 // attempts that were repeated
}

// Move is how far a transfer is.
type Move struct {
	ring.Transfer
	Keys, AllKeys   int64         // AllKeys is an estimate, and 0 until something is known
	Bytes, AllBytes int64         // AllBytes is one, too
	Began           time.Time     // zero while it waits for its turn
	Left            time.Duration // until it is done, at the rate so far; 0 when that is not known
	Reason          string        // why the last attempt failed
}

// Progress is how far a node is with what it does about a ring.
type Progress struct {
	Paused   bool
	Waiting  int    // transfers of this node that have not begun
	Moving   []Move // those that have, by partition
	Copied   int    // of those in Moving: they have all they need, and wait for their last steps
	Keys     int64  // moved, of those in Moving that are not Copied
	Bytes    int64
	AllKeys  int64 // of the same; an estimate
	AllBytes int64
	Rate     float64       // bytes a second, of late
	Left     time.Duration // until Moving and Waiting are done, at the rate so far; 0 when that is not known
	Dropping int           // partitions that are here and are to be dropped
	Reason   string        // why the ring cannot be changed
	LeftWhy  string        // why the last partition was not dropped
}

// Progress returns how far the node is.
func (d *Driver) Progress() Progress {
	r := d.o.Ring()
	if r == nil {
		return Progress{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := Progress{Paused: r.Paused, Dropping: len(d.left), Reason: d.reason, LeftWhy: d.leftWhy}
	now := time.Now()
	for _, t := range r.Transfers {
		switch {
		case t.Driver() != d.o.Self:
		case t.Step == ring.Waiting:
			p.Waiting++
		default:
			m := d.moves[task{t, kindOf(r, t)}]
			p.add(m.progress(t, now), t.Step == ring.Switched || m != nil && m.ready)
		}
	}
	slices.SortFunc(p.Moving, func(a, b Move) int { return cmp.Compare(a.Partition, b.Partition) })
	p.Rate = d.rate.of(now, d.Metrics.Bytes.Load())
	if copying := len(p.Moving) - p.Copied; copying > 0 && p.AllBytes > 0 {
		d.usual = float64(p.AllBytes) / float64(copying)
	}
	if p.Rate > 0 && p.Waiting+len(p.Moving) > p.Copied {
		// Those that wait are as large as those that copy, or copied last, for all anybody knows.
		rest := float64(p.AllBytes-p.Bytes) + float64(p.Waiting)*d.usual
		p.Left = time.Duration(max(rest, 0) / p.Rate * float64(time.Second))
	}
	return p
}

// add counts a transfer that has begun; one that is copied adds nothing to what is to be moved.
func (p *Progress) add(m Move, copied bool) {
	p.Moving = append(p.Moving, m)
	if copied {
		p.Copied++
		return
	}
	p.Keys += m.Keys
	p.Bytes += m.Bytes
	p.AllKeys += m.AllKeys
	p.AllBytes += m.AllBytes
}

// progress returns how far a transfer is. The caller holds the driver's mu; m may be
// nil.
func (m *move) progress(t ring.Transfer, now time.Time) Move {
	out := Move{Transfer: t}
	if m == nil {
		return out
	}
	out.Keys, out.Bytes, out.Began, out.Reason = m.keys, m.bytes, m.began, m.reason
	out.AllKeys, out.AllBytes = max(m.size.Keys, m.keys), max(m.size.Bytes, m.bytes)
	if m.ready || t.Step == ring.Switched {
		out.AllKeys, out.AllBytes = m.keys, m.bytes
		return out
	}
	if spent := now.Sub(m.began); !m.began.IsZero() && m.bytes > 0 && spent > 0 {
		out.Left = time.Duration(float64(out.AllBytes-m.bytes) / float64(m.bytes) * float64(spent))
	}
	return out
}

// rate is bytes a second over the last seconds.
type rate struct {
	at    time.Time
	bytes uint64
	last  float64
}

// rateOver is the time over which the rate is taken: shorter ones jump.
const rateOver = 2 * time.Second

// of returns the rate when so many bytes have been moved in all.
func (r *rate) of(now time.Time, bytes uint64) float64 {
	passed := now.Sub(r.at)
	switch {
	case r.at.IsZero() || passed > 10*rateOver:
		r.at, r.bytes, r.last = now, bytes, 0
	case passed >= rateOver:
		r.last = float64(bytes-r.bytes) / passed.Seconds()
		r.at, r.bytes = now, bytes
	case r.last == 0 && passed > rateOver/8:
		return float64(bytes-r.bytes) / passed.Seconds()
	}
	return r.last
}
