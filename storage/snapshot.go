package storage

import "sync/atomic"

// Snapshot is the engine's content at one time. While it is open, what it sees is kept, so it should be closed soon.
type Snapshot struct {
	db     *DB
	seq    uint64
	closed atomic.Bool
}

// NewSnapshot returns a snapshot of the present content. Of a closed engine it is a closed snapshot.
func (d *DB) NewSnapshot() *Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newSnapshot()
}

// newSnapshot is NewSnapshot for who holds mu.
func (d *DB) newSnapshot() *Snapshot {
	s := &Snapshot{db: d, seq: d.seq}
	if d.closed {
		s.closed.Store(true)
		return s
	}
	d.snapshots[s.seq]++
	return s
}

// Get appends the value that key had at the snapshot's time to dst.
func (s *Snapshot) Get(dst, key []byte) (value []byte, found bool, err error) {
	if s.closed.Load() {
		return dst, false, ErrClosed
	}
	state := s.db.acquire()
	if state == nil {
		return dst, false, ErrClosed
	}
	value, found, _, err = state.get(dst, key, s.seq, true)
	state.release()
	return value, found, err
}

// NewIter returns an iterator over the snapshot; it stays valid when the snapshot is closed.
func (s *Snapshot) NewIter(o IterOptions) (*Iter, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	state := s.db.acquire()
	if state == nil {
		return nil, ErrClosed
	}
	return newIter(state, s.seq, o), nil
}

// Close lets go of what only the snapshot sees. Closing again does nothing.
func (s *Snapshot) Close() {
	if s.closed.Swap(true) {
		return
	}
	d := s.db
	d.mu.Lock()
	if d.snapshots[s.seq]--; d.snapshots[s.seq] == 0 {
		delete(d.snapshots, s.seq)
	}
	d.mu.Unlock()
	// A range deletion may have waited for this snapshot.
	d.compactor.kick()
}
