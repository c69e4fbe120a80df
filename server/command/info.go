package command

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"kvstore/resp"
)

// infoCommand is INFO. It waits because counting keys asks other nodes.
func infoCommand() *Command {
	return &Command{
		Name: "info", Arity: -1, Flags: Loading | Stale, Since: "1.0.0", Categories: CatDangerous,
		Complexity: "O(1), and O(N) in the number of keys for the keyspace section",
		History:    []Change{{"7.0.0", "Takes several sections."}},
		Tips:       []string{"nondeterministic_output", "request_policy:all_shards", "response_policy:special"},
		Summary:    "Returns what the node knows of itself, in sections.",
		Args:       []Arg{stringArg("section").optional().multiple()},
		Wait:       runInfo,
	}
}

// infoSection is a section of INFO. Clients find fields by Redis's names, so a
// field of Redis's that has no meaning here is either a constant that is true
// or left out.
type infoSection struct {
	name    string
	verbose bool // in "all" and "everything" only
	write   func(ctx context.Context, c *Ctx, w *infoWriter)
}

func infoSections() []infoSection {
	return []infoSection{
		{name: "server", write: infoServer},
		{name: "clients", write: infoClients},
		{name: "memory", write: infoMemory},
		{name: "persistence", write: infoPersistence},
		{name: "stats", write: infoStats},
		{name: "replication", write: infoReplication},
		{name: "cpu", write: infoCPU},
		{name: "modules", write: func(context.Context, *Ctx, *infoWriter) {}},
		{name: "commandstats", verbose: true, write: infoCommandStats},
		{name: "errorstats", write: infoErrorStats},
		{name: "cluster", write: infoCluster},
		{name: "ring", write: infoRing},
		{name: "quorum", write: infoQuorum},
		{name: "storage", write: infoStorage},
		{name: "repair", write: infoRepair},
		{name: "transfer", write: infoTransfer},
		{name: "keyspace", write: infoKeyspace},
	}
}

// infoWriter builds the text of INFO.
type infoWriter struct{ text []byte }

func (w *infoWriter) title(name string) {
	if len(w.text) > 0 {
		w.text = append(w.text, "\r\n"...)
	}
	w.text = append(w.text, "# "+strings.ToUpper(name[:1])+name[1:]+"\r\n"...)
}

// line writes a field; control characters would end it early.
func (w *infoWriter) line(name, value string) {
	w.text = append(w.text, name...)
	w.text = append(w.text, ':')
	w.text = append(w.text, printable([]byte(value))...)
	w.text = append(w.text, "\r\n"...)
}

func (w *infoWriter) number(name string, n int64) { w.line(name, strconv.FormatInt(n, 10)) }

func (w *infoWriter) flag(name string, yes bool) {
	if yes {
		w.number(name, 1)
	} else {
		w.number(name, 0)
	}
}

// size writes bytes twice, as a number and for people.
func (w *infoWriter) size(name string, bytes int64) {
	w.number(name, bytes)
	w.line(name+"_human", humanSize(bytes))
}

func runInfo(ctx context.Context, c *Ctx) {
	var w infoWriter
	for _, s := range infoSections() {
		if s.asked(c.Args[1:]) {
			w.title(s.name)
			s.write(ctx, c, &w)
		}
	}
	c.Out = resp.AppendVerbatim(c.Out, c.Session.Proto, "txt", string(w.text))
}

// asked reports whether INFO with these arguments shows the section.
func (s *infoSection) asked(args [][]byte) bool {
	if len(args) == 0 {
		return !s.verbose
	}
	for _, a := range args {
		switch {
		case equalFold(a, "all"), equalFold(a, "everything"), equalFold(a, s.name):
			return true
		case equalFold(a, "default") && !s.verbose:
			return true
		}
	}
	return false
}

