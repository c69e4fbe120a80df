package engines

import (
	"context"

	"kvstore/storage"
)

// kvstore writes as the server does: Set makes the write visible, Commit hands the log to the kernel before anybody is
// answered.
type kvstore struct{ db *storage.DB }

func openKvstore(o Options) (Engine, error) {
	fsync := storage.SyncNever
	if o.Durable {
		fsync = storage.SyncAlways
	}
	db, err := storage.Open(o.Dir, storage.Options{Fsync: fsync, MemtableSize: o.Memtable, CacheSize: o.Cache})
	if err != nil {
		return nil, err
	}
	return &kvstore{db}, nil
}

func (k *kvstore) Set(key, value []byte) error {
	if _, err := k.db.Set(key, value); err != nil {
		return err
	}
	return k.db.Commit()
}

func (k *kvstore) Delete(key []byte) error {
	if _, err := k.db.Delete(key); err != nil {
		return err
	}
	return k.db.Commit()
}

func (k *kvstore) Get(dst, key []byte) ([]byte, bool, error) { return k.db.Get(dst, key) }

func (k *kvstore) Scan(lo, hi []byte, each func(key, value []byte)) error {
	it, err := k.db.NewIter(storage.IterOptions{Lower: lo, Upper: hi})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		each(it.Key(), it.Value())
	}
	err = it.Err()
	if closed := it.Close(); err == nil {
		err = closed
	}
	return err
}

func (k *kvstore) SetMany(n int, pair func(i int) (key, value []byte)) error {
	var b storage.Batch
	for i := range n {
		b.Set(pair(i))
	}
	if _, err := k.db.Apply(&b); err != nil {
		return err
	}
	return k.db.Commit()
}

func (k *kvstore) Checkpoint(dir string) error { return k.db.Checkpoint(context.Background(), dir) }

func (k *kvstore) Close() error { return k.db.Close() }
