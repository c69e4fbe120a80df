package engines

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// pebbleMemtables is how many memtables may be full before writers wait: as many as ours has by default.
const pebbleMemtables = 3

type pebbleEngine struct {
	db    *pebble.DB
	write *pebble.WriteOptions
}

// silent is a logger for engines that speak without being asked.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, _ ...any) {
	panic("pebble: " + format)
}

func openPebble(o Options) (Engine, error) {
	cache := pebble.NewCache(o.Cache)
	defer cache.Unref()
	options := &pebble.Options{
		FormatMajorVersion:          pebble.FormatNewest,
		Cache:                       cache,
		MemTableSize:                uint64(o.Memtable),
		MemTableStopWritesThreshold: pebbleMemtables,
		// By default the first level is one usual memtable; with smaller ones everything is smaller.
		LBaseMaxBytes: o.Memtable,
		Logger:        silent{},
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
		options.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	db, err := pebble.Open(o.Dir, options)
	if err != nil {
		return nil, err
	}
	e := &pebbleEngine{db: db, write: pebble.NoSync}
	if o.Durable {
		e.write = pebble.Sync
	}
	return e, nil
}

func (p *pebbleEngine) Set(key, value []byte) error { return p.db.Set(key, value, p.write) }

func (p *pebbleEngine) Delete(key []byte) error { return p.db.Delete(key, p.write) }

func (p *pebbleEngine) Get(dst, key []byte) ([]byte, bool, error) {
	value, closer, err := p.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, err
	}
	return append(dst, value...), true, closer.Close()
}

func (p *pebbleEngine) Scan(lo, hi []byte, each func(key, value []byte)) error {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		each(it.Key(), it.Value())
	}
	return it.Close()
}

func (p *pebbleEngine) SetMany(n int, pair func(i int) (key, value []byte)) error {
	b := p.db.NewBatch()
	for i := range n {
		key, value := pair(i)
		if err := b.Set(key, value, nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return b.Commit(p.write)
}

func (p *pebbleEngine) Checkpoint(dir string) error {
	return p.db.Checkpoint(dir, pebble.WithFlushedWAL())
}

func (p *pebbleEngine) Close() error { return p.db.Close() }
