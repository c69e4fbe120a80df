package rpc_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/rpc/rpctest"
	"kvstore/cluster/wire"
)

// logBuffer collects log lines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), s)
}

// TestStrangersAreRefused lets node 1 dial node 2, and looks for the reason in the log of the one or the other.
func TestStrangersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		dialer, acceptor func(*rpc.Options)
		expect           ring.NodeID
		dialerLog        string
	}{
		"another cluster":        {func(o *rpc.Options) { o.ClusterID = func() uint64 { return 0xbad } }, nil, 2, "refused: cluster 0000000000000bad, this node belongs to 00000000000000c1"},
		"acceptor in no cluster": {nil, func(o *rpc.Options) { o.ClusterID = nil }, 2, "refused: this node belongs to no cluster yet"},
		"not the node expected":  {nil, nil, 3, "refused: this is node 0000000000000002, not 0000000000000003"},
		"another secret":         {func(o *rpc.Options) { o.Secret = []byte("a") }, func(o *rpc.Options) { o.Secret = []byte("b") }, 2, "the secret of the other side differs"},
		"no secret":              {nil, func(o *rpc.Options) { o.Secret = []byte("b") }, 2, "the secret of the other side differs"},
		"secret not asked for":   {func(o *rpc.Options) { o.Secret = []byte("a") }, nil, 2, "the secret of the other side differs"},
		"the same id":            {func(o *rpc.Options) { o.Self = 2 }, nil, 2, "refused: the dialer has the id of this node"},
	} {
		t.Run(name, func(t *testing.T) {
			var said logBuffer
			var a, b rpctest.Recorder
			dialer := start(t, 1, &a, func(o *rpc.Options) {
				o.Logger = zerolog.New(&said)
				if c.dialer != nil {
					c.dialer(o)
				}
			})
			acceptor := start(t, 2, &b, c.acceptor)
			if name == "the same id" {
				rpc.DialAs(dialer, c.expect, acceptor.Addr().String())
			} else {
				dialer.SetPeers([]rpc.Peer{{ID: c.expect, Addr: acceptor.Addr().String()}})
			}
			await(t, c.dialerLog, func() bool { return said.contains(c.dialerLog) })
			if dialer.Connected(c.expect) || len(b.Events("receive")) != 0 {
				t.Error("refused, but connected")
			}
		})
	}
}

func TestSecretIsAgreedOn(t *testing.T) {
	var a, b rpctest.Recorder
	pairOf(t, &a, &b, func(o *rpc.Options) { o.Secret = []byte("the same secret") })
}

// TestBadBytes sends what no node sends; the connection must end, and nothing must reach the handler.
func TestBadBytes(t *testing.T) {
	var b rpctest.Recorder
	tr := start(t, 2, &b, func(o *rpc.Options) { o.HandshakeTimeout = 200 * time.Millisecond })
	var early wire.Builder
	early.Add(&wire.Message{Kind: wire.Write, Key: []byte("k")})
	var version wire.Builder
	version.Add(&wire.Message{Kind: wire.Hello, Method: 1, Body: []byte{9, 0, 8, 0, 3}})
	var long wire.Builder
	long.Add(&wire.Message{Kind: wire.Hello, Method: 1, Body: make([]byte, 5000)})
	for name, c := range map[string]struct {
		bytes  []byte
		answer string
	}{
		"nothing":           {nil, ""},
		"a redis command":   {[]byte("*1\r\n$4\r\nPING\r\n"), ""},
		"a write first":     {early.Seal(), ""},
		"half a packet":     {early.Seal()[:10], ""},
		"another version":   {version.Seal(), "protocol version 8 to 9, this node speaks 4"},
		"an endless hello":  {long.Seal(), ""},
		"a giant's promise": {[]byte{0xff, 0xff, 0xff, 0x1f, 0, 0, 0, 0}, ""},
	} {
		conn, err := net.Dial("tcp", tr.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(c.bytes); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn) // the other side ends it, or a reset does
		if err != nil && !strings.Contains(err.Error(), "reset") || !bytes.Contains(answer, []byte(c.answer)) {
			t.Errorf("%s: answered %q, %v", name, answer, err)
		}
		conn.Close()
	}
	if len(b.Events("receive")) != 0 {
		t.Error("a stranger's message reached the handler")
	}
}

// Who has not proved to know the secret cannot make a node believe that it has lost its place: the node would end.
func TestAStrangersWordIsNoRefusal(t *testing.T) {
	for _, reason := range []error{rpc.ErrNoPart, rpc.ErrDisplaced, rpc.ErrHeld} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var strangers sync.WaitGroup
		strangers.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return // the test is over
				}
				var refusal wire.Builder
				refusal.Add(&wire.Message{Kind: wire.HelloAck, Status: wire.Refused, Body: []byte(reason.Error() + ": so there")})
				_, _ = conn.Write(refusal.Seal()) // who does not read it is not misled by it
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
		})
		var said logBuffer
		var told atomic.Bool
		dialer := start(t, 1, &rpctest.Recorder{}, func(o *rpc.Options) {
			o.Secret, o.Logger = []byte("a secret"), zerolog.New(&said)
			o.Displaced = func(ring.NodeID, error) { told.Store(true) }
		})
		dialer.SetPeers([]rpc.Peer{{ID: 2, Addr: l.Addr().String()}})
		want := "refused: " + reason.Error() + ": so there"
		await(t, want, func() bool { return said.contains(want) })
		if told.Load() {
			t.Errorf("a stranger's %q is believed", reason)
		}
		if err := errors.Join(dialer.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		strangers.Wait()
	}
}

