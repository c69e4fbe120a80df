package engines

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// batchDelay is how long a write waits for others to share its transaction, when there are others.
const batchDelay = 100 * time.Microsecond

type bboltEngine struct {
	db *bbolt.DB
	// writers counts the writes in progress: one alone gains nothing by waiting for company.
	writers atomic.Int32
}

func openBbolt(o Options) (Engine, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(o.Dir, "data.bolt"), 0o644, &bbolt.Options{
		NoSync: !o.Durable, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, err
	}
	db.MaxBatchDelay = batchDelay
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketName())
		return err
	})
	if err != nil {
		db.Close()
		return nil, err
	}
	return &bboltEngine{db: db}, nil
}

func bucketName() []byte { return []byte("k") }

func (b *bboltEngine) update(do func(*bbolt.Bucket) error) error {
	run := func(tx *bbolt.Tx) error { return do(tx.Bucket(bucketName())) }
	defer b.writers.Add(-1)
	if b.writers.Add(1) == 1 {
		return b.db.Update(run)
	}
	return b.db.Batch(run)
}

func (b *bboltEngine) Set(key, value []byte) error {
	return b.update(func(bucket *bbolt.Bucket) error { return bucket.Put(key, value) })
}

func (b *bboltEngine) Delete(key []byte) error {
	return b.update(func(bucket *bbolt.Bucket) error { return bucket.Delete(key) })
}

func (b *bboltEngine) Get(dst, key []byte) (value []byte, found bool, err error) {
	value = dst
	err = b.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketName()).Get(key); v != nil {
			value, found = append(dst, v...), true
		}
		return nil
	})
	return value, found, err
}

func (b *bboltEngine) Scan(lo, hi []byte, each func(key, value []byte)) error {
	return b.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketName()).Cursor()
		for k, v := c.Seek(lo); k != nil && bytes.Compare(k, hi) < 0; k, v = c.Next() {
			each(k, v)
		}
		return nil
	})
}

func (b *bboltEngine) SetMany(n int, pair func(i int) (key, value []byte)) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketName())
		for i := range n {
			key, value := pair(i)
			if err := bucket.Put(key, bytes.Clone(value)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bboltEngine) Checkpoint(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return b.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(filepath.Join(dir, "data.bolt"), 0o644) })
}

func (b *bboltEngine) Close() error { return b.db.Close() }
