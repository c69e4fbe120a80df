package replica

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// Store is the engine as a replica uses it. Set is visible at once and is on
// its way to the log; who lets a reply out commits the log first. delta is what
// the write changes of the sum of the key's leaf: see Sum.
type Store interface {
	Get(dst, key []byte) (value []byte, found bool, err error)
	// TryGet is Get without waiting: ready is false when the disk is needed.
	TryGet(dst, key []byte) (value []byte, found, ready bool, err error)
	Set(key, value []byte, delta uint64) error
	Delete(key []byte, delta uint64) error
	// Apply stores a change: all of it or nothing.
	Apply(c *Change) error
	// Scan calls fn with the records from lower up to, and without, upper, in
	// order, until fn returns false. The slices are valid during the call.
	Scan(lower, upper []byte, fn func(key, value []byte) bool) error
}

// Key names one key of one database and its place on the ring.
type Key struct {
	Token ring.Token
	DB    uint8
	Name  []byte
}

// Task is a read-modify-write of one key.
type Task interface {
	Key() Key
	// Apply decides what to store, under the key's lock: nil leaves the
	// record as it is, unless Scratch.Remove is set. It must not block.
	Apply(s *Scratch) (write []byte, err error)
	// Keep is called before the task waits: it copies what it borrowed.
	Keep()
	// Done ends the task, exactly once and outside of any lock. An error is
	// Apply's or the store's; nothing was stored then.
	Done(err error)
}

// Mender is a Task that can run where the record cannot be read: Apply then
// finds what is left of it (see Salvager), and what it returns replaces the record.
type Mender interface {
	Mends(err error) bool
}

// Reader is a read of one key.
type Reader interface {
	Key() Key
	Keep()
	// Late reports whether nobody waits for the read any more. A worker asks
	// before it reads the disk, and gives Loaded ErrLate then.
	Late() bool
	// Loaded takes the object, exactly once and outside of any lock. s is
	// valid during the call.
	Loaded(s *Scratch, err error)
}

// ErrFrozen refuses a write while the ring is being changed.
var ErrFrozen = errors.New("the ring is being changed")

// ErrBusy says that too many tasks wait for the disk.
var ErrBusy = errors.New("too many operations wait for the disk")

// ErrLate is what a Reader gets that was Late when its turn came.
var ErrLate = errors.New("the read waited too long for the disk")

const (
	// stripes bounds how many keys can be locked at once; a collision of two
	// keys only costs a short wait.
	stripes = 1024
	// maxWaiting bounds the tasks and readers that wait for the disk, together:
	// at 10,000 reads a second of a slow disk this is more than any request's
	// timeout. maxWaitingBytes bounds what they hold.
	maxWaiting      = 16384
	maxWaitingBytes = 256 << 20
)

// Options configure a Replica.
type Options struct {
	// Workers read blocks that are not in the cache. Default 4 per processor,
	// at least 8: disks serve several reads at once.
	Workers int
	// EndTurn is called by a worker after it completed tasks, so that their
	// replies leave.
	EndTurn func()
	// Corrupt tells an error of the store that says that a record is damaged; may
	// be nil.
	Corrupt func(error) bool
}

// Replica is one node's copy of the data.
type Replica struct {
	store    Store
	expecter Expecter // the store, if it is one
	endTurn  func()
	stripes  [stripes]stripe
	scratch  sync.Pool
	jobs     chan job
	waiting  atomic.Int64 // parked tasks and queued readers; at most maxWaiting
	held     atomic.Int64 // bytes of parked tasks; at most maxWaitingBytes, or one task
	resting  resting
	wg       sync.WaitGroup
	counts   counts
	flushed  horizons
	deaths   deaths
	corrupt  func(error) bool

	wrote atomic.Bool // something is or was stored
	// frozen changes under all stripes' locks and is read under one.
	frozen bool

	closeMu sync.RWMutex
	closed  bool // guarded by closeMu, which keeps jobs open while one is sent
}

// stripe is the lock of the keys whose tokens fall on it, and the tasks parked
// on them.
type stripe struct {
	mu     sync.Mutex
	parked map[ring.Token]*queue // guarded by mu; holds no empty queue
	_      [48]byte              // a cache line each
}

// job is work for a worker: a reader, or the parked tasks of a key.
type job struct {
	reader Reader
	stripe *stripe
	token  ring.Token
	db     uint8
	name   []byte
	since  time.Time // of tasks that rest; else zero
}