func infoServer(_ context.Context, c *Ctx, w *infoWriter) {
	info := &c.Env.Info
	now := time.Now()
	uptime := secondsSince(info.Started, now)
	w.line("redis_version", RedisVersion)
	w.line("redis_git_sha1", "00000000")
	w.number("redis_git_dirty", 0)
	w.line("redis_mode", "cluster")
	w.line("kvstore_version", info.Version)
	w.line("os", runtime.GOOS+" "+runtime.GOARCH)
	w.number("arch_bits", strconv.IntSize)
	w.line("go_version", runtime.Version())
	w.number("process_id", int64(os.Getpid()))
	w.line("run_id", info.RunID)
	w.number("tcp_port", int64(info.Port))
	w.number("server_time_usec", now.UnixMicro())
	w.number("uptime_in_seconds", uptime)
	w.number("uptime_in_days", uptime/(24*60*60))
	w.line("executable", info.Executable)
	w.line("config_file", info.ConfigFile)
	w.line("node_id", c.Env.Cluster.Self().ID.String())
	w.line("node_name", c.Env.Cluster.Self().Name)
}

func infoClients(_ context.Context, c *Ctx, w *infoWriter) {
	connected, blocked := c.Env.Clients.Count()
	w.number("connected_clients", int64(connected))
	w.number("cluster_connections", int64(connectedPeers(c.Env.Cluster)))
	w.line("maxclients", c.ownSetting("server.maxclients"))
	w.number("blocked_clients", int64(max(0, blocked-1))) // INFO itself waits, too
	w.number("tracking_clients", 0)
}

func connectedPeers(cluster Cluster) int {
	n := 0
	for _, node := range cluster.Nodes() {
		if node.Connected && node.ID != cluster.Self().ID {
			n++
		}
	}
	return n
}

// infoPersistence says that the log is always there. Loading is what clients
// wait for before they send commands.
func infoPersistence(_ context.Context, c *Ctx, w *infoWriter) {
	w.flag("loading", c.Env.Cluster.Ready() != nil)
	w.number("async_loading", 0)
	w.number("rdb_changes_since_last_save", 0)
	w.number("rdb_bgsave_in_progress", 0)
	w.number("rdb_last_save_time", c.Env.Info.Started.Unix())
	w.line("rdb_last_bgsave_status", "ok")
	w.number("aof_enabled", 1)
	w.number("aof_rewrite_in_progress", 0)
	w.number("aof_rewrite_scheduled", 0)
	w.line("aof_last_bgrewrite_status", "ok")
}

func infoStats(_ context.Context, c *Ctx, w *infoWriter) {
	s := c.Env.Stats
	w.number("total_connections_received", s.Connections.Load())
	w.number("total_commands_processed", s.Processed.Load())
	w.number("total_net_input_bytes", s.InputBytes.Load())
	w.number("total_net_output_bytes", s.OutputBytes.Load())
	w.number("rejected_connections", s.Rejected.Load())
	w.number("evicted_keys", 0)
	w.number("keyspace_hits", s.Hits.Load())
	w.number("keyspace_misses", s.Misses.Load())
	w.number("pubsub_channels", 0)
	w.number("pubsub_patterns", 0)
	w.number("total_error_replies", s.Errors.Load())
}

// infoReplication shows a master without replicas, because no node follows
// another; the section ring tells how the data is replicated.
func infoReplication(_ context.Context, c *Ctx, w *infoWriter) {
	w.line("role", "master")
	w.number("connected_slaves", 0)
	w.line("master_failover_state", "no-failover")
	w.line("master_replid", strings.Repeat("0", 40))
	w.line("master_replid2", strings.Repeat("0", 40))
	w.number("master_repl_offset", 0)
	w.number("second_repl_offset", -1)
	w.number("repl_backlog_active", 0)
}

