package command

import (
	"slices"
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
)

func TestServer(t *testing.T) {
	const same = `
		role => *3 $6 master :0 *0
		role x => -ERR wrong number of arguments for 'role' command
		time x => -ERR wrong number of arguments for 'time' command
		dbsize => :0
		flushdb what => -ERR syntax error
		flushall async sync => -ERR syntax error
		flushdb => +OK
		flushdb SYNC => +OK
		flushall async => +OK
		lastsave => -ERR unknown command 'lastsave', with args beginning with:
		debug sleep 0 => -ERR unknown command 'debug', with args beginning with: 'sleep' '0'
	`
	both(t, same, same)
	f := newFamily(t, 3)
	f.cluster.counts[3] = 42
	f.script(`
		select 3 => +OK
		dbsize => :42
		flushdb => +OK
		flushall => +OK
	`)
	if !slices.Equal(f.cluster.flushed, []int{3, -1}) {
		t.Errorf("flushed %v", f.cluster.flushed)
	}
	if r := parseReply(t, f.do("time")); len(r.list) != 2 || len(r.list[0].text) < 10 || atoi(r.list[1].text) >= 1_000_000 {
		t.Errorf("TIME %s", r)
	}
	newFamily(t, 0).script("dbsize => -NOQUORUM refused: too few replicas are reachable")
}

func TestHelp(t *testing.T) {
	f := newFamily(t, 1)
	for _, name := range []string{"client", "cluster", "config", "quorum", "vclock"} {
		help := parseReply(t, f.do(name, "help"))
		var text []string
		for _, line := range help.list {
			if line.kind != '+' {
				t.Errorf("%s: %s", name, line)
			}
			text = append(text, line.text)
		}
		if text[0] != strings.ToUpper(name)+" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:" {
			t.Errorf("%s begins %q", name, text[0])
		}
		for _, sub := range f.env.Table.Lookup([]byte(name)).Sub {
			word := strings.ToUpper(sub.Name)
			if !slices.ContainsFunc(text, func(l string) bool { return l == word || strings.HasPrefix(l, word+" ") }) {
				t.Errorf("%s HELP does not tell of %s", name, word)
			}
		}
	}
}

func TestConfigGet(t *testing.T) {
	both(t, `
		config get save => *2 $4 save $0
		config get APPENDONLY => *2 $10 appendonly $3 yes
		config get timeout databases => *4 $9 databases $2 16 $7 timeout $2 90
		config get timeout timeout => *2 $7 timeout $2 90
		config get proto-max-bulk-len => *2 $18 proto-max-bulk-len $9 536870912
		config get appendfsync => *2 $11 appendfsync $2 no
		config get max* *.maxclients => *8 $10 maxclients $5 10000 $9 maxmemory $1 0 $16 maxmemory-policy $10 noeviction $17 server.maxclients $5 10000
		config get replication.w => *2 $13 replication.w $6 quorum
		config get port bind dir => *6 $4 bind $9 127.0.0.1 $3 dir $5 /data $4 port $4 7001
		config get nosuch => *0
		config get => -ERR wrong number of arguments for 'config|get' command
	`, `
		config get save appendonly => %2 $10 appendonly $3 yes $4 save $0
		config get nosuch => %0
	`)
}