// A node that is in no cluster yet is called by members of the one that takes it in.
func TestWhoWaitsToJoinCanBeCalled(t *testing.T) {
	var b rpctest.Recorder
	var waits *rpc.Transport
	ready := make(chan struct{})
	b.OnReceive = func(from ring.NodeID, m *wire.Message) {
		<-ready
		if err := waits.Send(from, rpc.Bulk, &wire.Message{Kind: wire.ControlReply, ID: m.ID, Method: m.Method}); err != nil {
			t.Error(err)
		}
	}
	b.OnEndBatch = func() { waits.Flush() }
	waits = start(t, 2, &b, func(o *rpc.Options) { o.ClusterID = nil })
	close(ready)
	member := start(t, 1, &rpctest.Recorder{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := member.Call(ctx, waits.Addr().String(), &wire.Message{Kind: wire.Control, Method: 7}); err != nil {
		t.Error(err)
	}
	// As a peer it may not connect.
	member.SetPeers([]rpc.Peer{{ID: 2, Addr: waits.Addr().String()}})
	other := start(t, 3, &rpctest.Recorder{}, func(o *rpc.Options) { o.ClusterID = func() uint64 { return 99 } })
	if _, err := other.Call(ctx, member.Addr().String(), &wire.Message{Kind: wire.Control, Method: 7}); !errors.Is(err, rpc.ErrRefused) {
		t.Errorf("one of another cluster: %v", err)
	}
	if member.Connected(2) {
		t.Error("connected")
	}
}

func TestCalls(t *testing.T) {
	var b rpctest.Recorder
	var server *rpc.Transport
	ready := make(chan struct{})
	b.OnReceive = func(from ring.NodeID, m *wire.Message) {
		<-ready
		if !rpc.IsCaller(from) || m.Method != 7 || m.Timeout <= 0 {
			t.Errorf("from %v: %+v", from, m)
		}
		if string(m.Body) == "say nothing" {
			return
		}
		if err := server.Send(from, rpc.Foreground, &wire.Message{Kind: wire.ControlReply, ID: m.ID, Method: 7, Body: append([]byte("re: "), m.Body...)}); err != nil {
			t.Error(err)
		}
	}
	b.OnEndBatch = func() { server.Flush() }
	server = start(t, 2, &b, func(o *rpc.Options) { o.Secret = []byte("s") })
	close(ready)
	// The caller is in no cluster.
	caller := start(t, 1, &rpctest.Recorder{}, func(o *rpc.Options) { o.Secret, o.ClusterID = []byte("s"), nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 3 {
		reply, err := caller.Call(ctx, server.Addr().String(), &wire.Message{Kind: wire.Control, ID: 5, Method: 7, Body: []byte("hello")})
		if err != nil || string(reply.Body) != "re: hello" || reply.ID != 5 {
			t.Fatal(reply, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := caller.Call(short, server.Addr().String(), &wire.Message{Kind: wire.Control, Method: 7, Body: []byte("say nothing")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call without an answer: %v", err)
	}
	if _, err := caller.Call(ctx, server.Addr().String(), &wire.Message{Kind: wire.Write}); err == nil {
		t.Error("a write was called")
	}
	wrong := start(t, 3, &rpctest.Recorder{}, nil)
	if _, err := wrong.Call(ctx, server.Addr().String(), &wire.Message{Kind: wire.Control}); err == nil {
		t.Error("a call without the secret succeeded")
	}
	if _, err := caller.Call(ctx, "127.0.0.1:1", &wire.Message{Kind: wire.Control}); err == nil {
		t.Error("a call to nobody succeeded")
	}
}

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: roots}
}

func TestContractOverTLS(t *testing.T) {
	config := certificate(t)
	rpctest.Run(t, maker(func(o *rpc.Options) { o.TLS = config }))
}

// TestAdmitKeepsOut has node 2 refuse the life that node 1 is in, though it knows the secret: node 1 hears why, and
// the other way round node 2's life is refused by who dials it.
func TestAdmitKeepsOut(t *testing.T) {
	var a, b rpctest.Recorder
	told := make(chan error, 100)
	var said logBuffer
	dialer := start(t, 1, &a, func(o *rpc.Options) {
		o.Life = rpc.Life{Incarnation: 7, Since: 8}
		o.Displaced = func(by ring.NodeID, err error) {
			select {
			case told <- fmt.Errorf("%v: %w", by, err):
			default:
			}
		}
	})
	acceptor := start(t, 2, &b, func(o *rpc.Options) {
		o.Logger = zerolog.New(&said)
		o.Admit = func(id ring.NodeID, l rpc.Life, _ ring.Epoch) error {
			if id != 1 || l != (rpc.Life{Incarnation: 7, Since: 8}) {
				t.Errorf("asked about %v, %+v", id, l)
			}
			return fmt.Errorf("%w: since noon", rpc.ErrDisplaced)
		}
	})
	dialer.SetPeers([]rpc.Peer{{ID: 2, Addr: acceptor.Addr().String()}})
	acceptor.SetPeers([]rpc.Peer{{ID: 1, Addr: dialer.Addr().String()}})
	select {
	case err := <-told:
		if !errors.Is(err, rpc.ErrDisplaced) || !strings.HasSuffix(err.Error(), "refused: its place is taken: since noon") {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	const reached = "reached node 0000000000000001, and its place is taken: since noon"
	await(t, reached, func() bool { return said.contains(reached) })
	if dialer.Connected(2) || acceptor.Connected(1) {
		t.Error("connected")
	}
}
