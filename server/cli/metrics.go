package cli

import (
	"strconv"

	"kvstore/server/admin"
	"kvstore/server/command"
	"kvstore/storage"
)

// The samplers below turn each package's statistics into samples of /metrics,
// where the names, units and help texts are decided for all of them.

// storageSampler shows the engine.
func storageSampler(read func() storage.Metrics) admin.Sampler {
	return func(emit func(admin.Sample)) {
		m := read()
		counter := func(name, help string, v int64) {
			emit(admin.Sample{Name: "kvstore_storage_" + name, Help: help, Value: float64(v)})
		}
		gauge := func(name, help string, v int64, labels ...string) {
			emit(admin.Sample{Name: "kvstore_storage_" + name, Help: help, Kind: admin.Gauge, Value: float64(v), Labels: labels})
		}
		for i, l := range m.Levels {
			level := strconv.Itoa(i)
			gauge("level_tables", "Tables of a level.", int64(l.Tables), "level", level)
			gauge("level_bytes", "Bytes of a level on disk.", l.Bytes, "level", level)
			gauge("level_entries", "Records of a level, deleted and replaced ones included.", l.Entries, "level", level)
		}
		gauge("memtable_bytes", "Bytes written and not yet being flushed.", m.MemtableBytes)
		gauge("flushing_memtables", "Full memtables waiting for their flush.", int64(m.Immutable))
		gauge("flushing_bytes", "Bytes of those.", m.ImmutableBytes)
		gauge("snapshots", "Open snapshots.", int64(m.Snapshots))
		gauge("range_deletions", "Range deletions whose work is not done.", int64(m.RangeDeletions))
		counter("cache_hits_total", "Blocks found in the cache.", int64(m.Cache.Hits))
		counter("cache_misses_total", "Blocks read from the disk.", int64(m.Cache.Misses))
		gauge("cache_bytes", "Bytes in the cache.", m.Cache.Bytes)
		counter("stalls_total", "Writes that waited for flushes.", m.Stalls)
		emit(admin.Sample{Name: "kvstore_storage_stall_seconds_total", Help: "How long they waited.", Value: m.StallTime.Seconds()})
		emit(admin.Sample{Name: "kvstore_storage_longest_stall_seconds", Help: "How long one of them waited.", Kind: admin.Gauge,
			Value: m.LongestStall.Seconds()})
		counter("delays_total", "Writes that rested for up to 20 ms so that flushes and compactions can follow.", m.Delays)
		emit(admin.Sample{Name: "kvstore_storage_delay_seconds_total", Help: "How long they rested.", Value: m.DelayTime.Seconds()})
		counter("log_writes_total", "Records written to the log.", m.LogWrites)
		counter("log_bytes_total", "Bytes written to the log.", m.LogBytes)
		counter("flushes_total", "Memtables written to tables.", m.Flushes)
		counter("flush_bytes_total", "Bytes of those tables.", m.FlushBytes)
		counter("compactions_total", "Compactions finished.", m.Compactions)
		counter("compaction_read_bytes_total", "Bytes they read.", m.CompactionRead)
		counter("compaction_written_bytes_total", "Bytes they wrote.", m.CompactionWritten)
		counter("compaction_errors_total", "Compactions that went wrong.", m.CompactionErrors)
		counter("replayed_bytes_total", "Bytes of the log replayed when the engine was opened.", m.Replayed)
		emit(admin.Sample{Name: "kvstore_storage_replay_seconds_total", Help: "How long that took.", Value: m.ReplayTime.Seconds()})
		counter("compaction_rest_seconds_total", "Seconds that compactions paused for the sake of clients.", int64(m.CompactionRest.Seconds()))
		counter("filter_misses_total", "Tables asked in vain because their filter let an absent key through.", m.FilterMisses)
		counter("damage_found_total", "Damaged tables, logs and manifests that were found.", m.DamageFound)
		counter("tables_mended_total", "Damaged tables that were written again without what was lost.", m.TablesMended)
		gauge("lost_ranges", "Ranges of keys that lost records to damage and wait to be refilled.", int64(m.LostRanges))
		counter("scrubbed_bytes_total", "Bytes at rest that were verified.", m.ScrubBytes)
		counter("scrub_passes_total", "Times that everything at rest was verified.", m.ScrubPasses)
		ratio := func(name, help string, v float64) {
			emit(admin.Sample{Name: "kvstore_storage_" + name, Help: help, Kind: admin.Gauge, Value: v})
		}
		ratio("write_amplification", "Bytes written to the disk for each byte of operations, since the start.", m.WriteAmplification())
		ratio("space_amplification", "Bytes of all tables for each byte of the lowest level.", m.SpaceAmplification())
		ratio("log_write_delay_seconds", "How long a write to the log takes at present.", m.WriteDelay.Seconds())
		ratio("log_flush_delay_seconds", "How long a flush of the log to the disk takes at present.", m.FlushDelay.Seconds())
		emit(syncSample(m.SyncTime))
	}
}

