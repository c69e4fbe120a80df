package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster"
	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/config"
	"kvstore/resp"
	"kvstore/server"
	"kvstore/server/admin"
	"kvstore/server/command"
	"kvstore/storage"
)

// node is all of a running server process.
type node struct {
	log     zerolog.Logger
	cluster *cluster.Node
	server  *server.Server
	loops   *resp.Loops   // of clients and other nodes; nil where there are none
	admin   *admin.Server // nil when it is off
	asked   chan struct{} // holds one token once SHUTDOWN was called
}

// startNode puts a node together from the inside out: the cluster, which opens
// the directory; the admin server, so that a node that waits to be taken in can
// be asked why; the front end.
func startNode(live *config.Live, file string, secure *tls.Config, log zerolog.Logger) (_ *node, err error) {
	c := live.Config()
	n := &node{log: log, asked: make(chan struct{}, 1)}
	table := command.NewTable()
	options, err := clusterOptions(c, table, log)
	if err != nil {
		return nil, err
	}
	if n.loops, err = resp.NewLoops(c.Server.Loops); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.loops.Close()
		}
	}()
	if n.loops != nil {
		options.Loops = peerLoops{n.loops}
	}
	if n.cluster, err = cluster.Open(options); err != nil {
		return nil, err
	}
	env := &command.Env{
		Table: table, Cluster: n.cluster, Config: live, Stats: command.NewStats(table), Shutdown: n.ask,
		Password: password(live), Info: info(c, file),
		Repair:   func() [][2]string { return repairLines(n.cluster) },
		Transfer: func() [][2]string { return transferLines(n.cluster) },
		Storage:  storageLines(func() (storage.Metrics, error) { return n.cluster.Storage(), n.cluster.WriteError() }),
	}
	if err := n.serve(c, secure, env); err != nil {
		return nil, errors.Join(err, n.cluster.Shutdown(context.Background()))
	}
	if err := n.administer(live, env); err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return nil, errors.Join(err, n.server.Shutdown(ctx), n.cluster.Shutdown(ctx))
	}
	for _, key := range []string{"replication.r", "replication.w", "replication.mode"} {
		live.Subscribe(key, func(c *config.Config) { n.cluster.SetReplication(levels(c)) })
	}
	for _, key := range []string{"replication.read_timeout", "replication.write_timeout"} {
		live.Subscribe(key, func(c *config.Config) { n.cluster.SetTimeouts(c.Replication.ReadTimeout, c.Replication.WriteTimeout) })
	}
	for _, key := range []string{"hints.max_bytes", "hints.max_age"} {
		live.Subscribe(key, func(c *config.Config) { n.cluster.SetHintLimits(int64(c.Hints.MaxBytes), c.Hints.MaxAge) })
	}
	for _, key := range []string{"repair.period", "repair.tombstone_age", "repair.rate"} {
		live.Subscribe(key, func(c *config.Config) {
			n.cluster.SetRepair(c.Repair.Period, c.Repair.TombstoneAge, int64(c.Repair.Rate))
		})
	}
	live.Subscribe("transfer.rate", func(c *config.Config) { n.cluster.SetTransferRate(int64(c.Transfer.Rate)) })
	live.Subscribe("server.maxclients", func(c *config.Config) { n.server.SetMaxClients(c.Server.Maxclients) })
	live.Subscribe("server.timeout", func(c *config.Config) { n.server.SetIdleTimeout(c.Server.Timeout) })
	live.Subscribe("server.output_limit", func(c *config.Config) { n.server.SetOutputLimit(int(c.Server.OutputLimit)) })
	self, adminAddr := n.cluster.Self(), ""
	if n.admin != nil {
		adminAddr = n.admin.Addr().String()
	}
	log.Info().Str("version", Version).Str("node", self.Name).Stringer("id", self.ID).Str("listen", c.Server.Listen).
		Str("admin", adminAddr).Str("dir", c.Storage.Dir).Msg("started")
	return n, nil
}

// ask begins an orderly shutdown. The log is always saved, whatever save says.
func (n *node) ask(bool) {
	select {
	case n.asked <- struct{}{}:
	default: // asked before
	}
}

// serve starts the front end.
func (n *node) serve(c *config.Config, secure *tls.Config, env *command.Env) error {
	o := server.Options{
		Addr: c.Server.Listen, TLS: secure, On: n.loops, Env: env, Limits: resp.Limits{Bulk: int(c.Server.MaxValue)},
		MaxClients: c.Server.Maxclients, OutputLimit: int(c.Server.OutputLimit), IdleTimeout: c.Server.Timeout, Logger: n.log,
	}
	if c.Server.Routing == "redirect" {
		o.Redirect = redirect(n.cluster)
	}
	var err error
	if n.server, err = server.New(o); err != nil {
		return err
	}
	return n.server.Start()
}