// New returns a replica over store.
func New(store Store, o Options) *Replica {
	if o.Workers == 0 {
		o.Workers = max(8, 4*runtime.GOMAXPROCS(0))
	}
	if o.EndTurn == nil {
		o.EndTurn = func() {}
	}
	if o.Corrupt == nil {
		o.Corrupt = func(err error) bool { return errors.Is(err, version.ErrCorrupt) }
	}
	r := &Replica{store: store, endTurn: o.EndTurn, corrupt: o.Corrupt, jobs: make(chan job, maxWaiting)}
	r.startResting()
	r.expecter, _ = store.(Expecter)
	r.scratch.New = func() any { return new(Scratch) }
	for range o.Workers {
		r.wg.Go(r.work)
	}
	return r
}

// Close ends the workers after they have finished what waits.
func (r *Replica) Close() {
	r.closeMu.Lock()
	closing := !r.closed
	r.closed = true
	r.closeMu.Unlock()
	if closing {
		close(r.jobs)
		r.resting.end()
	}
	r.wg.Wait()
}

// Do runs a task: here and now when memory has what it needs, else later.
func (r *Replica) Do(t Task) {
	k := t.Key()
	st := &r.stripes[uint64(k.Token)%stripes]
	st.mu.Lock()
	behind := len(st.parked) > 0 && st.parked[k.Token] != nil
	rests := !behind && r.mustRest()
	ready, err := false, error(nil)
	if !behind && !rests {
		ready, err = r.attempt(t, k, false)
	}
	if !ready && !r.enter(sizeOf(t)) {
		ready, err = true, ErrBusy
	}
	if !ready {
		t.Keep()
		st.park(k.Token, t)
	}
	st.mu.Unlock()
	if ready {
		t.Done(err)
		return
	}
	if behind {
		return
	}
	k = t.Key() // what Keep copied
	j := job{stripe: st, token: k.Token, db: k.DB, name: slices.Clone(k.Name)}
	if rests {
		j.since = time.Now()
	}
	if !r.enqueue(j) {
		r.refuse(st, k.Token)
	}
}

// attempt runs a task under its stripe's lock. ready is false when the disk is
// needed and block does not allow it.
func (r *Replica) attempt(t Task, k Key, block bool) (ready bool, err error) {
	s := r.borrow()
	defer r.giveBack(s)
	ready, err = r.load(s, k, block)
	if !ready {
		return false, err
	}
	mends := false
	if err != nil {
		if m, ok := t.(Mender); !ok || !m.Mends(err) {
			return true, err
		}
		r.loadLeft(s, k)
		mends = true
	}
	write, err := t.Apply(s)
	more := s.Remove || len(s.Beside) > 0
	if err != nil || write == nil && !more {
		return true, err
	}
	if r.frozen {
		return true, ErrFrozen
	}
	if s.Remove {
		write = nil
	}
	delta, touched := uint64(0), write != nil || s.Remove
	if touched {
		delta = s.delta(write)
	}
	if more {
		err = r.store.Apply(&Change{Key: s.key, Value: write, Remove: s.Remove, Delta: delta, Beside: s.Beside})
	} else {
		err = r.store.Set(s.key, write, delta)
	}
	if err != nil {
		return true, err
	}
	if !r.wrote.Load() {
		r.wrote.Store(true)
	}
	if touched {
		r.account(s, k, write, mends)
	}
	return true, nil
}

// account counts what a write did to the keys: one more or one less, and when the
// record can be dead. A nil write is the removal.
func (r *Replica) account(s *Scratch, k Key, write []byte, mended bool) {
	after := false
	if write != nil {
		dot, kind, deadline, err := version.PeekNewest(write)
		if err != nil {
			return // no task makes one; whoever reads it will say so
		}
		after = kind != version.Tombstone
		if !after || deadline != 0 {
			r.deaths.note(k.Token.Slot(), dot, kind, deadline)
		}
	}
	if after != s.alive && !mended { // a damaged record counts as it did
		r.counts.add(k.DB, k.Token.Slot(), after)
	}
}

// Read reads one key: here and now when memory has it, else later.
func (r *Replica) Read(t Reader) {
	s := r.borrow()
	ready, err := r.load(s, t.Key(), false)
	if ready {
		t.Loaded(s, err)
		r.giveBack(s)
		return
	}
	r.giveBack(s)
	r.ReadLater(t)
}

// ReadLater has a worker read one key, for who knows that it needs the disk.
func (r *Replica) ReadLater(t Reader) {
	t.Keep()
	if r.enter(0) {
		if r.enqueue(job{reader: t}) {
			return
		}
		r.leave(0)
	}
	s := r.borrow()
	t.Loaded(s, ErrBusy)
	r.giveBack(s)
}

// TryRead reads one key into a borrowed scratch if memory has it. The caller
// gives s back with Release whatever the outcome.
func (r *Replica) TryRead(k Key) (s *Scratch, ready bool, err error) {
	s = r.borrow()
	ready, err = r.load(s, k, false)
	return s, ready, err
}

// Release gives back what TryRead lent.
func (r *Replica) Release(s *Scratch) { r.giveBack(s) }

