package hint

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// Engine is where hints are stored.
type Engine interface {
	// TryGet reads a record without I/O: ready is false when the disk is needed.
	TryGet(dst, key []byte) (value []byte, found, ready bool, err error)
	// Scan calls fn with the records from lower up to, and without, upper, in
	// order, until fn returns false.
	Scan(lower, upper []byte, fn func(key, value []byte) bool) error
}

// Options configure a Store; the zero value has the defaults.
type Options struct {
	// MaxBytes bounds, for each target, the bytes its hints stand for. Default:
	// DefaultMaxBytes.
	MaxBytes int64
	// MaxAge is how long a hint is kept. Default: DefaultMaxAge.
	MaxAge time.Duration
	// Now is the clock of MaxAge; nil is time.Now.
	Now func() time.Time
	// Dropped is told of a token whose hint was not kept; may be nil. It must
	// not block: it may be called under a key's lock.
	Dropped func(target ring.NodeID, t ring.Token)
}

const (
	// DefaultMaxBytes is what a node of 1 KiB objects misses in a quarter of an
	// hour of 5,000 writes a second.
	DefaultMaxBytes = 4 << 30
	// DefaultMaxAge is a night and a day: longer, and comparing replicas is as
	// good.
	DefaultMaxAge = 24 * time.Hour
)

// Store counts hints, and makes the records that keep them.
type Store struct {
	engine Engine
	o      Options

	mu      sync.Mutex
	targets map[ring.NodeID]*target // guarded by mu
	limits  limits                  // guarded by mu
}

type limits struct {
	bytes int64
	age   time.Duration
}

// tally is a number of hints and the bytes they stand for.
type tally struct{ count, bytes int64 }

func (t *tally) add(count, bytes int64) {
	t.count += count
	t.bytes += bytes
}

// target is what is known of one node's hints.
type target struct {
	tally
	oldest  time.Time // no hint was made before; zero when it is not known
	dropped uint64
	sent    uint64
	adds    uint64 // calls of Add
	// doubts are hints of which it is not known whether they were there before.
	doubts int
	recent *tally // what has changed since a snapshot that is being counted; else nil
}

// change counts a hint that came or went.
func (t *target) change(count, bytes int64) {
	t.add(count, bytes)
	if t.recent != nil {
		t.recent.add(count, bytes)
	}
}

// New returns a store over what engine holds, of which nothing is counted yet.
func New(engine Engine, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dropped == nil {
		o.Dropped = func(ring.NodeID, ring.Token) {}
	}
	s := &Store{engine: engine, o: o, targets: make(map[ring.NodeID]*target)}
	s.SetLimits(o.MaxBytes, o.MaxAge)
	return s
}

// SetLimits changes the bounds; zero is the default.
func (s *Store) SetLimits(maxBytes int64, maxAge time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = limits{cmp.Or(maxBytes, DefaultMaxBytes), cmp.Or(maxAge, DefaultMaxAge)}
}

// of returns a target's entry. The caller holds mu.
func (s *Store) of(id ring.NodeID) *target {
	t := s.targets[id]
	if t == nil {
		t = new(target)
		s.targets[id] = t
	}
	return t
}

// Add appends to beside the record of a hint, unless it is there already, and
// counts it; size is that of the object. The caller holds the key's lock and
// stores beside together with the object; if that fails, it calls Undo. False: the
// bound is reached, and no hint is kept.
//
// Whether a hint is there is asked of memory only. Where that is not enough the
// hint is written in any case, and counted by a Recount.
func (s *Store) Add(beside []replica.Record, id ring.NodeID, k replica.Key, size int) ([]replica.Record, bool) {
	s.mu.Lock()
	s.of(id).adds++
	s.mu.Unlock()
	name := AppendKey(nil, id, k)
	_, found, ready, err := s.engine.TryGet(nil, name)
	if found && ready && err == nil {
		return beside, true
	}
	now, bytes := s.o.Now(), int64(len(k.Name)+size)
	s.mu.Lock()
	t := s.of(id)
	full := t.bytes+bytes > s.limits.bytes
	switch {
	case full:
		t.dropped++
	case ready && err == nil:
		t.change(1, bytes)
	default:
		t.doubts++
	}
	if !full && (t.oldest.IsZero() || now.Before(t.oldest)) {
		t.oldest = now
	}
	s.mu.Unlock()
	if full {
		s.o.Dropped(id, k.Token)
		return beside, false
	}
	return append(beside, replica.Record{Key: name, Value: appendValue(nil, now, bytes)}), true
}

// Undo says that a batch with hints of a target was not stored, though Add or End
// counted it.
func (s *Store) Undo(id ring.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(id).doubts++
}

// Adds returns how often something was missed by a target, be there a hint already.
// While it does not change, a hint that is there stands for nothing newer.
func (s *Store) Adds(id ring.NodeID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(id).adds
}

