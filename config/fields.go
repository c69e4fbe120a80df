package config

import (
	"strings"
	"time"
)

// Field is one row of the registry.
type Field struct {
	Key     string // section.key
	Default string
	Runtime bool   // CONFIG SET may change it
	Secret  bool   // never shown
	Doc     string // whole sentences, for the file and the documentation
	at      func(*Config) value
}

// Section is the part of the key before the dot.
func (f Field) Section() string { s, _, _ := strings.Cut(f.Key, "."); return s }

// Name is the part of the key after the dot.
func (f Field) Name() string { _, n, _ := strings.Cut(f.Key, "."); return n }

// Env is the environment variable that sets the field.
func (f Field) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.Key, ".", "_"))
}

// Allowed says what the field may hold.
func (f Field) Allowed() string { return f.at(new(Config)).allowed() }

func lookup(key string) (Field, bool) {
	for _, f := range Fields() {
		if f.Key == key {
			return f, true
		}
	}
	return Field{}, false
}

// section is a heading of the file and of the documentation.
type section struct{ name, doc string }

func sections() []section {
	return []section{
		{"server", "What clients connect to."},
		{"node", "Who this node is. The ring places replicas by weight, data centre and rack."},
		{"cluster", "The other nodes, and how this one finds them."},
		{"replication", "How many copies there are and how many must answer. A connection chooses its own levels with QUORUM SET."},
		{"hints", "What a node keeps for others while they are away."},
		{"repair", "How replicas are compared and brought level, and when deleted keys are forgotten."},
		{"transfer", "How partitions move to other nodes when some join, leave or change their weight."},
		{"storage", "Where the data is and what is promised about it."},
		{"admin", "The HTTP side: metrics, health, and what kvstore status and kvstore ring ask."},
		{"log", "What is written to the standard error stream."},
	}
}

