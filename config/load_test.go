package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// load runs the whole path of the three sources.
func load(file string, env, args []string) (*Config, error) {
	f, err := FromTOML("kvstore.toml", file)
	if err != nil {
		return nil, err
	}
	e, err := FromEnv(env)
	if err != nil {
		return nil, err
	}
	a, _, err := FromArgs(args)
	if err != nil {
		return nil, err
	}
	return Load(f, e, a)
}

func TestPrecedence(t *testing.T) {
	const file = "[server]\nmaxclients = 1\ntimeout = \"1s\"\nmax_value = 4096\n"
	env := []string{"HOME=/", "KVSTORE_SERVER_TIMEOUT=2s", "KVSTORE_SERVER_MAX_VALUE=8KiB"}
	c, err := load(file, env, []string{"--server.max_value=16KiB"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Maxclients != 1 || c.Server.Timeout != 2*time.Second || c.Server.MaxValue != 16*KiB {
		t.Fatalf("got %d, %v, %v", c.Server.Maxclients, c.Server.Timeout, c.Server.MaxValue)
	}
	for key, want := range map[string]string{
		"server.maxclients": "kvstore.toml:2",
		"server.timeout":    "KVSTORE_SERVER_TIMEOUT",
		"server.max_value":  "--server.max_value",
		"server.listen":     "default",
	} {
		if got := c.Origin(key); got != want {
			t.Errorf("origin of %s is %q, want %q", key, got, want)
		}
	}
	if c.Node.Name == "" {
		t.Error("node.name did not take the host's name")
	}
}

func TestMistakes(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		env, args  []string
		want       string // the whole error
	}{
		{name: "unknown key in the file", file: "[server]\n\nlistn = \"x\"",
			want: "server.listn (kvstore.toml:3): unknown key, did you mean server.listen?"},
		{name: "key without a section", file: "maxclients = 5",
			want: "maxclients (kvstore.toml:1): unknown key, did you mean server.maxclients?"},
		{name: "unknown section", file: "[zebra]\nstripes = 5",
			want: "zebra.stripes (kvstore.toml:2): unknown key, kvstore help config lists all"},
		{name: "unknown variable", env: []string{"KVSTORE_CLUSTER_JION=a:1"},
			want: "cluster.jion (KVSTORE_CLUSTER_JION): unknown key, did you mean cluster.join?"},
		{name: "unknown flag", args: []string{"--storage.fsink=always"},
			want: "storage.fsink (flag): unknown key, did you mean storage.fsync?"},
		{name: "flag without a value", args: []string{"--storage.fsync"},
			want: "storage.fsync (flag): no value given; allowed: always, everysec, never"},
		{name: "word for a number", file: "[server]\nmaxclients = \"many\"",
			want: `server.maxclients = "many" (kvstore.toml:2): not a whole number; allowed: 1 to 1000000`},
		{name: "number out of range", args: []string{"--server.maxclients=0"},
			want: `server.maxclients = "0" (--server.maxclients): out of range; allowed: 1 to 1000000`},
		{name: "not a power of two", args: []string{"--cluster.partitions=100"},
			want: `cluster.partitions = "100" (--cluster.partitions): not a power of two; allowed: a power of two from 1 to 16384`},
		{name: "duration without a unit", file: "[replication]\nread_timeout = 500",
			want: `replication.read_timeout = "500" (kvstore.toml:2): a duration needs a unit, as in 500ms or 500s; allowed: 1ms to 1h`},
		{name: "choice", env: []string{"KVSTORE_STORAGE_FSYNC=sometimes"},
			want: `storage.fsync = "sometimes" (KVSTORE_STORAGE_FSYNC): not one of the choices; allowed: always, everysec, never`},
		{name: "address without a port", args: []string{"--server.listen", "localhost"},
			want: `server.listen = "localhost" (--server.listen): not HOST:PORT; allowed: HOST:PORT with a port from 1 to 65535`},
		{name: "address with a bad port", args: []string{"--server.listen", "localhost:99999"},
			want: `server.listen = "localhost:99999" (--server.listen): "99999" is not a port; allowed: HOST:PORT with a port from 1 to 65535`},
		{name: "an address for others that names no host", args: []string{"--cluster.rpc=0.0.0.0:7947"},
			want: `cluster.rpc = "0.0.0.0:7947" (--cluster.rpc): other nodes cannot reach a host that stands for all interfaces; allowed: HOST:PORT with a host that the other nodes can reach`},
		{name: "one bad address of a list", args: []string{"--cluster.join=a:1,b"},
			want: `cluster.join = "a:1,b" (--cluster.join): "b": not HOST:PORT; allowed: a list of HOST:PORT`},
		{name: "level", args: []string{"--replication.r=most"},
			want: `replication.r = "most" (--replication.r): not a level; allowed: one, two, three, quorum, all, local_one, local_quorum, each_quorum, or a number from 1 to 7`},
		{name: "size", args: []string{"--storage.cache_size=big"},
			want: `storage.cache_size = "big" (--storage.cache_size): not a size; allowed: 1MiB to 1TiB`},
		{name: "table for a scalar", file: "[server.listen]\nhost = \"x\"",
			want: "server.listen (kvstore.toml): a table or a mixed list in place of one value; allowed: HOST:PORT with a port from 1 to 65535"},
		{name: "broken file", file: "[server]\nlisten = ",
			want: "kvstore.toml:2: unexpected EOF; expected value"},
		{name: "secrets are not shown", args: []string{"--cluster.secret=hunter2"},
			want: `cluster.secret = ******** (--cluster.secret): not base64; allowed: 16, 24 or 32 bytes in base64, the same on every node (openssl rand -base64 32), or empty`},
		{name: "level above n", args: []string{"--replication.w=3", "--replication.n=2"},
			want: `replication.w = "3" (--replication.w): more than the 2 copies there are; allowed: up to replication.n = 2`},
		{name: "copies per data centre without a number", args: []string{"--replication.per_dc=east"},
			want: `replication.per_dc = "east" (--replication.per_dc): "east" is not DC=N; allowed: a number from 1 to 7 for each data centre, 16 in all, or nothing`},
		{name: "a data centre without copies", file: "[replication]\nper_dc = { east = 3, west = 0 }",
			want: `replication.per_dc = "east=3,west=0" (kvstore.toml:2): "west=0": not a number from 1 to 7; allowed: a number from 1 to 7 for each data centre, 16 in all, or nothing`},
		{name: "half of TLS", args: []string{"--server.tls_key=k.pem"},
			want: `server.tls_cert = "" (default): server.tls_cert and server.tls_key go together; allowed: both or neither`},
		{name: "two thirds of TLS between nodes", args: []string{"--cluster.tls_key=k.pem", "--cluster.tls_cert=c.pem"},
			want: `cluster.tls_cert = "c.pem" (--cluster.tls_cert): cluster.tls_cert, cluster.tls_key and cluster.tls_ca go together; allowed: all or none`},
		{name: "one address twice", args: []string{"--admin.listen=127.0.0.1:7946"},
			want: `admin.listen = "127.0.0.1:7946" (--admin.listen): the same address as cluster.gossip; allowed: an address of its own`},
		{name: "all of them", args: []string{"--server.loops=-1", "--node.weight=0"},
			want: "server.loops = \"-1\" (--server.loops): out of range; allowed: 0 to 256\nnode.weight = \"0\" (--node.weight): out of range; allowed: 0.01 to 100"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := load(tc.file, tc.env, tc.args)
			if err == nil {
				t.Fatalf("accepted: %v", c)
			}
			if err.Error() != tc.want {
				t.Errorf("got  %s\nwant %s", err, tc.want)
			}
		})
	}
}

