package config

import (
	"net"
	"time"
)

// MaxReplicas is the largest replication.n. Seven survives the loss of three
// nodes; nobody gains from more, and it bounds what a request must track.
const MaxReplicas = 7

// Level says how many replicas must answer: one of the names of
// replication.r, or a number in decimal.
type Level string

// DCReplicas is how many copies of each key a data centre has.
type DCReplicas struct {
	DC string
	N  int
}

// Config is every setting of one node, checked. The fields are documented by
// the table in fields.go, under the key of the same name.
type Config struct {
	Server struct {
		Listen       string
		Requirepass  string
		Routing      string
		Maxclients   int
		Timeout      time.Duration
		DrainTimeout time.Duration
		MaxValue     ByteSize
		OutputLimit  ByteSize
		Loops        int
		TLSCert      string
		TLSKey       string
	}
	Node struct {
		Name, DC, Rack string
		Weight         float64
	}
	Cluster struct {
		Name, Gossip, RPC string
		Join              []string
		AutoJoin          bool
		AutoWeight        bool
		Partitions        int
		Secret            string
		TLSCert, TLSKey   string
		TLSCA             string
	}
	Replication struct {
		N                         int // with PerDC their sum
		PerDC                     []DCReplicas
		R, W                      Level
		Mode                      string
		ReadTimeout, WriteTimeout time.Duration
	}
	Hints struct {
		MaxBytes ByteSize
		MaxAge   time.Duration
	}
	Repair struct {
		Period, TombstoneAge time.Duration
		Rate                 ByteSize
	}
	Transfer struct {
		Rate  ByteSize
		Moves int
	}
	Storage struct {
		Dir, Fsync, Compression string
		MemtableSize, CacheSize ByteSize
		ScrubPeriod             time.Duration
	}
	Admin struct{ Listen string }
	Log   struct{ Level, Format string }

	// origins holds where each key that is not at its default was set.
	origins map[string]string
}

// Default is the configuration of a node that was told nothing.
func Default() *Config {
	c := new(Config)
	for _, f := range Fields() {
		if err := f.at(c).parse(f.Default); err != nil {
			panic("config: default of " + f.Key + ": " + err.Error())
		}
	}
	return c
}

// Origin is where key got its value: "default", "kvstore.toml:3",
// "KVSTORE_SERVER_LISTEN", "--server.listen" or "CONFIG SET".
func (c *Config) Origin(key string) string {
	if origin, ok := c.origins[key]; ok {
		return origin
	}
	return "default"
}

// ClientAddress is the address that clients of the whole cluster are told for
// this node: server.listen, or its port on the host of cluster.rpc when
// server.listen serves all interfaces.
func (c *Config) ClientAddress() string {
	host, port, _ := net.SplitHostPort(c.Server.Listen)
	if unspecified(host) {
		host, _, _ = net.SplitHostPort(c.Cluster.RPC)
	}
	return net.JoinHostPort(host, port)
}

// Text is the value of key as it is written in a flag. A key that does not
// exist breaks an invariant of the program.
func (c *Config) Text(key string) string {
	f, ok := lookup(key)
	if !ok {
		panic("config: no field " + key)
	}
	return f.at(c).String()
}
