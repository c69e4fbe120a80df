package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/storage/cache"
	"kvstore/storage/manifest"
	"kvstore/storage/memtable"
	"kvstore/storage/vfs"
	"kvstore/storage/wal"
)

// DB is an open engine. All its methods may be called concurrently.
type DB struct {
	dir     string
	options Options
	fs      vfs.FS
	logger  zerolog.Logger
	cache   *cache.Cache
	// pages are what freed memtables leave to new ones.
	pages *memtable.Pool
	lock  io.Closer

	// state is what readers use, nil when closed. It is replaced under mu.
	state atomic.Pointer[readState]
	// states counts the read states somebody holds, so that Close can wait for the readers.
	states sync.WaitGroup
	// visible is the last sequence number readers may see, written the last one handed to the kernel, durable the last
	// one that survives a loss of power, be it in a log or in tables.
	visible, written, durable atomic.Uint64
	// hiding says that the log has not taken what memory holds: keys of which that is so cannot be read (see logged). It is
	// set with refused, and ends when the log has all.
	hiding atomic.Bool
	// nextFile is the next unused file number.
	nextFile atomic.Uint64

	// mu serialises writers. It is held for memory work only.
	mu sync.Mutex
	// room wakes writers that wait in makeRoom, and who waits for a flush: on a rotation prepared, a flush done, a
	// refusal.
	room sync.Cond
	// The rest of the block stands under mu. seq is the last sequence number given out.
	seq     uint64
	active  *memory
	next    []prepared
	pending segment
	sealed  []segment
	// refused is why writes are refused, nil when they are not.
	refused error
	// forGood says that refused stays until the engine is opened again.
	forGood bool
	closed  bool
	sums    sums
	// backpressure delays writers whom the background work cannot follow.
	backpressure backpressure
	// owed is until when writers are to rest, in Unix nanoseconds; 0 when there is no need to.
	owed atomic.Int64
	// snapshots counts the open snapshots by sequence number.
	snapshots map[uint64]int

	turn    logTurn
	syncer  syncer
	waiters waiterPool
	walks   walkPool
	tree    tree
	keeper  keeper
	flusher signal
	// lookups is how many blocks had been asked for at the last flush; it belongs to the flusher.
	lookups uint64
	// preparer wakes the goroutine that prepares rotations.
	preparer signal
	// compactor is shared by the compaction workers.
	compactor compactor
	doctor    doctor
	scrub     scrubber
	reserve   reserve
	// writeDelay and flushDelay are how long the log's work takes.
	writeDelay, flushDelay delay
	metrics                counters

	// quit is closed by Close to end the goroutines, which background counts.
	quit       chan struct{}
	background sync.WaitGroup
}

// prepared is the log and the memtable that a rotation puts in place.
type prepared struct {
	log   *wal.Writer
	table *memtable.Table
}

// tree is what changes the manifest.
type tree struct {
	// token is held by who changes the tree.
	token token
	// manifest and what it sums up to belong to the holder of the token.
	manifest *manifest.Log
	sum      *manifest.State
	// unknown is why the manifest on the disk may differ from sum, nil when it does not. Nothing can be appended then: the
	// edit might contradict one that is there. It belongs to the holder of the token too.
	unknown error
}

// lockName is the file whose lock keeps other processes out.
const lockName = "LOCK"

// Open opens the engine in dir, which is made when it is not there. The error wraps ErrLocked when another process has
// it open, and is a *CorruptError when something that was durable is damaged. What a crash left unfinished is mended.
func Open(dir string, o Options) (*DB, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := o.FS.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	lock, err := o.FS.Lock(filepath.Join(dir, lockName))
	if err != nil {
		if _, ok := errors.AsType[*vfs.LockedError](err); ok {
			err = fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return nil, fmt.Errorf("open engine in %s: %w", dir, err)
	}
	opened := time.Now()
	d := &DB{
		dir: dir, options: o, fs: o.FS, logger: o.Logger, lock: lock,
		cache:        cache.New(o.CacheSize),
		pages:        memtable.NewPool(int(o.MemtableSize)),
		snapshots:    map[uint64]int{},
		backpressure: newBackpressure(&o),
		turn:         logTurn{token: newToken()},
		syncer:       syncer{signal: newSignal()},
		tree:         tree{token: newToken()},
		flusher:      newSignal(),
		writeDelay:   delay{epoch: opened},
		flushDelay:   delay{epoch: opened},
		quit:         make(chan struct{}),
	}
	d.room.L = &d.mu
	d.keeper.signal = newSignal()
	d.preparer = newSignal()
	d.doctor.signal = newSignal()
	d.compactor.init()
	d.openReserve()
	if err := d.recover(); err != nil {
		d.closeFiles()
		return nil, fmt.Errorf("open engine in %s: %w", dir, err)
	}
	d.beginFull()
	d.start()
	return d, nil
}

// start starts the goroutines. All end when quit is closed.
func (d *DB) start() {
	d.background.Go(d.runSyncer)
	d.background.Go(d.runPreparer)
	d.background.Go(d.runKeeper)
	d.background.Go(d.runFlusher)
	d.background.Go(d.runDoctor)
	d.background.Go(d.runScrubber)
	for range d.options.CompactionWorkers {
		d.background.Go(d.runCompactor)
	}
	d.keeper.kick()
	d.compactor.kick()
}

// Close writes and flushes what is pending and closes the engine. It waits for reads in progress, so the caller closes
// its iterators before.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	d.closed = true
	if d.refused == nil {
		d.refused = ErrClosed
	}
	healthy := errors.Is(d.refused, ErrClosed)
	d.room.Broadcast()
	d.mu.Unlock()

	close(d.quit)
	d.background.Wait()
	err := error(nil)
	if healthy {
		err = d.closeLog()
	}
	d.closeFiles()
	return err
}