// syncSample is the histogram of the log's flushes to the disk.
func syncSample(h storage.Histogram) admin.Sample {
	s := admin.Sample{Name: "kvstore_storage_log_sync_seconds", Help: "Flushes of the log to the disk.", Kind: admin.Histogram,
		Sum: h.Sum.Seconds(), Buckets: make(map[float64]uint64, len(h.Counts))}
	for i, n := range h.Counts {
		s.Count += uint64(n)
		if i < len(h.Counts)-1 {
			s.Buckets[storage.HistogramBound(i).Seconds()] = s.Count
		}
	}
	return s
}

// serverSampler shows the front end. Commands that were never called are left
// out.
func serverSampler(table *command.Table, stats *command.Stats, clients command.Clients, slowReaders func() int64) admin.Sampler {
	return func(emit func(admin.Sample)) {
		counter := func(name, help string, v float64, labels ...string) {
			emit(admin.Sample{Name: "kvstore_" + name, Help: help, Value: v, Labels: labels})
		}
		connected, blocked := clients.Count()
		emit(admin.Sample{Name: "kvstore_clients", Help: "Connections of clients.", Kind: admin.Gauge, Value: float64(connected)})
		emit(admin.Sample{Name: "kvstore_clients_blocked", Help: "Clients waiting for a command that blocks.", Kind: admin.Gauge, Value: float64(blocked)})
		counter("connections_total", "Connections accepted.", float64(stats.Connections.Load()))
		counter("connections_rejected_total", "Connections refused because there were too many.", float64(stats.Rejected.Load()))
		counter("slow_readers_total", "Connections closed because the client did not read its replies.", float64(slowReaders()))
		counter("input_bytes_total", "Bytes received from clients.", float64(stats.InputBytes.Load()))
		counter("output_bytes_total", "Bytes sent to clients.", float64(stats.OutputBytes.Load()))
		counter("keyspace_hits_total", "Reads of keys that were there.", float64(stats.Hits.Load()))
		counter("keyspace_misses_total", "Reads of keys that were not.", float64(stats.Misses.Load()))
		for code, n := range stats.Failures() {
			counter("error_replies_total", "Error replies by their first word.", float64(n), "code", code)
		}
		for i := range table.Len() {
			c, name := &stats.Commands[i], table.ByIndex(i).FullName()
			calls := c.Calls.Load()
			if calls == 0 && c.Rejected.Load() == 0 {
				continue
			}
			counter("commands_total", "Calls of a command.", float64(calls), "command", name)
			counter("command_seconds_total", "Time spent in a command, waiting included.", float64(c.Nanos.Load())/1e9, "command", name)
			counter("commands_failed_total", "Calls that ended in an error.", float64(c.Failed.Load()), "command", name)
			counter("commands_rejected_total", "Calls refused before they ran.", float64(c.Rejected.Load()), "command", name)
		}
	}
}
