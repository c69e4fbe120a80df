package cli

import (
	"runtime/debug"

	"kvstore/config"
)

// What the garbage collector is told.
//
// The node allocates next to nothing per operation, its block cache is outside
// the heap, and its memtables are few large pieces without pointers: a
// collection is cheap, but Go's default, to collect when the heap has doubled,
// makes a node with a small heap collect many times a second under load for
// nothing, and one with full memtables keep as much again in garbage. So the
// heap may grow to five times what lives (gcPercent), as long as it stays under
// a limit made of what the memtables need: the active one, the one prepared to
// follow, and one being flushed, and heapSlack for all else. With the default
// 64 MiB memtables and 256 MiB cache this keeps the process under 600 MB. The
// limit is soft: more memtables waiting for a slow disk go over it, at the
// price of more collections. GOGC and GOMEMLIMIT, when set, are obeyed instead.
const (
	gcPercent         = 400
	memtablesInMemory = 3
	heapSlack         = 96 << 20
)

// tuneCollector applies the above.
func tuneCollector(s *shell, c *config.Config) {
	if s.getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if s.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memtablesInMemory*int64(c.Storage.MemtableSize) + heapSlack)
	}
}