// load reads and decodes a key's object.
func (r *Replica) load(s *Scratch, k Key, block bool) (ready bool, err error) {
	s.key = key.AppendUser(s.key[:0], uint64(k.Token), k.DB, k.Name)
	s.Object.Reset()
	if s.Remove || len(s.Beside) > 0 { // of the task before
		clear(s.Beside)
		s.Beside, s.Remove = s.Beside[:0], false
	}
	s.raw, s.alive = nil, false
	value, found, ready, err := r.store.TryGet(s.stored[:0], s.key)
	if err == nil && !ready && block {
		value, found, err = r.store.Get(s.stored[:0], s.key)
		ready = true
	}
	if err != nil {
		return true, err
	}
	if !ready {
		return false, nil
	}
	s.stored = value[:len(value):cap(value)]
	s.Found = found
	if !found {
		s.stored = s.stored[:0]
		return true, nil
	}
	s.raw = s.stored
	if err := s.Object.Decode(s.stored); err != nil {
		return true, fmt.Errorf("object of key %q in database %d: %w", k.Name, k.DB, err)
	}
	if h := r.flushed.of(k.DB); h != 0 {
		s.forget(h)
	}
	s.alive = alive(&s.Object)
	if r.deadHere(k.Token, &s.Object) {
		s.Object.Reset()
		s.stored, s.Found = s.stored[:0], false
	}
	return true, nil
}

// enqueue hands a job to the workers; false when too many wait.
func (r *Replica) enqueue(j job) bool {
	r.closeMu.RLock()
	defer r.closeMu.RUnlock()
	if r.closed {
		return false
	}
	jobs := r.jobs
	if !j.since.IsZero() {
		jobs = r.resting.jobs
		r.resting.count.Add(1)
	}
	select {
	case jobs <- j:
		return true
	default:
		if !j.since.IsZero() {
			r.resting.count.Add(-1)
		}
		return false
	}
}

// refuse ends the tasks parked on a token that no worker will come for.
func (r *Replica) refuse(st *stripe, t ring.Token) {
	for {
		st.mu.Lock()
		task := st.take(t)
		st.mu.Unlock()
		if task == nil {
			return
		}
		r.leave(sizeOf(task))
		task.Done(ErrBusy)
	}
}

// work is a worker: it loads what jobs wait for and runs them.
func (r *Replica) work() {
	for j := range r.jobs {
		if j.reader != nil {
			r.leave(0)
			s := r.borrow()
			err := ErrLate
			if !j.reader.Late() {
				_, err = r.load(s, j.reader.Key(), true)
			}
			j.reader.Loaded(s, err)
			r.giveBack(s)
		} else {
			r.runParked(j)
		}
		r.endTurn()
	}
}

// runParked brings a key's block into the cache without the lock, then runs the
// tasks parked on the key, in order, each under the lock.
func (r *Replica) runParked(j job) {
	s := r.borrow()
	// The error, if there is one, comes again to the task that has to report it.
	_, _ = r.load(s, Key{j.token, j.db, j.name}, true)
	r.giveBack(s)
	for {
		j.stripe.mu.Lock()
		t := j.stripe.take(j.token)
		if t == nil {
			j.stripe.mu.Unlock()
			return
		}
		r.leave(sizeOf(t))
		_, err := r.attempt(t, t.Key(), true)
		j.stripe.mu.Unlock()
		t.Done(err)
		if !j.since.IsZero() {
			r.rest(true)
		}
	}
}

// Scratch is what one operation works with. It is reused: nothing of it may be
// kept.
type Scratch struct {
	Object version.Object // the key's object, empty when nothing is stored
	Found  bool           // a record is stored, if only of a deleted key
	Other  version.Object // room for an object to merge
	Merged version.Object // room for the result
	Buf    []byte         // room for an encoding

	// Apply fills these in, if it wants more than to replace the record.
	Beside []Record // stored together with it
	Remove bool     // the record is removed, whatever Apply returns

	key    []byte
	stored []byte
	raw    []byte // the record as the store has it, be it forgotten
	alive  bool   // the record counts as a key
}

// Stored is the record as it was read; empty when nothing is stored or part of
// it was forgotten.
func (s *Scratch) Stored() []byte { return s.stored }

// maxKept bounds the buffers a scratch keeps from one use to the next.
const maxKept = 64 << 10

// Exclusively runs fn while no task is between reading and storing. fn must be
// short, and must not use the replica.
func (r *Replica) Exclusively(fn func()) {
	r.lockAll()
	defer r.unlockAll()
	fn()
}

func (r *Replica) borrow() *Scratch { return r.scratch.Get().(*Scratch) }

func (r *Replica) giveBack(s *Scratch) {
	if cap(s.stored) > maxKept || cap(s.Buf) > maxKept {
		*s = Scratch{}
	}
	r.scratch.Put(s)
}
