package cli

import (
	"errors"
	"slices"
	"testing"
	"time"

	"kvstore/storage"
)

func TestStorageLines(t *testing.T) {
	m := storage.Metrics{MemtableBytes: 7, Flushes: 2, StallTime: 1500 * time.Millisecond, LogBytes: 9}
	m.Levels[0] = storage.LevelMetrics{Tables: 2, Bytes: 10, Entries: 3}
	m.Levels[2] = storage.LevelMetrics{Tables: 5, Bytes: 100, Entries: 30}
	m.Cache.Hits = 11
	var failure error
	read := storageLines(func() (storage.Metrics, error) { return m, failure })
	lines := read()
	for _, want := range [][2]string{
		{"level0", "tables=2,bytes=10,records=3"}, {"level2", "tables=5,bytes=100,records=30"}, {"tables", "7"}, {"table_bytes", "110"},
		{"memtable_bytes", "7"}, {"cache_hits", "11"}, {"log_bytes", "9"}, {"flushes", "2"}, {"stall_ms", "1500"}, {"writes", "ok"},
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %v in %v", want, lines)
		}
	}
	failure = errors.New("no space left")
	if lines := read(); !slices.Contains(lines, [2]string{"writes", "no space left"}) {
		t.Errorf("the failure is not in %v", lines)
	}
}