func infoCommandStats(_ context.Context, c *Ctx, w *infoWriter) {
	for i := range c.Env.Stats.Commands {
		s := &c.Env.Stats.Commands[i]
		calls, rejected, failed := s.Calls.Load(), s.Rejected.Load(), s.Failed.Load()
		if calls == 0 && rejected == 0 && failed == 0 {
			continue
		}
		micros := float64(s.Nanos.Load()) / 1000
		w.line("cmdstat_"+c.Env.Table.ByIndex(i).FullName(),
			fmt.Sprintf("calls=%d,usec=%.0f,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
				calls, micros, micros/float64(max(calls, 1)), rejected, failed))
	}
}

func infoErrorStats(_ context.Context, c *Ctx, w *infoWriter) {
	failures := c.Env.Stats.Failures()
	for _, code := range slices.Sorted(maps.Keys(failures)) {
		w.line("errorstat_"+code, "count="+strconv.FormatInt(failures[code], 10))
	}
}

func infoCluster(_ context.Context, _ *Ctx, w *infoWriter) { w.number("cluster_enabled", 1) }

func infoRing(_ context.Context, c *Ctx, w *infoWriter) {
	r := c.Env.Cluster.Ring()
	if r == nil {
		w.line("ring_state", "forming")
		return
	}
	w.line("ring_state", "ok")
	w.line("ring_cluster", r.ClusterName)
	w.line("ring_cluster_id", fmt.Sprintf("%016x", r.ClusterID))
	w.number("ring_epoch", int64(r.Epoch))
	w.line("ring_hash", fmt.Sprintf("%016x", r.Hash()))
	w.number("ring_partitions", int64(r.Q))
	w.number("ring_n", int64(r.N))
	w.number("ring_effective_n", int64(r.EffectiveN()))
	w.number("ring_members", int64(len(r.Members)))
	for i, n := range c.Env.Cluster.Nodes() {
		w.line("ring_node"+strconv.Itoa(i), fmt.Sprintf("id=%s,name=%s,addr=%s,dc=%s,rack=%s,state=%s,partitions=%d,primary=%d,hints=%d,hint_bytes=%d,hints_dropped=%d",
			n.ID, n.Name, n.Client, n.DC, n.Rack, n.State, n.Partitions, n.PrimaryPartitions, n.Hints, n.HintBytes, n.HintsDropped))
	}
}

func infoQuorum(_ context.Context, c *Ctx, w *infoWriter) {
	n, l := c.Env.Cluster.Replication()
	w.number("quorum_n", int64(n))
	w.line("quorum_r", l.R.String())
	w.line("quorum_w", l.W.String())
	w.line("quorum_mode", l.Mode.String())
	w.line("quorum_read_timeout", c.ownSetting("replication.read_timeout"))
	w.line("quorum_write_timeout", c.ownSetting("replication.write_timeout"))
}

func infoStorage(_ context.Context, c *Ctx, w *infoWriter) {
	w.line("storage_dir", c.Env.Info.Dir)
	if c.Env.Storage == nil {
		return
	}
	for _, kv := range c.Env.Storage() {
		w.line("storage_"+kv[0], kv[1])
	}
}

func infoRepair(_ context.Context, c *Ctx, w *infoWriter) {
	if c.Env.Repair == nil {
		return
	}
	for _, kv := range c.Env.Repair() {
		w.line("repair_"+kv[0], kv[1])
	}
}

func infoTransfer(_ context.Context, c *Ctx, w *infoWriter) {
	if c.Env.Transfer == nil {
		return
	}
	for _, kv := range c.Env.Transfer() {
		w.line("transfer_"+kv[0], kv[1])
	}
}

// keyspaceTime bounds what counting keys may cost INFO. A database that is not
// counted by then is left out; DBSIZE waits longer.
const keyspaceTime = 200 * time.Millisecond

func infoKeyspace(ctx context.Context, c *Ctx, w *infoWriter) {
	ctx, cancel := context.WithTimeout(ctx, keyspaceTime)
	defer cancel()
	for db := range Databases {
		n, err := c.Env.Cluster.CountKeys(ctx, uint8(db))
		if err != nil {
			return
		}
		if n > 0 {
			w.line("db"+strconv.Itoa(db), fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", n))
		}
	}
}
