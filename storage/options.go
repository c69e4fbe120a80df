package storage

import (
	"fmt"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"kvstore/storage/manifest"
	"kvstore/storage/vfs"
)

// SyncPolicy says when the log is flushed to the disk. In every policy a committed write survives the loss of the
// process; the policies differ in what survives a loss of power.
type SyncPolicy uint8

const (
	// SyncEverySecond flushes in the background once a second: a loss of power takes at most about that.
	SyncEverySecond SyncPolicy = iota
	// SyncAlways flushes before Commit returns; commits that wait at the same time share one flush.
	SyncAlways
	// SyncNever leaves flushing to the operating system.
	SyncNever
)

// String returns the policy's name in the configuration.
func (p SyncPolicy) String() string {
	switch p {
	case SyncEverySecond:
		return "everysec"
	case SyncAlways:
		return "always"
	case SyncNever:
		return "never"
	}
	return fmt.Sprintf("SyncPolicy(%d)", uint8(p))
}

const (
	// MaxKeySize is the longest key: 64 KiB for the user's and 64 bytes for the layout around it.
	MaxKeySize = 64<<10 + 64
	// MaxValueSize is the longest value, Redis' limit of a string.
	MaxValueSize = 512 << 20
	// MaxBatchSize bounds the encoded operations of a Batch, which become one record of the log.
	MaxBatchSize = 1 << 30
	// maxMemtableSize keeps a memtable and a batch together within the limit of a log record.
	maxMemtableSize = 1<<30 - 1<<20
)

// Options configure an engine. The zero value is valid: EnsureDefaults says what it means.
type Options struct {
	// FS is the file system; the operating system's by default.
	FS    vfs.FS
	Fsync SyncPolicy
	// Compression of table blocks: "s2" (default), "zstd" or "none". Level 0 is not compressed.
	Compression string
	// MemtableSize is how many bytes of writes are collected in memory before they become a table; default 64 MiB.
	MemtableSize int64
	// CacheSize bounds the block cache, in bytes; default 256 MiB.
	CacheSize int64
	// Logger gets the engine's events; none by default.
	Logger zerolog.Logger
	// ScrubPeriod is the time within which everything at rest is verified once; 0 verifies nothing by itself.
	ScrubPeriod time.Duration
	// Reserve is the room that is kept on the disk for deletions, and for opening the engine, when the disk is full; at most
	// an eighth of what is free when it is made. 0 keeps none.
	Reserve int64
	// MaxQuarantine is how many bytes of damaged tables are kept in the quarantine; the latest is, however large. 0 is 1 GiB.
	MaxQuarantine int64
	// OnDamage, when set, is told of tables that were found damaged, after the tree goes on without what is lost of them.
	// It is called from Open and from one goroutine of the engine, and must not call the engine.
	OnDamage func(Damage)

	// SelfPaced says that writers ask Owed and rest elsewhere. Without it a write rests itself when the disk cannot follow.
	SelfPaced bool

	// MaxImmutable is how many full memtables may wait for their flush before writers wait; default 2.
	MaxImmutable int
	// BlockSize is a table block's size before compression, in bytes; default 4 KiB.
	BlockSize int
	// TableSize is about how large a table of level 1 and below grows, in bytes; default half a memtable, but between 4
	// and 32 MiB.
	TableSize int64
	// LevelSize is the target size of the first level with data below level 0, in bytes; each level below holds LevelRatio
	// times more. Default four memtables, or two tables: what is merged from level 0 then rewrites about as much as it is.
	LevelSize int64
	// LevelRatio defaults to 10.
	LevelRatio int
	// L0Trigger is how many tables in level 0 make a compaction due; default 4.
	L0Trigger int
	// L0Stop is how many tables in level 0 hold flushes back until compaction has caught up; default 24.
	L0Stop int
	// CompactionWorkers is how many compactions run at once; default half the processors, at most 4.
	CompactionWorkers int
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Compression == "" {
		o.Compression = "s2"
	}
	orDefault(&o.MemtableSize, 64<<20)
	orDefault(&o.CacheSize, 256<<20)
	orDefault(&o.MaxQuarantine, 1<<30)
	orDefault(&o.MaxImmutable, 2)
	orDefault(&o.BlockSize, 4<<10)
	orDefault(&o.TableSize, min(32<<20, max(4<<20, o.MemtableSize/2)))
	orDefault(&o.LevelSize, max(4*o.MemtableSize, 2*o.TableSize))
	orDefault(&o.LevelRatio, 10)
	orDefault(&o.L0Trigger, 4)
	orDefault(&o.L0Stop, 24)
	orDefault(&o.CompactionWorkers, min(4, max(1, runtime.GOMAXPROCS(0)/2)))
}

func orDefault[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate reports the first option that is out of its range.
func (o *Options) Validate() error {
	switch {
	case o.Fsync > SyncNever:
		return fmt.Errorf("storage option Fsync: %v is no policy", o.Fsync)
	case o.Compression != "s2" && o.Compression != "zstd" && o.Compression != "none":
		return fmt.Errorf("storage option Compression: %q is not s2, zstd or none", o.Compression)
	}
	for _, r := range []struct {
		name            string
		value, min, max int64
	}{
		{"MemtableSize", o.MemtableSize, 4 << 10, maxMemtableSize},
		{"CacheSize", o.CacheSize, 0, 1 << 50},
		{"MaxImmutable", int64(o.MaxImmutable), 1, 64},
		{"BlockSize", int64(o.BlockSize), 128, 1 << 20},
		{"TableSize", o.TableSize, 1 << 10, 1 << 40},
		{"LevelSize", o.LevelSize, 1 << 10, 1 << 50},
		{"LevelRatio", int64(o.LevelRatio), 2, 100},
		{"L0Trigger", int64(o.L0Trigger), 1, 1000},
		{"L0Stop", int64(o.L0Stop), int64(o.L0Trigger) + 1, 10000},
		{"CompactionWorkers", int64(o.CompactionWorkers), 1, 64},
	} {
		if r.value < r.min || r.value > r.max {
			return fmt.Errorf("storage option %s: %d is not between %d and %d", r.name, r.value, r.min, r.max)
		}
	}
	return nil
}

// levels is the tree's depth.
const levels = manifest.Levels
