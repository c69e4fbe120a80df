package command

import (
	"context"

	"kvstore/cluster/coordinator"
)

// Command is one command or subcommand.
type Command struct {
	Name       string // lower case, without its container's name
	Summary    string
	Since      string // the Redis version it appeared in; of our own commands, ours
	Group      Group
	Complexity string
	History    []Change
	Tips       []string // hints for clients, as Redis names them

	// Deprecated is the version since which ReplacedBy should be used instead;
	// empty for almost all.
	Deprecated, ReplacedBy string

	// Arity counts the arguments with the name and, for a subcommand, its
	// container's name. A negative arity -n means n or more.
	Arity      int
	Flags      Flags
	Categories Categories // those that do not follow from Flags

	// The keys are the arguments FirstKey, FirstKey+Step ... LastKey; a negative
	// LastKey counts from the end, -1 being the last argument. Zero FirstKey:
	// the command names no key. KeyUse says what becomes of the keys.
	FirstKey, LastKey, Step int
	KeyUse                  KeyUse
	KeyNote                 string    // said by COMMAND INFO beside the key's use
	KeySpecs                []KeySpec // only where keys differ in their use; otherwise made from the fields above

	Args []Arg
	Sub  []*Command

	// Exactly one is set, none for a container that does nothing by itself.
	Local   func(c *Ctx)
	Op      *coordinator.Op
	Scatter *Scatter
	Wait    func(ctx context.Context, c *Ctx)

	// Runs are the operations a Wait command brings to keys; they are listed so
	// that the other nodes know them by name.
	Runs []*coordinator.Op

	// Rewrite, when set, stands in the place of a running half: the command is
	// another one, to be run at levels of its own (QUORUM CALL). The server calls
	// it on the connection's goroutine; when it is ok, the server resolves args,
	// a tail of c.Args, and runs that command as if it had been sent, with the
	// levels filled up from the session's: in Request.Levels for an Op or a
	// Scatter, in Ctx.Levels otherwise. When it is not ok, c.Out has the error.
	Rewrite func(c *Ctx) (args [][]byte, levels coordinator.Levels, ok bool)

	full  string // "config|get"; Name for a command of its own
	index int    // its place in Stats.Commands
}

// FullName is the name as COMMAND writes it, a subcommand's after its
// container's: "config|get".
func (c *Command) FullName() string { return c.full }

// Index is the command's place in Stats.Commands; each command and subcommand
// has its own.
func (c *Command) Index() int { return c.index }

// CheckArity reports whether n arguments, names included, are a number the
// command takes.
func (c *Command) CheckArity(n int) bool {
	if c.Arity >= 0 {
		return n == c.Arity
	}
	return n >= -c.Arity
}

// Writes reports whether the command may change keys.
func (c *Command) Writes() bool { return c.Flags&Write != 0 }

// Keys returns the number of keys in args and the position of the first and
// the distance from one to the next.
func (c *Command) Keys(args [][]byte) (n, first, step int) {
	if c.FirstKey == 0 || c.FirstKey >= len(args) {
		return 0, 0, 0
	}
	last := c.LastKey
	if last < 0 {
		last += len(args)
	}
	last = min(last, len(args)-1)
	if last < c.FirstKey {
		return 0, 0, 0
	}
	return (last-c.FirstKey)/c.Step + 1, c.FirstKey, c.Step
}

// Subcommand finds a subcommand by its name in any case.
func (c *Command) Subcommand(name []byte) *Command {
	for _, s := range c.Sub {
		if equalFold(name, s.Name) {
			return s
		}
	}
	return nil
}

// Change is a line of a command's history.
type Change struct{ Since, What string }

// Group is the chapter of the manual a command belongs to.
type Group string

// Redis's own groups, and one for the commands it does not have.
const (
	GroupString     Group = "string"
	GroupGeneric    Group = "generic"
	GroupConnection Group = "connection"
	GroupServer     Group = "server"
	GroupCluster    Group = "cluster"
	GroupKvstore    Group = "kvstore"
)

// KeyUse says what a command does with a key.
type KeyUse uint16

// One of KeyRO, KeyRW, KeyOW and KeyRM, with what is returned or changed.
const (
	KeyRO         KeyUse = 1 << iota // reads the value
	KeyRW                            // reads and changes the value
	KeyOW                            // overwrites the value whatever it was
	KeyRM                            // removes the key
	KeyAccess                        // returns or copies the value
	KeyUpdate                        // changes the value
	KeyInsert                        // adds to the value, changes nothing of it
	KeyDelete                        // deletes from the value
	KeyNotKey                        // an argument that looks like a key and is none
	KeyIncomplete                    // more keys may follow
	KeyVariable                      // the use depends on the arguments
)

var keyUseNames = [...]string{"RO", "RW", "OW", "RM", "access", "update", "insert", "delete", "not_key", "incomplete", "variable_flags"}

// KeySpec is a run of keys that are used in the same way.
type KeySpec struct {
	First int // position of the first key
	Last  int // of the last one: relative to First, or to the end when negative
	Step  int
	Use   KeyUse
	Note  string
}

// Arg describes one argument for COMMAND DOCS and the manual.
type Arg struct {
	Name    string
	Type    ArgType
	Token   string // the word that stands before the argument, or is it
	Since   string
	Display string // shown instead of Name
	KeySpec int    // for an ArgKey: which of the command's key specs
	Args    []Arg  // of ArgOneOf and ArgBlock
	Flags   ArgFlags
}

// ArgType is what an argument is.
type ArgType uint8

// The types Redis knows.
const (
	ArgString ArgType = iota
	ArgInteger
	ArgDouble
	ArgKey
	ArgPattern
	ArgUnixTime
	ArgPureToken // a word that is given or not
	ArgOneOf     // one of Args
	ArgBlock     // all of Args
)

var argTypeNames = [...]string{"string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof", "block"}

func (t ArgType) String() string { return argTypeNames[t] }

// ArgFlags say how often an argument may be given.
type ArgFlags uint8

// Multiple repeats the argument; MultipleToken repeats its token with it.
const (
	Optional ArgFlags = 1 << iota
	Multiple
	MultipleToken
)

var argFlagNames = [...]string{"optional", "multiple", "multiple_token"}
