package resp

import "errors"

// Stream is what Loops.Watch reads a connection for. Its loop calls all methods,
// one at a time; Closed is the last.
type Stream interface {
	// Open comes first. What Open and Receive return says whether there is
	// something that EndBatch has to end; an error ends the connection.
	Open(c Watched) (began bool, err error)
	// Receive is given what was read. in is valid during the call.
	Receive(in []byte) (began bool, err error)
	// EndBatch comes at the end of such a turn.
	EndBatch()
	// Closed tells that the connection is gone. err is nil if Abort or the end
	// of the loops did that.
	Closed(err error)
}

// Watched is a connection that is read for a Stream.
type Watched interface {
	// Send sends a few bytes at once. That the socket does not take them is an
	// error; some may be sent then. It is for the stream's own calls.
	Send(b []byte) error
	// Abort closes the connection soon. Anyone may call it.
	Abort()
}

// errFull is told when a socket does not take what is sent to it.
var errFull = errors.New("the other side does not read")
