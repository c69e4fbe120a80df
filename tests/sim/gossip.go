package sim

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"kvstore/cluster/membership/membertest"
)

// gossipEnd is a process's end of the gossip network, which falls silent when
// the process is killed: its goroutines may outlive it for a moment.
type gossipEnd struct {
	*membertest.Transport
	dead atomic.Bool
}

var errDead = errors.New("the process is gone")

func (g *gossipEnd) WriteTo(b []byte, addr string) (time.Time, error) {
	if g.dead.Load() {
		return time.Time{}, errDead
	}
	return g.Transport.WriteTo(b, addr)
}

func (g *gossipEnd) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	if g.dead.Load() {
		return nil, errDead
	}
	conn, err := g.Transport.DialTimeout(addr, timeout)
	if err != nil {
		return nil, err
	}
	// The other side may be gone before it takes the stream.
	return conn, conn.SetDeadline(time.Now().Add(streamLife))
}

// streamLife bounds an exchange; memberlist sets deadlines of its own later.
const streamLife = 10 * time.Second

// Shutdown implements memberlist.Transport. The address may be another process's
// by then.
func (g *gossipEnd) Shutdown() error {
	if g.dead.Swap(true) {
		return nil
	}
	return g.Transport.Shutdown()
}

// kill silences it.
func (g *gossipEnd) kill() error { return g.Shutdown() }

var _ memberlist.Transport = (*gossipEnd)(nil)
