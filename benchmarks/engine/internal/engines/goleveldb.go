package engines

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

type goleveldb struct {
	db    *leveldb.DB
	write *opt.WriteOptions
}

func openGoleveldb(o Options) (Engine, error) {
	db, err := leveldb.OpenFile(o.Dir, &opt.Options{
		WriteBuffer:        int(o.Memtable),
		BlockCacheCapacity: int(o.Cache),
		Filter:             filter.NewBloomFilter(bloomBits),
		Compression:        opt.SnappyCompression,
	})
	if err != nil {
		return nil, err
	}
	return &goleveldb{db, &opt.WriteOptions{Sync: o.Durable}}, nil
}

func (g *goleveldb) Set(key, value []byte) error { return g.db.Put(key, value, g.write) }

func (g *goleveldb) Delete(key []byte) error { return g.db.Delete(key, g.write) }

func (g *goleveldb) Get(dst, key []byte) ([]byte, bool, error) {
	value, err := g.db.Get(key, nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return dst, false, nil
	}
	return append(dst, value...), err == nil, err
}

func (g *goleveldb) Scan(lo, hi []byte, each func(key, value []byte)) error {
	it := g.db.NewIterator(&util.Range{Start: lo, Limit: hi}, nil)
	for it.Next() {
		each(it.Key(), it.Value())
	}
	err := it.Error()
	it.Release()
	return err
}

func (g *goleveldb) SetMany(n int, pair func(i int) (key, value []byte)) error {
	var b leveldb.Batch
	for i := range n {
		b.Put(pair(i))
	}
	return g.db.Write(&b, g.write)
}

func (g *goleveldb) Checkpoint(string) error {
	return fmt.Errorf("goleveldb has no checkpoints: %w", errors.ErrUnsupported)
}

func (g *goleveldb) Close() error { return g.db.Close() }