func TestForeignVariablesAreIgnored(t *testing.T) {
	c, err := load("", []string{"KVSTORE_PORT=tcp://10.0.0.1:6379", "KVSTORE_SERVICE_HOST=10.0.0.1", "KVSTORE_CONFIG=x",
		"KVSTORE_SERVER_SERVICE_HOST=10.0.0.1", "KVSTORE_SERVER_PORT_6379_TCP_ADDR=10.0.0.1", "KVSTORE_SERVER_PORT=tcp://10.0.0.1:6379"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Listen != "127.0.0.1:6379" {
		t.Errorf("server.listen = %s", c.Server.Listen)
	}
}

func TestClientAddress(t *testing.T) {
	for listen, want := range map[string]string{":6379": "10.0.0.1:6379", "0.0.0.0:6379": "10.0.0.1:6379", "[::]:6379": "10.0.0.1:6379", "redis.example:6379": "redis.example:6379"} {
		c, err := load("", nil, []string{"--server.listen=" + listen, "--cluster.rpc=10.0.0.1:7947"})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ClientAddress(); got != want {
			t.Errorf("listening on %s, clients are told %s, want %s", listen, got, want)
		}
	}
}

func TestFromArgsLeavesTheRest(t *testing.T) {
	settings, rest, err := FromArgs([]string{"--json", "--server.listen", ":1", "--dir", "a.b", "-node.name=x", "--", "--log.level=debug"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"--json", "--dir", "a.b", "--", "--log.level=debug"}; !slices.Equal(rest, want) {
		t.Errorf("rest %q, want %q", rest, want)
	}
	if want := []Setting{{"server.listen", ":1", "--server.listen"}, {"node.name", "x", "--node.name"}}; !slices.Equal(settings, want) {
		t.Errorf("settings %q, want %q", settings, want)
	}
}

func TestListsAndLevels(t *testing.T) {
	c, err := load("[cluster]\njoin = [\"a:1\", \"b:2\", \"a:1\"]\n[replication]\nr = 1\nw = \"ALL\"\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Cluster.Join, []string{"a:1", "b:2"}) || c.Replication.R != "1" || c.Replication.W != "all" {
		t.Errorf("join %q, r %q, w %q", c.Cluster.Join, c.Replication.R, c.Replication.W)
	}
}

// A file written from a configuration reads back as the same configuration.
func TestFileReadsBack(t *testing.T) {
	args := []string{"--node.name=n \"1\" é", "--cluster.join=a:1,b:2", "--node.weight=2", "--storage.cache_size=1536KiB", "--server.timeout=90s"}
	settings, _, _ := FromArgs(args)
	want, err := Load(settings)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "f.toml")
	if err := os.WriteFile(name, []byte(File(want)), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load(read)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Fields() {
		if got.Text(f.Key) != want.Text(f.Key) {
			t.Errorf("%s = %q, want %q", f.Key, got.Text(f.Key), want.Text(f.Key))
		}
	}
	if len(read) != len(args) {
		t.Errorf("the file holds %d keys, want %d:\n%s", len(read), len(args), File(want))
	}
}

func TestReadFileErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadFile(filepath.Join(dir, "absent")); err == nil {
		t.Error("an absent file was read")
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, make([]byte, maxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(huge); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("a huge file: %v", err)
	}
}

// Copies per data centre are a table in the file and a list elsewhere, and replication.n
// is their sum.
func TestCopiesPerDataCentre(t *testing.T) {
	for name, load := range map[string]func() (*Config, error){
		"inline table": func() (*Config, error) {
			return load("[replication]\nn = 3\nper_dc = { west = 2, east = 3 }", nil, nil)
		},
		"table": func() (*Config, error) { return load("[replication.per_dc]\nwest = 2\neast = 3", nil, nil) },
		"text":  func() (*Config, error) { return load("[replication]\nper_dc = \"west=2,east=3\"", nil, nil) },
		"flag":  func() (*Config, error) { return load("", nil, []string{"--replication.per_dc=west=2, east=3"}) },
	} {
		c, err := load()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Replication.N != 5 || c.Text("replication.per_dc") != "east=3,west=2" {
			t.Errorf("%s: %d, %s", name, c.Replication.N, c.Text("replication.per_dc"))
		}
		settings, err := FromTOML("again", File(c))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if again, err := Load(settings); err != nil || again.Text("replication.per_dc") != "east=3,west=2" || again.Replication.N != 5 {
			t.Errorf("%s: read again: %v", name, err)
		}
	}
	if c, err := load("[replication]\nper_dc = {}", nil, nil); err != nil || c.Replication.N != 3 || len(c.Replication.PerDC) != 0 {
		t.Errorf("none: %v", err)
	}
}