// Fields is the registry, in the order of the file.
func Fields() []Field {
	const (
		maxTimeout = time.Hour
		maxIdle    = 365 * 24 * time.Hour
		maxName    = 64 // names travel in gossip, whose packets carry 512 bytes about a node
	)
	name := "1 to 64 bytes of text"
	return []Field{
		{Key: "server.listen", Default: "127.0.0.1:6379",
			Doc: "Address of the Redis protocol. A host of 0.0.0.0 or nothing serves all interfaces; then set server.requirepass. Clients are told the host of cluster.rpc in its place.",
			at:  func(c *Config) value { return address{p: &c.Server.Listen} }},
		{Key: "server.requirepass", Default: "", Runtime: true, Secret: true,
			Doc: "Password that clients must give with AUTH or HELLO. Empty asks for none.",
			at: func(c *Config) value {
				return text{p: &c.Server.Requirepass, max: 512, what: "up to 512 bytes of text"}
			}},
		{Key: "server.routing", Default: "proxy",
			Doc: "What happens to a key held elsewhere: proxy answers for it, redirect replies MOVED to clients that know Redis Cluster.",
			at:  func(c *Config) value { return choice{&c.Server.Routing, []string{"proxy", "redirect"}} }},
		{Key: "server.maxclients", Default: "10000", Runtime: true,
			Doc: "Connections served at once. One more is told so and closed.",
			at:  func(c *Config) value { return whole{p: &c.Server.Maxclients, min: 1, max: 1_000_000} }},
		{Key: "server.timeout", Default: "0s", Runtime: true,
			Doc: "A connection idle for so long is closed. 0 never closes one.",
			at:  func(c *Config) value { return duration{&c.Server.Timeout, 0, maxIdle} }},
		{Key: "server.drain_timeout", Default: "10s",
			Doc: "On SIGTERM, time for running commands to be answered and for the log to reach the disk before the process ends anyway.",
			at:  func(c *Config) value { return duration{&c.Server.DrainTimeout, 100 * time.Millisecond, maxTimeout} }},
		{Key: "server.max_value", Default: "512MiB",
			Doc: "Longest argument a client may send, and longest value that APPEND and SETRANGE may build on this node: the longest value. Give all nodes the same.",
			at:  func(c *Config) value { return size{&c.Server.MaxValue, 1 * KiB, 512 * MiB} }},
		{Key: "server.output_limit", Default: "1GiB", Runtime: true,
			Doc: "Replies waiting for a client that does not read them. One more byte and the connection is closed. A connection runs no new commands while 1 MiB of its replies wait, and is closed when its client takes none of them for 60s: only the large replies of commands already under way reach this limit.",
			at:  func(c *Config) value { return size{&c.Server.OutputLimit, 1 * MiB, 64 * GiB} }},
		{Key: "server.loops", Default: "0",
			Doc: "Event loops that serve the connections of clients and other nodes. 0 chooses by the number of cores.",
			at:  func(c *Config) value { return whole{p: &c.Server.Loops, min: 0, max: 256} }},
		{Key: "server.tls_cert", Default: "",
			Doc: "PEM file of the certificate chain. With server.tls_key it makes server.listen speak TLS only.",
			at:  func(c *Config) value { return filePath(&c.Server.TLSCert) }},
		{Key: "server.tls_key", Default: "",
			Doc: "PEM file of the certificate's private key.",
			at:  func(c *Config) value { return filePath(&c.Server.TLSKey) }},

		{Key: "node.name", Default: "",
			Doc: "Name of the node in tables and logs, unique in the cluster. Empty takes the host's name.",
			at:  func(c *Config) value { return text{p: &c.Node.Name, max: maxName, what: "up to 64 bytes of text"} }},
		{Key: "node.dc", Default: "dc1",
			Doc: "Data centre. Replicas are spread over data centres; local_quorum asks only this one.",
			at:  func(c *Config) value { return text{p: &c.Node.DC, min: 1, max: maxName, what: name} }},
		{Key: "node.rack", Default: "rack1",
			Doc: "Rack, or whatever fails together. Replicas are spread over racks.",
			at:  func(c *Config) value { return text{p: &c.Node.Rack, min: 1, max: maxName, what: name} }},
		{Key: "node.weight", Default: "1.0",
			Doc: "Share of the partitions relative to the other nodes: a node of weight 2 holds twice the data of one of weight 1. It counts when the node joins; kvstore cluster weight changes it.",
			at:  func(c *Config) value { return number{&c.Node.Weight, 0.01, 100} }},

		{Key: "cluster.name", Default: "kvstore",
			Doc: "A node joins only a cluster of the same name.",
			at:  func(c *Config) value { return text{p: &c.Cluster.Name, min: 1, max: maxName, what: name} }},
		{Key: "cluster.gossip", Default: "127.0.0.1:7946",
			Doc: "Address of the membership protocol, TCP and UDP. The other nodes must reach it.",
			at:  func(c *Config) value { return address{p: &c.Cluster.Gossip, told: true} }},
		{Key: "cluster.rpc", Default: "127.0.0.1:7947",
			Doc: "Address of requests between nodes, TCP. The other nodes must reach it.",
			at:  func(c *Config) value { return address{p: &c.Cluster.RPC, told: true} }},
		{Key: "cluster.join", Default: "",
			Doc: "Gossip addresses of any members. Empty starts a new cluster; a node that was a member finds the others again by itself.",
			at:  func(c *Config) value { return addresses{&c.Cluster.Join} }},
		{Key: "cluster.auto_join", Default: "true",
			Doc: "A node that joins gets its share at once. With false, here or at the node that takes it in, it is a member that holds nothing until somebody commits to moving data to it.",
			at:  func(c *Config) value { return toggle{&c.Cluster.AutoJoin} }},
		{Key: "cluster.auto_weight", Default: "false",
			Doc: "This node takes less of its share, down to a quarter, while less than a fifth of what its disk could hold is free and others have more room, and all of it again once there is room for that. What a disk could hold is what is free and what the node has stored there.",
			at:  func(c *Config) value { return toggle{&c.Cluster.AutoWeight} }},
		{Key: "cluster.partitions", Default: "256",
			Doc: "Partitions of the ring. It is fixed when a cluster is created; a node that joins must have the same.",
			at:  func(c *Config) value { return whole{p: &c.Cluster.Partitions, min: 1, max: 16384, powerOfTwo: true} }},
		{Key: "cluster.secret", Default: "", Secret: true,
			Doc: "Key that encrypts gossip and authenticates nodes to each other; what they say then is encrypted by cluster.tls_cert. Empty leaves both open to whoever reaches the ports.",
			at:  func(c *Config) value { return secretKey{&c.Cluster.Secret} }},
		{Key: "cluster.tls_cert", Default: "",
			Doc: "PEM file of the certificate chain that this node shows to the others, for the host of its cluster.rpc, as server and as client. With cluster.tls_key and cluster.tls_ca requests between nodes are encrypted: at all nodes, or at none.",
			at:  func(c *Config) value { return filePath(&c.Cluster.TLSCert) }},
		{Key: "cluster.tls_key", Default: "",
			Doc: "PEM file of that certificate's private key.",
			at:  func(c *Config) value { return filePath(&c.Cluster.TLSKey) }},
		{Key: "cluster.tls_ca", Default: "",
			Doc: "PEM file of the certificates that sign the nodes'. Whoever shows no certificate of theirs is no node.",
			at:  func(c *Config) value { return filePath(&c.Cluster.TLSCA) }},

		{Key: "replication.n", Default: "3",
			Doc: "Copies of each key. With fewer nodes than copies every node holds one. It counts when a cluster is created; from then on the ring has the number, and kvstore cluster replication changes it.",
			at:  func(c *Config) value { return whole{p: &c.Replication.N, min: 1, max: MaxReplicas} }},
		{Key: "replication.per_dc", Default: "",
			Doc: "Copies of each key in each data centre, in place of replication.n: { east = 3, west = 3 } in the file, east=3,west=3 elsewhere. Data centres that are not named hold nothing. It counts as replication.n does.",
			at:  func(c *Config) value { return perDC{&c.Replication.PerDC} }},
		{Key: "replication.r", Default: "quorum", Runtime: true,
			Doc: "Replicas that must answer a read. R + W > N reads what was written last.",
			at:  func(c *Config) value { return level{&c.Replication.R} }},
		{Key: "replication.w", Default: "quorum", Runtime: true,
			Doc: "Replicas that must hold a write before it is acknowledged.",
			at:  func(c *Config) value { return level{&c.Replication.W} }},
		{Key: "replication.mode", Default: "sloppy", Runtime: true,
			Doc: "sloppy lets other nodes stand in for replicas that are away, and bring them what they missed when they are back: any N nodes alive suffice. strict counts only the key's own replicas.",
			at:  func(c *Config) value { return choice{&c.Replication.Mode, []string{"sloppy", "strict"}} }},
		{Key: "replication.read_timeout", Default: "500ms", Runtime: true,
			Doc: "A read that has no answer by then is a TIMEOUT error.",
			at:  func(c *Config) value { return duration{&c.Replication.ReadTimeout, time.Millisecond, maxTimeout} }},
		{Key: "replication.write_timeout", Default: "1s", Runtime: true,
			Doc: "A write that is not acknowledged by then is a TIMEOUT error; its outcome is unknown.",
			at:  func(c *Config) value { return duration{&c.Replication.WriteTimeout, time.Millisecond, maxTimeout} }},

		{Key: "hints.max_bytes", Default: "4GiB", Runtime: true,
			Doc: "What this node keeps for each node that is away: keys and values it missed. What is over is left to comparing replicas.",
			at:  func(c *Config) value { return size{&c.Hints.MaxBytes, 1 * MiB, 1 * TiB} }},
		{Key: "hints.max_age", Default: "24h", Runtime: true,
			Doc: "How long it is kept. A node away for longer is brought level by comparing replicas.",
			at:  func(c *Config) value { return duration{&c.Hints.MaxAge, time.Second, 30 * 24 * time.Hour} }},

		{Key: "repair.period", Default: "1h", Runtime: true,
			Doc: "Every partition is compared among its replicas once in this time. Replicas that are equal exchange a few kilobytes.",
			at:  func(c *Config) value { return duration{&c.Repair.Period, time.Second, 30 * 24 * time.Hour} }},
		{Key: "repair.tombstone_age", Default: "1h", Runtime: true,
			Doc: "How long what is left of deleted and expired keys is kept at least. It goes once a comparison has shown that every replica has it.",
			at:  func(c *Config) value { return duration{&c.Repair.TombstoneAge, time.Second, 365 * 24 * time.Hour} }},
		{Key: "repair.rate", Default: "32MiB", Runtime: true,
			Doc: "What comparing and repairing may move, in bytes a second and node. It takes less while clients need the node.",
			at:  func(c *Config) value { return size{&c.Repair.Rate, 64 * KiB, 64 * GiB} }},

		{Key: "transfer.rate", Default: "256MiB", Runtime: true,
			Doc: "What this node takes of partitions that move to it, and gives of those that leave it, in bytes a second. It takes less while clients need the node.",
			at:  func(c *Config) value { return size{&c.Transfer.Rate, 64 * KiB, 64 * GiB} }},
		{Key: "transfer.moves", Default: "16",
			Doc: "Partitions that move to this node at a time.",
			at:  func(c *Config) value { return whole{p: &c.Transfer.Moves, min: 1, max: 128} }},

		{Key: "storage.dir", Default: "data",
			Doc: "Data directory, one per node. It holds the node's identity: never copy it to a second node.",
			at: func(c *Config) value {
				return text{p: &c.Storage.Dir, min: 1, max: 4096, what: "the path of a directory"}
			}},
		{Key: "storage.fsync", Default: "everysec",
			Doc: "When the log is forced to the disk: always before a write is acknowledged, everysec in the background, never leaves it to the kernel. The death of the process loses nothing in any of them.",
			at:  func(c *Config) value { return choice{&c.Storage.Fsync, []string{"always", "everysec", "never"}} }},
		{Key: "storage.compression", Default: "s2",
			Doc: "Compression of tables on disk.",
			at:  func(c *Config) value { return choice{&c.Storage.Compression, []string{"s2", "zstd", "none"}} }},
		{Key: "storage.memtable_size", Default: "64MiB",
			Doc: "Writes collected in memory before they become a table. Three of them may be in memory at a time: one that is written to, and two that wait for the disk.",
			at:  func(c *Config) value { return size{&c.Storage.MemtableSize, 1 * MiB, 512 * MiB} }},
		{Key: "storage.cache_size", Default: "256MiB",
			Doc: "Memory for blocks read from tables.",
			at:  func(c *Config) value { return size{&c.Storage.CacheSize, 1 * MiB, 1 * TiB} }},
		{Key: "storage.scrub_period", Default: "168h",
			Doc: "Everything at rest is read and verified once in this time, evenly, so that damage is found while other replicas can mend it. 0 verifies only what is read anyway.",
			at:  func(c *Config) value { return duration{&c.Storage.ScrubPeriod, 0, maxIdle} }},

		{Key: "admin.listen", Default: "127.0.0.1:9121",
			Doc: "Address of the HTTP server. It has no password: keep it private. Empty turns it off.",
			at:  func(c *Config) value { return address{p: &c.Admin.Listen, optional: true, anyPort: true} }},

		{Key: "log.level", Default: "info", Runtime: true,
			Doc: "Least important events that are written.",
			at:  func(c *Config) value { return choice{&c.Log.Level, []string{"debug", "info", "warn", "error"}} }},
		{Key: "log.format", Default: "console",
			Doc: "console for people, json for machines.",
			at:  func(c *Config) value { return choice{&c.Log.Format, []string{"console", "json"}} }},
	}
}

func filePath(p *string) value { return text{p: p, max: 4096, what: "the path of a file, or empty"} }
