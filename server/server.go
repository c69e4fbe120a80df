package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/resp"
	"kvstore/server/command"
)

// Defaults of Options.
const (
	DefaultMaxClients  = 10_000   // as Redis
	DefaultMaxParked   = 1024     // about what one round trip between nodes can hold
	busyParked         = 32       // and while the cluster is busy; more than it takes to keep it so
	DefaultOutputPause = 1 << 20  // keeps a fast reader busy, a slow one cheap
	DefaultOutputLimit = 32 << 20 // Redis's soft limit for replicas
	DefaultWorkers     = 32
	DefaultWaiting     = 1024    // commands waiting for a worker
	DefaultMaxBuffered = 1 << 30 // two of the largest values
)

// Options of a server. Only Env.Cluster is needed.
type Options struct {
	Addr     string      // host:port of the listener; default any port of 127.0.0.1
	TLS      *tls.Config // nil for plain TCP
	Portable bool        // sockets without event loops
	Loops    int         // event loops; default one per two processors
	On       *resp.Loops // event loops to share, which are not closed; nil: own ones

	// Env is what commands get. New fills in Table, Stats and Clients.
	Env *command.Env

	Limits      resp.Limits   // of a client's input
	MaxClients  int           // connections
	MaxParked   int           // commands of one connection under way
	OutputPause int           // bytes unread by a client that make it wait
	OutputLimit int           // and that end its connection
	IdleTimeout time.Duration // 0: never
	Workers     int           // goroutines for commands that wait
	Waiting     int           // commands queued for them
	MaxBuffered int           // bytes that all connections together may buffer, but for 16 KiB of each

	// Redirect says where a key is served instead of here: an empty addr means
	// here. nil serves every key.
	Redirect func(key []byte) (slot int, addr string)

	Logger zerolog.Logger
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&o.MaxClients, DefaultMaxClients}, {&o.MaxParked, DefaultMaxParked},
		{&o.OutputPause, DefaultOutputPause}, {&o.OutputLimit, DefaultOutputLimit},
		{&o.Workers, DefaultWorkers}, {&o.Waiting, DefaultWaiting},
		{&o.MaxBuffered, DefaultMaxBuffered},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	return o
}

// Server serves clients from Start to Shutdown.
type Server struct {
	batch   resp.Batch // loops with completions to take
	batched bool       // the cluster ends the batch
	options Options
	env     *command.Env
	table   *command.Table
	stats   *command.Stats
	cluster command.Keyspace
	busy    func() bool  // the cluster's
	seed    maphash.Seed // of the hashes that tell a connection's keys apart

	sockets *resp.Sockets
	workers *workers
	pools   pools
	tuning  tuning
	stop    context.CancelFunc // ends the housekeeping
	keeper  sync.WaitGroup     // the housekeeping

	shutdown    sync.Once
	shutdownErr error // set by shutdown

	lastID   atomic.Uint64
	blocked  atomic.Int64 // clients with a worker busy for them
	buffered atomic.Int64 // bytes that connections have beyond uncounted each
	slow     atomic.Int64 // connections closed because the client does not read

	mu       sync.Mutex
	sessions map[uint64]*session // guarded by mu
	draining bool                // guarded by mu
	empty    chan struct{}       // guarded by mu; closed when the last session ends while draining
}

// New makes a server; Start opens its listener.
func New(o Options) (*Server, error) {
	if o.Env == nil || o.Env.Cluster == nil {
		return nil, errors.New("make a server: Env.Cluster is missing")
	}
	o = o.withDefaults()
	s := &Server{options: o, env: o.Env, cluster: o.Env.Cluster, busy: func() bool { return false }, seed: maphash.MakeSeed(), sessions: map[uint64]*session{}}
	if s.env.Table == nil {
		s.env.Table = command.NewTable()
	}
	if s.env.Stats == nil {
		s.env.Stats = command.NewStats(s.env.Table)
	}
	if s.env.Password == nil {
		s.env.Password = func() string { return "" }
	}
	s.env.Clients = s
	s.table, s.stats = s.env.Table, s.env.Stats
	s.pools.init()
	s.tuning.init(&o)
	return s, nil
}

// batches is a cluster that tells when a batch of completions is over. One that
// does not has loops woken at the first.
type batches interface{ AfterTurn(fn func()) }

// busies is a cluster that says when so much is under way that connections had better
// keep what they have not begun. One that does not is never busy.
type busies interface{ Busy() bool }

// Start begins to serve.
func (s *Server) Start() error {
	if c, ok := s.cluster.(busies); ok {
		s.busy = c.Busy
	}
	if c, ok := s.cluster.(batches); ok {
		s.batched = true
		c.AfterTurn(s.batch.End)
	}
	sockets, err := resp.Listen(resp.Options{
		Addr: s.options.Addr, TLS: s.options.TLS, Portable: s.options.Portable, Loops: s.options.Loops, On: s.options.On, Logger: s.options.Logger,
	}, s.begin())
	if err != nil {
		s.stop()
		s.workers.close()
		return fmt.Errorf("listen for clients: %w", err)
	}
	s.sockets = sockets
	return nil
}

// begin starts what must run before the first client comes.
func (s *Server) begin() resp.Events {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.workers = newWorkers(ctx, s.options.Workers, s.options.Waiting)
	s.keeper.Go(func() { s.closeIdle(ctx) })
	return s
}

// Addr is where the server listens; it is valid after Start.
func (s *Server) Addr() net.Addr { return s.sockets.Addr() }

// SlowReaders is the number of connections closed because the client did not
// read its replies.
func (s *Server) SlowReaders() int64 { return s.slow.Load() }

// Buffered is how many bytes of commands and replies connections buffer, but for 16
// KiB of each.
func (s *Server) Buffered() int64 { return s.buffered.Load() }

// full reports whether connections buffer so much that nothing more is begun.
func (s *Server) full() bool { return s.buffered.Load() >= int64(s.options.MaxBuffered) }

// The methods below are for the sockets.

// Refuse turns clients away when there are too many.
func (s *Server) Refuse() string {
	s.mu.Lock()
	full := int64(len(s.sessions)) >= s.tuning.maxClients.Load()
	s.mu.Unlock()
	if !full {
		return ""
	}
	s.stats.Rejected.Add(1)
	return resp.ErrTextMaxClients
}

// Open makes a client's session.
func (s *Server) Open(c resp.Conn) resp.Session {
	n := newSession(s, c, s.lastID.Add(1))
	s.stats.Connections.Add(1)
	s.mu.Lock()
	s.sessions[n.ID] = n
	draining := s.draining
	s.mu.Unlock()
	if draining {
		c.Close()
	}
	return n
}

// EndTurn commits and sends what the turn's requests produced.
func (s *Server) EndTurn() bool { return s.cluster.EndTurn() }

// OnCommitted says when replies may leave after EndTurn said no.
func (s *Server) OnCommitted(fn func(error)) bool { return s.cluster.OnCommitted(fn) }
