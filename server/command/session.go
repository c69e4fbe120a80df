package command

import (
	"time"

	"kvstore/cluster/coordinator"
)

// Databases is how many databases a node has: SELECT takes 0 to 15.
const Databases = 16

// ReplyMode says which replies a client wants, set by CLIENT REPLY.
type ReplyMode uint8

// ReplySkip leaves out the reply of the next command only; ReplySkipNext is
// its state until the CLIENT REPLY SKIP itself is over.
const (
	ReplyOn ReplyMode = iota
	ReplyOff
	ReplySkipNext
	ReplySkip
)

// Session is what the commands of one connection share. It belongs to the
// goroutine running the connection's commands.
type Session struct {
	ID            uint64
	Name          string
	LibName       string
	LibVer        string
	Addr, LAddr   string // the client's address and the one it came to
	DB            uint8
	Proto         uint8 // 2 or 3
	Authenticated bool
	Reply         ReplyMode
	Levels        coordinator.Levels // set by QUORUM SET; zero fields are the configuration's
	NoEvict       bool
	NoTouch       bool
	ReadOnly      bool // set by READONLY, which changes nothing here
	Asking        bool // set by ASKING: the next command with keys is not sent elsewhere
	Created       time.Time
	LastActive    time.Time
	LastCommand   *Command
	Commands      uint64 // commands begun
	QueryBytes    int    // bytes received and not yet run
	OutputBytes   int    // bytes not yet sent
	TotalIn       uint64
	TotalOut      uint64
	Close         bool // close the connection once the reply is sent
}

// ClientInfo is a client as CLIENT LIST shows it: a copy of a Session.
type ClientInfo struct {
	Session
	Blocked bool // a command of it is waiting
}

// Clients are the connections of this node. Its methods may be called by any
// goroutine that is not running a connection's commands on an event loop, or
// by one that is: they do not wait for other connections.
type Clients interface {
	// List returns a copy of every client, by id.
	List() []ClientInfo
	// Kill closes the client with that id, after its reply when it is the one
	// asking, and reports whether there was one.
	Kill(id uint64) bool
	// Count is how many there are, and how many of them wait for a command.
	Count() (connected, blocked int)
}
