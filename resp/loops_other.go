//go:build !linux

package resp

import (
	"errors"
	"net"
)

// Loops are event loops that connections of different owners share. This system
// has none.
type Loops struct{}

// NewLoops returns nil where there are no event loops.
func NewLoops(int) (*Loops, error) { return nil, nil }

// Close does nothing.
func (l *Loops) Close() {}

// Watch is not to be called where there are no event loops.
func (l *Loops) Watch(nc net.Conn, _ Stream) error {
	return errors.Join(errors.ErrUnsupported, nc.Close())
}

// newEngine serves where there is no epoll.
func newEngine(o Options, events Events) (engine, error) { return newPortable(o, events), nil }
