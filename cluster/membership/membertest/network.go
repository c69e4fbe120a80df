// Package membertest is a network for gossip in memory: transports for memberlist whose packets are buffered and dropped when
// nobody takes them, and whose streams are pipes. It works inside a testing/synctest bubble, with which all its nodes must
// be made, and in which the only time that passes is that of the delays asked for. Ask for some: memberlist tells suspicions of a
// node apart by the instant they began, and when everything happens at the same instant it may miss that a suspicion was lifted.
package membertest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// packetBuffer is how many packets wait for a node before more are dropped, as a socket's buffer does.
	packetBuffer = 1024
	streamBuffer = 64
)

// Fate is what happens to something sent from one address to another: how long it takes, or that it never arrives.
type Fate func(from, to string) (delay time.Duration, drop bool)

// Network connects transports. Its methods may be called concurrently.
type Network struct {
	mu    sync.Mutex
	nodes map[string]*Transport
	fate  Fate
}

// NewNetwork returns a network that delivers at once.
func NewNetwork() *Network {
	return &Network{nodes: make(map[string]*Transport), fate: func(_, _ string) (time.Duration, bool) { return 0, false }}
}

// SetFate decides over everything sent from now on. fate is called concurrently.
func (n *Network) SetFate(fate Fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fate = fate
}

// NewTransport returns a transport that listens at addr, an IP address and a port. An address is free again after Shutdown.
func (n *Network) NewTransport(addr string) (*Transport, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil || tcp.IP == nil {
		return nil, fmt.Errorf("address %q is not an IP address and a port", addr)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[addr] != nil {
		return nil, fmt.Errorf("address %s is in use", addr)
	}
	t := &Transport{network: n, addr: tcp, packets: make(chan *memberlist.Packet, packetBuffer), streams: make(chan net.Conn, streamBuffer)}
	n.nodes[addr] = t
	return t, nil
}

// route decides over one sending.
func (n *Network) route(from, to string) (peer *Transport, delay time.Duration, drop bool) {
	n.mu.Lock()
	peer, fate := n.nodes[to], n.fate
	n.mu.Unlock()
	delay, drop = fate(from, to)
	return peer, delay, drop
}

// Settle passes the time in which memberlist's goroutines end after the Close of their nodes: a probe or an exchange under
// way is not waited for by memberlist. A bubble's test calls it last.
func Settle() { time.Sleep(time.Minute) }

// Transport is one node's place in a Network. It implements memberlist.Transport.
type Transport struct {
	network *Network
	addr    *net.TCPAddr
	packets chan *memberlist.Packet // sent by others' WriteTo, never closed
	streams chan net.Conn           // sent by others' DialTimeout, never closed
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.addr.IP, t.addr.Port, nil
}

// PacketCh implements memberlist.Transport.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements memberlist.Transport: nothing reaches the node any more.
func (t *Transport) Shutdown() error {
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	delete(t.network.nodes, t.addr.String())
	return nil
}

// WriteTo implements memberlist.Transport.
func (t *Transport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	peer, delay, drop := t.network.route(t.addr.String(), addr)
	if peer == nil || drop {
		return now, nil // as with UDP, nobody learns of it
	}
	p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: t.addr}
	deliver := func() {
		p.Timestamp = time.Now()
		select {
		case peer.packets <- p:
		default:
		}
	}
	if delay == 0 {
		deliver()
	} else {
		time.AfterFunc(delay, deliver)
	}
	return now, nil
}

// DialTimeout implements memberlist.Transport. A connection that is dropped takes the whole timeout.
func (t *Transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	peer, delay, drop := t.network.route(t.addr.String(), addr)
	if drop || delay > timeout {
		time.Sleep(timeout)
		return nil, fmt.Errorf("dial %s: timeout", addr)
	}
	time.Sleep(delay)
	if peer == nil {
		return nil, fmt.Errorf("dial %s: connection refused", addr)
	}
	here, there := net.Pipe()
	select {
	case peer.streams <- conn{there, peer.addr, t.addr}:
		return conn{here, t.addr, peer.addr}, nil
	default:
		return nil, errors.Join(fmt.Errorf("dial %s: too many connections wait", addr), here.Close(), there.Close())
	}
}

// conn is a pipe with addresses, which memberlist logs.
type conn struct {
	net.Conn
	local, remote net.Addr
}

func (c conn) LocalAddr() net.Addr  { return c.local }
func (c conn) RemoteAddr() net.Addr { return c.remote }
