package coordinator

import (
	"errors"
	"fmt"
	"unsafe"

	"kvstore/cluster/version"
)

// Errors a request ends with. NOQUORUM-like errors promise that nothing was
// written; ErrTimeout promises nothing.
var (
	// ErrNoQuorum: refused before anything was sent or written, because too
	// few replicas of the key are reachable for the level asked.
	ErrNoQuorum = errors.New("too few replicas are reachable")
	// ErrTimeout: attempted, not acknowledged by enough replicas in time; the
	// outcome is unknown.
	ErrTimeout = errors.New("not enough replicas answered in time, the outcome is unknown")
	// ErrOverloaded: a queue on the way is full; nothing was written.
	ErrOverloaded = errors.New("a queue is full")
	// ErrLevel: the level asks for more replicas than the key has.
	ErrLevel = errors.New("the level asks for more replicas than a key has")
	// ErrFull: the soft primary's disk is full; nothing was written.
	ErrFull = errors.New("the disk is full")
	// ErrReadOnly: the soft primary refuses writes until it is restarted,
	// after its disk failed to flush.
	ErrReadOnly = errors.New("writes are refused after a failed flush to disk")
	// ErrSlow: the soft primary's disk has not taken the clock's next bound for
	// longer than it was reserved ahead; nothing was written.
	ErrSlow = errors.New("the disk is slow, writes are refused until it has caught up")
	// ErrCorrupt: the bytes of this key are damaged where they were read.
	ErrCorrupt = errors.New("the stored record is damaged")
	// ErrNotReady: the node is not (or not yet) a member of a ring.
	ErrNotReady = errors.New("the node is not part of a ring yet")
	// ErrTooManySiblings: a client has made 100 concurrent values of one key.
	ErrTooManySiblings = errors.New("the key has too many siblings")
)

// errExpired is the timeout of a request that waited for this node's disk until
// its time was over; nothing was done then.
var errExpired = fmt.Errorf("the request waited for the disk until its time was over: %w", ErrTimeout)

// Op is what a command does to one key: a pure function of its arguments, the
// key's value and the time. For a write it runs at the soft primary under the
// key's lock, for a read at the coordinator on the merged answers.
type Op struct {
	Name  string        // unique, lower case, stable: it travels between nodes
	Write bool          // may change the key
	Run   func(c *Call) // decides the reply and the effect
	After func(c *Call) // optional, for writes: runs once Object is the updated object
	// Depends reports whether the reply or the effect depends on the value
	// that is there; nil means always. Where another node may have written
	// meanwhile, a write that depends reads a quorum first.
	Depends func(args [][]byte) bool
}

// Never is the Depends of an operation that replaces whatever is there.
func Never([][]byte) bool { return false }

// name is the operation's name as messages carry it.
func (o *Op) name() []byte { return unsafe.Slice(unsafe.StringData(o.Name), len(o.Name)) }

// Completer takes back a finished request: exactly once, possibly inside
// Submit on the caller's goroutine, otherwise on another one.
type Completer interface {
	Complete(r *Request)
}

// Request is one operation on one key on its way through the node. Its maker
// pools it; the coordinator owns it from Submit until Complete. Key and Args
// need to stay valid only until Submit returns: what is kept longer is copied.
type Request struct {
	Op     *Op
	DB     uint8
	Proto  uint8 // RESP protocol of the reply, 2 or 3
	Key    []byte
	Args   [][]byte // the whole command, Args[0] its name
	Levels Levels
	Owner  Completer

	Out []byte // the reply in RESP; its storage is reused from one use to the next
	Err error  // or why there is none
}

// effect is what a Call decided to do to its key.
type effect uint8

const (
	effectNone effect = iota
	effectPut
	effectRemove
	effectAdd
	effectExpire
)

// Call is one run of an Op.
type Call struct {
	Args      [][]byte
	Key       []byte
	DB        uint8
	Proto     uint8
	ClusterID uint64
	Now       int64 // unix milliseconds
	MaxValue  int   // the longest value in bytes that a write may build

	// The key as a plain GET sees it. Value aliases other buffers: what is
	// kept is copied.
	Exists   bool
	Counter  bool
	Value    []byte
	Deadline int64 // unix milliseconds, 0 for none

	// Object holds all siblings; it is empty when nothing is stored.
	Object *version.Object

	Out []byte // append the reply here, in RESP
	Buf []byte // scratch for building a value; reused

	effect      effect
	newValue    []byte
	newDeadline int64
	delta       int64
	context     *version.Context
}

// Put replaces everything seen by value, which may alias Buf, Args or Value.
func (c *Call) Put(value []byte, deadline int64) {
	c.effect, c.newValue, c.newDeadline = effectPut, value, deadline
}

// Remove leaves a tombstone that covers everything seen.
func (c *Call) Remove() { c.effect = effectRemove }

// Add increments the key by delta as a counter and keeps its deadline.
func (c *Call) Add(delta int64) { c.effect, c.delta = effectAdd, delta }

// Expire gives the value as it stands another deadline; 0 is none.
func (c *Call) Expire(deadline int64) {
	c.effect, c.newDeadline = effectExpire, deadline
}

// WithContext makes the effect cover ctx instead of everything the replica
// holds, so that what the client had not seen stays beside it as a sibling.
// Once the effect is made, ctx is what the client has seen then (Update).
func (c *Call) WithContext(ctx *version.Context) { c.context = ctx }

// Context returns the context of WithContext, nil when there was none.
func (c *Call) Context() *version.Context { return c.context }

// Effect describes what the call decided, for tests of operations.
func (c *Call) Effect() (put, removed, added, expired bool, value []byte, deadline, delta int64) {
	return c.effect == effectPut, c.effect == effectRemove, c.effect == effectAdd,
		c.effect == effectExpire, c.newValue, c.newDeadline, c.delta
}

// Reset clears a Call for its next use and keeps its buffers.
func (c *Call) Reset() {
	*c = Call{Object: c.Object, Out: c.Out[:0], Buf: c.Buf[:0]}
}