func TestConfigSet(t *testing.T) {
	f := newFamily(t, 1)
	const refused = "-ERR CONFIG SET failed (possibly related to argument "
	f.script(`
		config set timeout 10 replication.w all => +OK
		config get timeout server.timeout replication.w => *6 $13 replication.w $3 all $14 server.timeout $3 10s $7 timeout $2 10
		config set save "" => +OK
		config set maxmemory 0 maxclients 50 => +OK
		config get maxclients => *2 $10 maxclients $2 50
		config set timeout => -ERR wrong number of arguments for 'config|set' command
		config set timeout 1 x => -ERR syntax error
		config set nosuch 1 => -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
		config set timeout 1 TIMEOUT 2 => ` + refused + `'timeout') - duplicate parameter
		config set timeout -1 => ` + refused + `'timeout') - argument must be between 0 and 2147483647 inclusive
		config set timeout 1s => ` + refused + `'timeout') - argument must be between 0 and 2147483647 inclusive
		config set databases 10 => ` + refused + `'databases') - can't set immutable config, it is always '16'
		config set storage.fsync always => ` + refused + `'storage.fsync') - storage.fsync is fixed while the node runs
		config set timeout 99 maxclients 99 replication.w bad => ` + refused + `'replication.w') - replication.w is not good
		config get timeout maxclients => *4 $10 maxclients $2 50 $7 timeout $2 10
		config rewrite => -ERR unknown subcommand 'rewrite'. Try CONFIG HELP.
	`)
	f.env.Stats.Processed.Store(5)
	f.env.Stats.Failure([]byte("-ERR x\r\n"))
	f.script("config resetstat => +OK")
	if f.env.Stats.Processed.Load() != 0 || len(f.env.Stats.Failures()) != 0 {
		t.Error("CONFIG RESETSTAT kept counters")
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]string{"512MiB": "536870912", "1GB": "1000000000", "64KiB": "65536", "100B": "100", "7": "7", "1TiB": "1099511627776", "x": "x"} {
		if got := bytesOf(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1.00K", 1536: "1.50K", 1 << 20: "1.00M", 5 << 30: "5.00G", 3 << 40: "3.00T"} {
		if got := humanSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// info parses INFO as clients do: sections of name:value lines.
func (f *family) info(args ...string) map[string]map[string]string {
	f.t.Helper()
	text := strings.TrimPrefix(parseReply(f.t, f.do(append([]string{"info"}, args...)...)).text, "txt:")
	sections := map[string]map[string]string{}
	var section map[string]string
	for line := range strings.SplitSeq(text, "\r\n") {
		if title, ok := strings.CutPrefix(line, "# "); ok {
			section = map[string]string{}
			sections[strings.ToLower(title)] = section
		} else if name, value, ok := strings.Cut(line, ":"); ok {
			section[name] = value
		} else if line != "" {
			f.t.Errorf("line %q", line)
		}
	}
	return sections
}

func TestInfoFields(t *testing.T) {
	f := newFamily(t, 3)
	f.cluster.counts[0], f.cluster.counts[5] = 7, 8
	f.cluster.levels.Mode = coordinator.Sloppy
	f.env.Storage = func() [][2]string { return [][2]string{{"levels", "7"}, {"odd", "a\r\nb"}} }
	f.env.Stats.Processed.Store(9)
	f.env.Stats.Failure([]byte("-WRONGTYPE x\r\n"))
	f.env.Stats.Failure([]byte("-ERR\r\n"))
	f.env.Stats.Failure([]byte("-ERR y\r\n"))
	got := &f.env.Stats.Commands[f.env.Table.Lookup([]byte("get")).Index()]
	got.Calls.Store(4)
	got.Nanos.Store(10_000)
	got.Failed.Store(1)
	for proto := uint8(2); proto <= 3; proto++ {
		f.session.Proto = proto
		all := f.info("everything")
		for field, want := range map[string]string{
			"server/redis_version": RedisVersion, "server/kvstore_version": "0.1.0", "server/redis_mode": "cluster",
			"server/run_id": strings.Repeat("ab", 20), "server/tcp_port": "7001", "server/uptime_in_seconds": "100", "server/node_name": "n1",
			"clients/connected_clients": "3", "clients/blocked_clients": "1", "clients/cluster_connections": "2", "clients/maxclients": "10000",
			"memory/maxmemory": "0", "persistence/loading": "0", "persistence/aof_enabled": "1", "stats/total_commands_processed": "9",
			"stats/total_error_replies": "3", "replication/role": "master", "replication/master_repl_offset": "0",
			"replication/connected_slaves": "0", "cluster/cluster_enabled": "1", "ring/ring_partitions": "64", "ring/ring_effective_n": "3",
			"quorum/quorum_r": "quorum", "quorum/quorum_mode": "sloppy", "storage/storage_levels": "7",
			"storage/storage_odd": "a  b", "keyspace/db0": "keys=7,expires=0,avg_ttl=0", "keyspace/db5": "keys=8,expires=0,avg_ttl=0",
			"errorstats/errorstat_ERR": "count=2", "errorstats/errorstat_WRONGTYPE": "count=1",
			"commandstats/cmdstat_get": "calls=4,usec=10,usec_per_call=2.50,rejected_calls=0,failed_calls=1",
		} {
			section, name, _ := strings.Cut(field, "/")
			if value, ok := all[section][name]; !ok || value != want {
				t.Errorf("%s is %q, want %q", field, value, want)
			}
		}
		for _, field := range []string{"server/process_id", "memory/used_memory", "memory/used_memory_rss", "memory/used_memory_peak"} {
			section, name, _ := strings.Cut(field, "/")
			if value := all[section][name]; value == "" || value[0] == '0' {
				t.Errorf("%s is %q", field, value)
			}
		}
	}
}

func TestInfoSections(t *testing.T) {
	f := newFamily(t, 1)
	names := func(args ...string) int { return len(f.info(args...)) }
	every := len(infoSections())
	for args, want := range map[string]int{"": every - 1, "default": every - 1, "all": every, "everything": every, "server": 1, "SERVER Clients": 2,
		"nosuch": 0, "nosuch cpu": 1, "default commandstats": every, "server server": 1} {
		if got := names(strings.Fields(args)...); got != want {
			t.Errorf("INFO %s: %d sections, want %d", args, got, want)
		}
	}
	if got := f.do("info", "cluster"); got != "$30\r\n# Cluster\r\ncluster_enabled:1\r\n\r\n" {
		t.Errorf("INFO cluster: %q", got)
	}
	loading := newFamily(t, 0)
	if all := loading.info(); all["persistence"]["loading"] != "1" || all["ring"]["ring_state"] != "forming" || len(all["keyspace"]) != 0 {
		t.Errorf("before there is a ring: %v", all)
	}
}

func TestErrorKindsAreBounded(t *testing.T) {
	var s Stats
	for i := range 3 * maxErrorKinds {
		s.Failure([]byte("-" + strings.Repeat("X", i+1) + " text"))
	}
	if n := len(s.Failures()); n != maxErrorKinds || s.Errors.Load() != 3*maxErrorKinds {
		t.Errorf("%d kinds of %d errors", n, s.Errors.Load())
	}
}