// enter keeps Close from going on until background.Done is called.
func (d *DB) enter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.background.Add(1)
	return nil
}

// closeLog writes what is pending one last time, now that writers are refused and the goroutines have ended.
func (d *DB) closeLog() error {
	d.mu.Lock()
	d.refused = nil
	d.mu.Unlock()
	err := d.syncLog(true)
	d.mu.Lock()
	d.refused = ErrClosed
	d.mu.Unlock()
	return err
}

// closeFiles lets go of everything that is open; nothing else runs any more.
func (d *DB) closeFiles() {
	if s := d.state.Swap(nil); s != nil {
		s.release()
	}
	d.states.Wait()
	d.pages.Close()
	d.keeper.sweep(d)
	for _, p := range d.next {
		p.table.Free()
	}
	closers := []io.Closer{}
	for _, w := range d.openLogs() {
		closers = append(closers, w)
	}
	if d.tree.manifest != nil {
		closers = append(closers, d.tree.manifest)
	}
	for _, c := range append(closers, d.lock) {
		if err := c.Close(); err != nil {
			d.logger.Warn().Err(err).Msg("close engine")
		}
	}
	d.cache.Close()
}

// openLogs returns the logs that are open: what a failed disk did not take may belong to logs that were never written.
func (d *DB) openLogs() []*wal.Writer {
	logs := slices.Clone(d.turn.open)
	for _, s := range slices.Concat(d.turn.backlog, d.sealed, []segment{d.pending}) {
		if s.log != nil && !slices.Contains(logs, s.log) {
			logs = append(logs, s.log)
		}
	}
	for _, p := range d.next {
		logs = append(logs, p.log)
	}
	return logs
}

// Get appends key's value to dst. It may read from the disk.
func (d *DB) Get(dst, key []byte) (value []byte, found bool, err error) {
	s := d.acquire()
	if s == nil {
		return dst, false, ErrClosed
	}
	value, found, _, err = s.get(dst, key, d.visible.Load(), true)
	if d.hiding.Load() && err == nil {
		value, found, _, err = d.logged(s, len(dst), key, value, found, true)
	}
	s.release()
	return value, found, err
}

// TryGet is Get that never waits for the disk: it is not ready when the answer needs a block that is not in memory.
func (d *DB) TryGet(dst, key []byte) (value []byte, found, ready bool, err error) {
	s := d.acquire()
	if s == nil {
		return dst, false, true, ErrClosed
	}
	value, found, ready, err = s.get(dst, key, d.visible.Load(), false)
	if d.hiding.Load() && ready && err == nil {
		value, found, ready, err = d.logged(s, len(dst), key, value, found, false)
	}
	s.release()
	return value, found, ready, err
}

// logged is the rest of Get and TryGet while memory may hold what the log has not got. A key of which the log knows
// another version is not read at all: the newest may vanish with the process, and who were told the one before could
// write it again on top. value has what was read from its first bytes on.
func (d *DB) logged(s *readState, first int, key, value []byte, found, wait bool) ([]byte, bool, bool, error) {
	before, was, ready, err := s.get(nil, key, d.written.Load(), wait)
	switch {
	case err != nil || !ready:
		return value[:first], false, ready, err
	case was == found && bytes.Equal(before, value[first:]):
		return value, found, true, nil
	}
	if err := d.WriteError(); err != nil {
		return value[:first], false, true, fmt.Errorf("the newest version of the key is not in the log: %w", err)
	}
	return value, found, true, nil // it is now
}

// Expect says that a key that begins with this token will be read or written soon. It waits for nothing.
func (d *DB) Expect(token uint64) {
	if s := d.state.Load(); s != nil {
		s.active.table.Expect(token)
		for _, m := range s.immutable {
			m.table.Expect(token)
		}
	}
}

// ExpectAll is Expect for several keys that will be read or written one after another.
func (d *DB) ExpectAll(tokens []uint64) {
	s := d.acquire()
	if s == nil {
		return
	}
	for len(tokens) > 0 {
		n := min(len(tokens), memtable.MaxExpected)
		s.expect(tokens[:n])
		tokens = tokens[n:]
	}
	s.release()
}

// WriteError returns nil, or why writes are refused: it wraps ErrFull, ErrReadOnly or ErrClosed.
func (d *DB) WriteError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

// refuse makes writes fail after the disk failed with err, and returns what they fail with.
func (d *DB) refuse(err error) error {
	return d.refuseWith(refusal(err), !vfs.IsFull(err))
}

// refuseForGood is refuse for a failure after which what is on the disk is unknown, so that room does not mend it.
func (d *DB) refuseForGood(err error) error {
	return d.refuseWith(fmt.Errorf("%w: %w", ErrReadOnly, err), true)
}

func (d *DB) refuseWith(refused error, forGood bool) error {
	d.mu.Lock()
	switch {
	case d.forGood, d.closed && d.refused != nil:
		refused = d.refused
	case d.closed:
		// It is Close that writes; the failure is its result.
	default:
		if d.refused == nil || forGood {
			d.logger.Error().Err(refused).Msg("writes are refused")
		}
		d.refused, d.forGood = refused, forGood
		d.hiding.Store(true)
		d.owed.Store(0) // a write is refused at once
		d.room.Broadcast()
	}
	d.mu.Unlock()
	d.keeper.kick()
	return refused
}

// name returns the path of a file in the engine's directory.
func (d *DB) name(base string) string { return filepath.Join(d.dir, base) }

func logName(number uint64) string   { return fmt.Sprintf("%06d.log", number) }
func tableName(number uint64) string { return fmt.Sprintf("%06d.sst", number) }