// administer starts the admin server, unless it is off.
func (n *node) administer(live *config.Live, env *command.Env) (err error) {
	c := live.Config()
	if c.Admin.Listen == "" {
		return nil
	}
	n.admin, err = admin.New(admin.Options{
		Listen: c.Admin.Listen, Logger: n.log,
		Source: &source{node: n.cluster, clusterName: c.Cluster.Name, join: n.cluster.MergeNodes, clock: n.cluster.ClockDoubt, healthy: n.cluster.Healthy,
			refill: func() *admin.Refill { return refillOf(n.cluster) }, unsettled: n.cluster.Unsettled,
			moves: func() *admin.Moves { return movesOf(n.cluster) }},
		Repairer: repairer{n.cluster},
		Backer:   backer{n.cluster},
		Operator: operator{n.cluster, func() int64 { return int64(live.Config().Transfer.Rate) }},
		Hot:      func(ctx context.Context, top int) admin.Hot { return hotOf(ctx, n.cluster, top) },
		Samplers: []admin.Sampler{
			serverSampler(env.Table, env.Stats, n.server, n.server.SlowReaders),
			storageSampler(n.cluster.Storage),
			clusterSampler(n.cluster),
			repairSampler(n.cluster),
			transferSampler(n.cluster),
		},
	})
	return err
}

// clusterOptions is the part of c that the cluster needs.
func clusterOptions(c *config.Config, table *command.Table, log zerolog.Logger) (cluster.Options, error) {
	secret, err := base64.StdEncoding.DecodeString(c.Cluster.Secret)
	if err != nil {
		return cluster.Options{}, fmt.Errorf("cluster.secret: %w", err)
	}
	secure, err := loadPeerTLS(c)
	if err != nil {
		return cluster.Options{}, err
	}
	ops := make(map[string]*coordinator.Op)
	for _, op := range table.Ops() {
		ops[op.Name] = op
	}
	return cluster.Options{
		Dir: c.Storage.Dir,
		Storage: storage.Options{
			Fsync: syncPolicy(c.Storage.Fsync), Compression: c.Storage.Compression,
			MemtableSize: int64(c.Storage.MemtableSize), CacheSize: int64(c.Storage.CacheSize),
			ScrubPeriod: c.Storage.ScrubPeriod, Reserve: diskReserve, Logger: log,
		},
		Name: c.Node.Name, DC: c.Node.DC, Rack: c.Node.Rack, Weight: c.Node.Weight,
		ClusterName: c.Cluster.Name, Gossip: c.Cluster.Gossip, RPC: c.Cluster.RPC, Client: c.ClientAddress(),
		Join: c.Cluster.Join, AwaitCommit: !c.Cluster.AutoJoin, AutoWeight: c.Cluster.AutoWeight, KeptOut: keptOut, Partitions: c.Cluster.Partitions, Secret: secret, TLS: secure,
		Replication: cluster.Replication{N: c.Replication.N, PerDC: perDC(c), Levels: levels(c),
			ReadTimeout: c.Replication.ReadTimeout, WriteTimeout: c.Replication.WriteTimeout},
		Repair:    cluster.Repair{Period: c.Repair.Period, Delay: c.Repair.TombstoneAge, Rate: int64(c.Repair.Rate)},
		Transfer:  cluster.Transfer{Rate: int64(c.Transfer.Rate), Moves: c.Transfer.Moves},
		HintBytes: int64(c.Hints.MaxBytes), HintAge: c.Hints.MaxAge,
		MaxValue: int(c.Server.MaxValue), Ops: ops, Logger: log,
	}, nil
}

// perDC is replication.per_dc.
func perDC(c *config.Config) (list []ring.DCReplicas) {
	for _, dc := range c.Replication.PerDC {
		list = append(list, ring.DCReplicas{DC: dc.DC, N: dc.N})
	}
	return list
}

// keptOut is how long a node tries to join where it is kept out: members that are only about to end do that, too, and
// some tools start a node anew that ends.
const keptOut = 10 * time.Second

// diskReserve is the room that the engine keeps for a full disk: some hundred thousand deletions.
const diskReserve = 64 << 20

func syncPolicy(name string) storage.SyncPolicy {
	for _, p := range []storage.SyncPolicy{storage.SyncAlways, storage.SyncNever} {
		if p.String() == name {
			return p
		}
	}
	return storage.SyncEverySecond
}

// levels is the configured consistency. Package config accepts what package
// coordinator parses, which a test holds it to.
func levels(c *config.Config) coordinator.Levels {
	r, errR := coordinator.ParseLevel(string(c.Replication.R))
	w, errW := coordinator.ParseLevel(string(c.Replication.W))
	mode, errMode := coordinator.ParseMode(c.Replication.Mode)
	if err := errors.Join(errR, errW, errMode); err != nil {
		panic("cli: a level that config accepts and coordinator does not: " + err.Error())
	}
	return coordinator.Levels{R: r, W: w, Mode: mode}
}

// password follows server.requirepass.
func password(live *config.Live) func() string {
	var current atomic.Pointer[string]
	live.Subscribe("server.requirepass", func(c *config.Config) { current.Store(&c.Server.Requirepass) })
	return func() string { return *current.Load() }
}

// info is what INFO tells of the process.
func info(c *config.Config, file string) command.Info {
	_, port, _ := net.SplitHostPort(c.Server.Listen) // config has checked it
	number, _ := strconv.Atoi(port)
	executable, _ := os.Executable() // INFO shows nothing when it is unknown
	run := make([]byte, 20)
	_, _ = rand.Read(run) // never fails, by its documentation
	return command.Info{Version: Version, RunID: hex.EncodeToString(run), Started: time.Now(), Port: number,
		Executable: executable, ConfigFile: file, Dir: c.Storage.Dir}
}
