package cluster

import (
	"errors"
	"fmt"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/replica"
	"kvstore/cluster/version"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// store is the engine as the replica uses it, its errors under the names that
// requests know.
type store struct{ db *storage.DB }

func (s store) Get(dst, key []byte) ([]byte, bool, error) {
	value, found, err := s.db.Get(dst, key)
	if err != nil {
		err = storeError(err)
	}
	return value, found, err
}

func (s store) TryGet(dst, key []byte) ([]byte, bool, bool, error) {
	value, found, ready, err := s.db.TryGet(dst, key)
	if err != nil {
		err = storeError(err)
	}
	return value, found, ready, err
}

// Expect implements replica.Expecter.
func (s store) Expect(token uint64) { s.db.Expect(token) }

// ExpectAll implements replica.Expecter.
func (s store) ExpectAll(tokens []uint64) { s.db.ExpectAll(tokens) }

// GetLeft implements replica.Salvager.
func (s store) GetLeft(dst, key []byte) ([]byte, bool, error) {
	value, found, err := s.db.GetLeft(dst, key)
	if err != nil {
		err = storeError(err)
	}
	return value, found, err
}

func (s store) Set(key, value []byte, delta uint64) error {
	_, err := s.db.SetSum(key, value, delta)
	if errors.Is(err, storage.ErrFull) && deletes(value) {
		_, err = s.db.SetUrgent(key, value, delta)
	}
	if err != nil {
		return storeError(err)
	}
	return nil
}

// Owed implements replica.Slowing.
func (s store) Owed() time.Duration { return s.db.Owed() }

// Rested implements replica.Slowing.
func (s store) Rested(took time.Duration) { s.db.Rested(took) }

// deletes reports whether an object deletes its key. Such are written on a full
// disk too, while the reserve lasts: they are what makes room.
func deletes(object []byte) bool {
	_, kind, _, err := version.PeekNewest(object)
	return err == nil && kind == version.Tombstone
}

func (s store) Delete(key []byte, delta uint64) error {
	if _, err := s.db.DeleteSum(key, delta); err != nil {
		return storeError(err)
	}
	return nil
}

// Apply stores a change of the replica.
func (s store) Apply(c *replica.Change) error {
	var b storage.Batch
	switch {
	case c.Remove:
		b.DeleteSum(c.Key, c.Delta)
	case c.Value != nil:
		b.SetSum(c.Key, c.Value, c.Delta)
	}
	for _, r := range c.Beside {
		if r.Value == nil {
			b.Delete(r.Key)
		} else {
			b.Set(r.Key, r.Value)
		}
	}
	_, err := s.db.Apply(&b)
	if errors.Is(err, storage.ErrFull) && (c.Remove || deletes(c.Value)) {
		b.Urgent = true
		_, err = s.db.Apply(&b)
	}
	if err != nil {
		return storeError(err)
	}
	return nil
}

// Scan walks a consistent view of a range.
func (s store) Scan(lower, upper []byte, fn func(key, value []byte) bool) error {
	it, err := s.db.NewIter(storage.IterOptions{Lower: lower, Upper: upper})
	if err != nil {
		return storeError(err)
	}
	for ok := it.First(); ok && fn(it.Key(), it.Value()); ok = it.Next() {
	}
	if err := errors.Join(it.Err(), it.Close()); err != nil {
		return storeError(err)
	}
	return nil
}

// storeError names an error of the engine as requests know it. What the disk
// said when it was full or failed is for the operator, and the engine has logged
// it; which bytes are damaged is for whoever asked for them.
func storeError(err error) error {
	switch {
	case errors.Is(err, storage.ErrFull):
		return coordinator.ErrFull
	case errors.Is(err, storage.ErrReadOnly):
		return coordinator.ErrReadOnly
	case storage.IsCorrupt(err):
		return fmt.Errorf("%w: %w", coordinator.ErrCorrupt, err)
	}
	return err
}

// clockError says for the coordinator why the clock cannot be carried on. Nothing
// is written then, as when the engine refuses: another replica may take the write.
func clockError(err error) error {
	switch {
	case err == nil:
		return nil
	case vfs.IsFull(err):
		return coordinator.ErrFull
	}
	return fmt.Errorf("%w: %w", coordinator.ErrReadOnly, err)
}
