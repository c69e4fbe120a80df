package engines

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

type badgerEngine struct{ db *badger.DB }

func openBadger(o Options) (Engine, error) {
	db, err := badger.Open(badger.DefaultOptions(o.Dir).
		WithLogger(nil).
		WithSyncWrites(o.Durable).
		WithMemTableSize(o.Memtable).
		WithValueThreshold(min(1<<20, o.Memtable/8)). // the default, which must be less than a small memtable's batches
		WithBlockCacheSize(o.Cache).
		WithBloomFalsePositive(0.01). // what ten bits a key give
		WithCompression(options.Snappy))
	if err != nil {
		return nil, err
	}
	return &badgerEngine{db}, nil
}

// A transaction keeps the slices it is given until it has ended, which Update waits for.

func (b *badgerEngine) Set(key, value []byte) error {
	return b.db.Update(func(t *badger.Txn) error { return t.Set(key, value) })
}

func (b *badgerEngine) Delete(key []byte) error {
	return b.db.Update(func(t *badger.Txn) error { return t.Delete(key) })
}

func (b *badgerEngine) Get(dst, key []byte) (value []byte, found bool, err error) {
	value = dst
	err = b.db.View(func(t *badger.Txn) error {
		item, err := t.Get(key)
		if err != nil {
			return err
		}
		found = true
		return item.Value(func(v []byte) error {
			value = append(dst, v...)
			return nil
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return dst, false, nil
	}
	return value, found, err
}

func (b *badgerEngine) Scan(lo, hi []byte, each func(key, value []byte)) error {
	return b.db.View(func(t *badger.Txn) error {
		// Values lie beside their keys here, so fetching them ahead would be one goroutine more for nothing.
		it := t.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Seek(lo); it.Valid(); it.Next() {
			item := it.Item()
			if bytes.Compare(item.Key(), hi) >= 0 {
				break
			}
			err := item.Value(func(v []byte) error {
				each(item.Key(), v)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *badgerEngine) SetMany(n int, pair func(i int) (key, value []byte)) error {
	w := b.db.NewWriteBatch()
	defer w.Cancel()
	for i := range n {
		key, value := pair(i)
		if err := w.Set(bytes.Clone(key), bytes.Clone(value)); err != nil {
			return err
		}
	}
	return w.Flush()
}

func (b *badgerEngine) Checkpoint(string) error {
	return fmt.Errorf("badger has backups only: %w", errors.ErrUnsupported)
}

func (b *badgerEngine) Close() error { return b.db.Close() }
