package command

import (
	"context"
	"time"

	"kvstore/cluster/coordinator"
)

// Env is what all commands of a node share.
type Env struct {
	Table    *Table
	Cluster  Cluster
	Config   Config
	Clients  Clients
	Stats    *Stats
	Shutdown func(save bool) // begins an orderly shutdown and returns at once
	Password func() string   // what AUTH compares with; empty: none is needed
	Info     Info

	// Repair are the lines of INFO's repair section, like Storage.
	Repair func() [][2]string
	// Transfer are the lines of INFO's transfer section, like Storage.
	Transfer func() [][2]string
	// Storage are the lines of INFO's storage section, name and value; nil for
	// none. It must not block.
	Storage func() [][2]string
}

// Info is what a node is told of itself when it starts.
type Info struct {
	Version    string // ours
	RunID      string // 40 hexadecimal digits, new with every start
	Started    time.Time
	Port       int // of the listener of clients
	Executable string
	ConfigFile string
	Dir        string // of the data
}

// Config is the running configuration as CONFIG GET and SET see it.
type Config interface {
	// Get returns the keys matching a glob pattern, with their values.
	Get(pattern string) [][2]string
	// Set changes a key while the node runs. The error is for the client.
	Set(key, value string) error
}

// Cluster is what commands need of the node: package cluster's Node.
type Cluster interface {
	Keyspace
	Topology
}

// Keyspace is the part of Cluster that reaches keys.
type Keyspace interface {
	// Submit begins a request and never blocks; see coordinator.Request.
	Submit(r *coordinator.Request)
	// EndTurn commits and sends what the requests of a turn have produced. It
	// reports whether replies may leave, which under fsync=always they may not
	// until OnCommitted says so.
	EndTurn() (committed bool)
	// OnCommitted reports whether everything written so far may be
	// acknowledged; otherwise fn is called once when it may.
	OnCommitted(fn func(error)) bool
	// Do runs a request and waits for it, its commit included. It returns the
	// request's Err. Owner is not used.
	Do(ctx context.Context, r *coordinator.Request) error
}