// Owes reports whether there are hints of a target.
func (s *Store) Owes(id ring.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targets[id]
	return t != nil && (t.count > 0 || t.doubts > 0)
}

// Has reports whether there is a hint of a key for a node; ready is false when
// only the disk knows. The caller holds the key's lock if it matters.
func (s *Store) Has(id ring.NodeID, k replica.Key) (found, ready bool, err error) {
	_, found, ready, err = s.engine.TryGet(nil, AppendKey(nil, id, k))
	return found, ready, err
}

// End appends to beside that a hint is gone, and counts it; see Add. Either the
// target has the object, or nobody will bring it.
func (s *Store) End(beside []replica.Record, h *Hint, delivered bool) []replica.Record {
	s.mu.Lock()
	t := s.of(h.Target)
	t.change(-1, -h.Size)
	if delivered {
		t.sent++
	} else {
		t.dropped++
	}
	s.mu.Unlock()
	if !delivered {
		s.o.Dropped(h.Target, h.Key.Token)
	}
	return append(beside, replica.Record{Key: AppendKey(nil, h.Target, h.Key)})
}

// Expired reports whether a hint has outlived its time.
func (s *Store) Expired(h *Hint) bool {
	s.mu.Lock()
	age := s.limits.age
	s.mu.Unlock()
	return s.o.Now().Sub(h.Made) > age
}

// Count takes a record of a snapshot that was made before the first Add: what the
// node started with.
func (s *Store) Count(k, value []byte) error {
	h, err := Parse(k, value)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.of(h.Target)
	t.change(1, h.Size)
	if t.oldest.IsZero() || h.Made.Before(t.oldest) {
		t.oldest = h.Made
	}
	return nil
}

// Doubtful returns the targets whose count needs a Recount.
func (s *Store) Doubtful() (ids []ring.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.targets {
		if t.doubts > 0 && t.recent == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// BeginCount is called at the moment of the snapshot that a recount reads: while
// no key's lock is held by others.
func (s *Store) BeginCount(id ring.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.of(id)
	t.doubts, t.recent = 0, new(tally)
}

// EndCount ends a recount: so many hints were in the snapshot. A count that was
// given up is repeated.
func (s *Store) EndCount(id ring.NodeID, count, bytes int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.of(id)
	if err == nil {
		t.tally = tally{t.recent.count + count, t.recent.bytes + bytes}
	} else {
		t.doubts++
	}
	t.recent = nil
}

// Stat is what is kept for one node.
type Stat struct {
	Target  ring.NodeID
	Count   int64
	Bytes   int64
	Oldest  time.Time // about when the oldest was made; zero when there is none
	Sent    uint64    // ended because the target has them, since the start
	Dropped uint64    // not kept, since the start
}

// Stats returns what is kept for every node that ever missed something, in the
// order of their ids.
func (s *Store) Stats() (stats []Stat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.targets {
		stat := Stat{Target: id, Count: max(t.count, 0), Bytes: max(t.bytes, 0), Sent: t.sent, Dropped: t.dropped}
		if stat.Count > 0 {
			stat.Oldest = t.oldest
		}
		stats = append(stats, stat)
	}
	slices.SortFunc(stats, func(a, b Stat) int { return cmp.Compare(a.Target, b.Target) })
	return stats
}

// Targets returns the nodes that hints are, or may be, kept for.
func (s *Store) Targets() (ids []ring.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.targets {
		if t.count != 0 || t.doubts > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Outstanding reports whether any hint has a token from lo up to, and without, hi.
func (s *Store) Outstanding(lo, hi ring.Token) (found bool, err error) {
	for _, id := range s.Targets() {
		lower, upper := Bounds(id, lo, hi)
		err = s.engine.Scan(lower, upper, func(_, _ []byte) bool {
			found = true
			return false
		})
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// Page returns up to limit hints of a target in the order of their keys, those
// after the engine's key that the page before returned; nil begins. An empty page
// is the end.
func (s *Store) Page(id ring.NodeID, after []byte, limit int) (page []Hint, last []byte, err error) {
	lower, upper := Bounds(id, 0, ring.TokenEnd)
	if after != nil {
		lower = append(slices.Clone(after), 0)
	}
	var bad error
	err = s.engine.Scan(lower, upper, func(k, value []byte) bool {
		h, err := Parse(slices.Clone(k), value)
		if err != nil {
			bad = err
			return false
		}
		page = append(page, h)
		last = append(last[:0], k...)
		return len(page) < limit
	})
	if err == nil {
		err = bad
	}
	return page, last, err
}

// Passed tells how old the oldest hint was that a whole pass over a target's left;
// zero when it left none.
func (s *Store) Passed(id ring.NodeID, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(id).oldest = oldest
}
