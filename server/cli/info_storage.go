package cli

import (
	"fmt"
	"strconv"
	"time"

	"kvstore/storage"
)

// storageLines are what INFO shows of the engine, what an operator looks at
// first; /metrics has all of it. read also returns why writes are refused.
func storageLines(read func() (storage.Metrics, error)) func() [][2]string {
	return func() (lines [][2]string) {
		m, failure := read()
		line := func(name string, value any) { lines = append(lines, [2]string{name, fmt.Sprint(value)}) }
		var tables, bytes, records int64
		for i, l := range m.Levels {
			if l.Tables > 0 {
				line("level"+strconv.Itoa(i), fmt.Sprintf("tables=%d,bytes=%d,records=%d", l.Tables, l.Bytes, l.Entries))
			}
			tables, bytes, records = tables+int64(l.Tables), bytes+l.Bytes, records+l.Entries
		}
		line("tables", tables)
		line("table_bytes", bytes)
		line("table_records", records)
		line("memtable_bytes", m.MemtableBytes)
		line("flushing_memtables", m.Immutable)
		line("flushing_bytes", m.ImmutableBytes)
		line("cache_bytes", m.Cache.Bytes)
		line("cache_hits", m.Cache.Hits)
		line("cache_misses", m.Cache.Misses)
		line("log_writes", m.LogWrites)
		line("log_bytes", m.LogBytes)
		line("log_syncs", m.Syncs)
		line("flushes", m.Flushes)
		line("flush_bytes", m.FlushBytes)
		line("compactions", m.Compactions)
		line("compaction_bytes_read", m.CompactionRead)
		line("compaction_bytes_written", m.CompactionWritten)
		line("compaction_errors", m.CompactionErrors)
		line("stalls", m.Stalls)
		line("stall_ms", m.StallTime.Milliseconds())
		line("longest_stall_ms", m.LongestStall.Milliseconds())
		line("delays", m.Delays)
		line("delay_ms", m.DelayTime.Milliseconds())
		line("replayed_bytes", m.Replayed)
		line("replay_ms", m.ReplayTime.Milliseconds())
		line("snapshots", m.Snapshots)
		line("write_amplification", fmt.Sprintf("%.2f", m.WriteAmplification()))
		line("space_amplification", fmt.Sprintf("%.2f", m.SpaceAmplification()))
		line("filter_misses", m.FilterMisses)
		line("log_sync_ms_p50", milliseconds(m.SyncTime.Quantile(0.5)))
		line("log_sync_ms_p99", milliseconds(m.SyncTime.Quantile(0.99)))
		line("log_write_ms", milliseconds(m.WriteDelay))
		line("log_flush_ms", milliseconds(m.FlushDelay))
		line("damage_found", m.DamageFound)
		line("tables_mended", m.TablesMended)
		line("lost_ranges", m.LostRanges)
		line("scrubbed_bytes", m.ScrubBytes)
		line("scrub_passes", m.ScrubPasses)
		status := "ok"
		if failure != nil {
			status = failure.Error()
		}
		line("writes", status)
		return lines
	}
}

// milliseconds is a duration with its fraction.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.3f", float64(d)/float64(time.Millisecond))
}
