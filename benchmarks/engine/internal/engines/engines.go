// Package engines puts the engines that are compared behind one small interface.
//
// An adapter does what the engine's manual recommends for single operations from many goroutines, and nothing cleverer:
// the same memtable, the same cache, bloom filters of ten bits a key, snappy or s2, and otherwise the engine's defaults.
// What an engine has not (bbolt has no memtable, no cache, no filter and no compression) is left out.
//
// What Set promises when it returns differs a little. With Durable every engine has flushed its log to the disk. Without
// it kvstore, goleveldb and bbolt have handed the write to the kernel, and Badger has copied it into a mapped file, so
// that it outlives the process; Pebble may still have it in a buffer that its log's goroutine is about to write.
package engines

import (
	"errors"
	"fmt"
	"slices"
)

// Options are what all engines are opened with.
type Options struct {
	Dir string
	// Durable says that a write is on the disk when Set returns.
	Durable bool
	// Memtable and Cache are sizes in bytes; 0 is 64 MiB and 256 MiB.
	Memtable, Cache int64
}

func (o *Options) ensureDefaults() {
	if o.Memtable == 0 {
		o.Memtable = 64 << 20
	}
	if o.Cache == 0 {
		o.Cache = 256 << 20
	}
}

// bloomBits is the size of a filter per key.
const bloomBits = 10

// Engine is an open engine. All methods but Close may be called concurrently. Keys and values are copied.
type Engine interface {
	Set(key, value []byte) error
	Delete(key []byte) error
	// Get appends key's value to dst.
	Get(dst, key []byte) (value []byte, found bool, err error)
	// Scan calls each for the keys from lo up to and without hi, in order. What it gets is valid during the call only.
	Scan(lo, hi []byte, each func(key, value []byte)) error
	// SetMany sets n pairs at once, for loading. What pair returns is valid until its next call.
	SetMany(n int, pair func(i int) (key, value []byte)) error
	// Checkpoint makes dir, which does not exist, a copy that can be opened. The error is errors.ErrUnsupported when the
	// engine has no such thing.
	Checkpoint(dir string) error
	Close() error
}

// Ours is the name of the engine that the others are compared with.
const Ours = "kvstore"

// Names lists the engines, ours first.
func Names() []string { return []string{Ours, "pebble", "badger", "goleveldb", "bbolt"} }

// Open opens the named engine.
func Open(name string, o Options) (Engine, error) {
	o.ensureDefaults()
	var e Engine
	var err error
	switch name {
	case Ours:
		e, err = openKvstore(o)
	case "pebble":
		e, err = openPebble(o)
	case "badger":
		e, err = openBadger(o)
	case "goleveldb":
		e, err = openGoleveldb(o)
	case "bbolt":
		e, err = openBbolt(o)
	default:
		return nil, fmt.Errorf("engine %q is none of %v", name, Names())
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return e, nil
}

// Check reports a name that is no engine's.
func Check(names []string) error {
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("engine %q is none of %v", name, Names())
		}
	}
	return nil
}

// Unsupported reports whether err says that the engine cannot do what was asked.
func Unsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }
