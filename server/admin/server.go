package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 2 * time.Minute // a CPU profile of a minute must fit
	idleTimeout    = 2 * time.Minute
	mergeTimeout   = 10 * time.Second // joining asks other machines
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 1 << 20 // a list of 1000 nodes takes 400 KB
)

// Source is what the server tells of: the node.
type Source interface {
	// Healthy is nil unless the process has to be started again.
	Healthy() error
	// Ready is nil when the node serves, else why it does not.
	Ready() error
	Nodes() NodeList
	Ring() Ring
	// Merge introduces the node to others, of which only Gossip need be set.
	Merge(ctx context.Context, nodes []Node) error
}

// Options is what New needs.
type Options struct {
	Listen   string
	Source   Source
	Repairer Repairer // nil: /v1/repair is not there
	Operator Operator // nil: /v1/cluster is not there
	// Hot tells what is hot, the top of so many; nil: /v1/hot is not there.
	Hot      func(ctx context.Context, top int) Hot
	Backer   Backer    // nil: /v1/backup is not there
	Samplers []Sampler // whose samples /metrics shows besides Go's and the process's
	Logger   zerolog.Logger
}

// Server answers HTTP on one address.
type Server struct {
	http     http.Server
	listener net.Listener
	serving  sync.WaitGroup
}

// New listens and serves. Its error is the listener's.
func New(o Options) (*Server, error) {
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: listener}
	s.http = http.Server{
		Handler:           http.NewCrossOriginProtection().Handler(routes(o)),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	s.serving.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error().Err(err).Msg("admin: stopped serving")
		}
	})
	return s, nil
}

// Addr is the address it listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Shutdown waits for the running requests until ctx ends, then cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.serving.Wait()
	return err
}

func routes(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Source.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Source.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /metrics", metrics(o))
	mux.HandleFunc("GET /v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, o.Source.Nodes())
	})
	mux.HandleFunc("POST /v1/nodes", func(w http.ResponseWriter, r *http.Request) { merge(o.Source, w, r) })
	mux.HandleFunc("GET /v1/ring", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, o.Source.Ring())
	})
	if o.Repairer != nil {
		repairRoutes(mux, o.Repairer)
	}
	if o.Operator != nil {
		clusterRoutes(mux, o.Operator)
	}
	if o.Hot != nil {
		hotRoute(mux, o.Hot)
	}
	if o.Backer != nil {
		backupRoutes(mux, o.Backer)
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// merge is POST /v1/nodes.
func merge(source Source, w http.ResponseWriter, r *http.Request) {
	var list NodeList
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes)).Decode(&list); err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		reply(w, status, problem{"read the node list: " + err.Error()})
		return
	}
	if len(list.Nodes) == 0 {
		reply(w, http.StatusBadRequest, problem{`the node list is empty; want {"nodes": [{"gossip": "HOST:PORT"}]}`})
		return
	}
	for _, n := range list.Nodes {
		if _, _, err := net.SplitHostPort(n.Gossip); err != nil {
			reply(w, http.StatusBadRequest, problem{fmt.Sprintf("gossip %q of node %q is not HOST:PORT", n.Gossip, n.Name)})
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), mergeTimeout)
	defer cancel()
	if err := source.Merge(ctx, list.Nodes); err != nil {
		reply(w, http.StatusConflict, problem{err.Error()})
		return
	}
	reply(w, http.StatusOK, source.Nodes())
}

// reply writes body as indented JSON, for eyes and programs alike. A client
// that has gone needs no answer.
func reply(w http.ResponseWriter, status int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}
