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
	sent *atomic.Int64 // bytes, by all
}

var errDead = errors.New("the process is gone")

func (g *gossipEnd) WriteTo(b []byte, addr string) (time.Time, error) {
	if g.dead.Load() {
		return time.Time{}, errDead
	}
	g.sent.Add(int64(len(b)))
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
	return counted{conn, g.sent}, conn.SetDeadline(time.Now().Add(streamLife))
}

// counted is a stream whose bytes are counted, in both directions.
type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.bytes.Add(int64(len(b)))
	return c.Conn.Write(b)
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
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
