package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// kinds are all that exist.
func kinds() []wire.Kind {
	return []wire.Kind{wire.Hello, wire.HelloAck, wire.Write, wire.WriteReply, wire.Replicate, wire.ReplicateAck,
		wire.Read, wire.ReadReply, wire.Control, wire.ControlReply, wire.Ping, wire.Pong}
}

// randomMessage sets every field, whatever the kind carries.
func randomMessage(r *rand.Rand) wire.Message {
	blob := func() []byte {
		if r.IntN(4) == 0 {
			return nil
		}
		b := make([]byte, 1+r.IntN(300))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	number := func() uint64 { return r.Uint64() >> r.IntN(64) }
	ks := kinds()
	m := wire.Message{
		Kind: ks[r.IntN(len(ks))], Flags: wire.Flags(r.Uint32()), Status: wire.Status(r.Uint32()),
		DB: uint8(r.Uint32()), Mode: uint8(r.Uint32()), Proto: uint8(r.Uint32()), Method: uint8(r.Uint32()),
		R: int16(r.Uint32()), W: int16(r.Uint32()),
		ID: number(), Now: int64(r.Uint64()), Epoch: ring.Epoch(number()), Timeout: time.Duration(r.Int64N(1e10)) * time.Microsecond,
		Token: ring.Token(r.Uint64()), Digest: r.Uint64(), Origin: number(), Target: ring.NodeID(r.Uint64()),
		Key: blob(), Object: blob(), Op: blob(), Body: blob(), Relay: blob(),
	}
	for range r.IntN(6) {
		m.Args = append(m.Args, blob())
	}
	return m
}

// carried returns m without the fields its kind does not carry: the second description of the layouts, which the codec must
// agree with.
func carried(m wire.Message) wire.Message {
	out := wire.Message{Kind: m.Kind, Flags: m.Flags, ID: m.ID, Now: m.Now, Epoch: m.Epoch}
	place := func() { out.Timeout, out.Token, out.DB, out.Key = m.Timeout, m.Token, m.DB, m.Key }
	switch m.Kind {
	case wire.Hello:
		out.Method, out.Body = m.Method, m.Body
	case wire.HelloAck, wire.WriteReply:
		out.Status, out.Body = m.Status, m.Body
	case wire.Write:
		place()
		out.R, out.W, out.Mode, out.Proto, out.Op, out.Args = m.R, m.W, m.Mode, m.Proto, m.Op, m.Args
	case wire.Replicate:
		place()
		out.Object, out.Origin, out.Body = m.Object, m.Origin, m.Body
		if m.Flags&(wire.StandIn|wire.Relay) != 0 {
			out.Target = m.Target
		}
		if m.Flags&wire.Relay != 0 {
			out.Relay = m.Relay
		}
	case wire.ReplicateAck:
		out.Status, out.Object, out.Body = m.Status, m.Object, m.Body
	case wire.Read:
		place()
		out.Digest = m.Digest
	case wire.ReadReply:
		out.Status, out.Digest, out.Object, out.Body = m.Status, m.Digest, m.Object, m.Body
	case wire.Control:
		out.Method, out.Timeout, out.Body = m.Method, m.Timeout, m.Body
	case wire.ControlReply:
		out.Method, out.Status, out.Body = m.Method, m.Status, m.Body
	}
	return out
}

func same(a, b wire.Message) bool {
	if len(a.Args) == 0 && len(b.Args) == 0 {
		a.Args, b.Args = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func TestEveryKindRoundTrips(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	var got wire.Message
	for range 20_000 {
		m := randomMessage(r)
		b := wire.Append(nil, &m)
		if len(b) > wire.Bound(&m) {
			t.Fatalf("seed %d: %v takes %d bytes, Bound said %d", seed, m.Kind, len(b), wire.Bound(&m))
		}
		n, err := got.Decode(append(b, 0xee, 0xee))
		if err != nil || n != len(b) {
			t.Fatalf("seed %d: %v: took %d of %d bytes: %v", seed, m.Kind, n, len(b), err)
		}
		if want := carried(m); !same(got, want) {
			t.Fatalf("seed %d: got %+v, want %+v", seed, got, want)
		}
	}
}

func TestHasKey(t *testing.T) {
	for kind := range wire.Kind(64) {
		want := kind == wire.Write || kind == wire.Replicate || kind == wire.Read
		if kind.HasKey() != want {
			t.Errorf("%v has a key: %v", kind, !want)
		}
	}
}

func TestEveryPrefixIsMalformed(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	var got wire.Message
	for range 200 {
		m := randomMessage(r)
		b := wire.Append(nil, &m)
		for n := range b {
			if _, err := got.Decode(b[:n]); !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("%v cut to %d of %d bytes: %v", m.Kind, n, len(b), err)
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	head := func(k wire.Kind) []byte { return append([]byte{byte(k), 0, 1}, make([]byte, 8)...) }
	for name, b := range map[string][]byte{
		"kind 0":              make([]byte, 64),
		"kind unknown":        append([]byte{99}, make([]byte, 64)...),
		"id over 64 bits":     append([]byte{byte(wire.Ping), 0}, bytes.Repeat([]byte{0xff}, 20)...),
		"body over the input": append(head(wire.WriteReply), 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"body over int":       append(head(wire.WriteReply), 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
	} {
		var m wire.Message
		if _, err := m.Decode(b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTimeoutNeverBecomesNoDeadline(t *testing.T) {
	for _, c := range []struct{ in, want time.Duration }{
		{0, 0}, {1, time.Microsecond}, {-time.Hour, time.Microsecond}, {1001, 2 * time.Microsecond},
		{time.Second, time.Second}, {math.MaxInt64 / 2, (math.MaxInt64/2 + 999) / 1000 * 1000}, {math.MaxInt64, math.MaxInt64 / 1000 * 1000},
	} {
		var m wire.Message
		if _, err := m.Decode(wire.Append(nil, &wire.Message{Kind: wire.Read, Timeout: c.in})); err != nil || m.Timeout != c.want {
			t.Errorf("%v became %v, want %v (%v)", c.in, m.Timeout, c.want, err)
		}
	}
}

func TestReplicateIsSmall(t *testing.T) {
	m := replicate()
	if extra := len(wire.Append(nil, &m)) - len(m.Key) - len(m.Object); extra >= 40 {
		t.Errorf("a Replicate costs %d bytes beside key and object", extra)
	}
}

func replicate() wire.Message {
	return wire.Message{Kind: wire.Replicate, ID: 1 << 40, Now: 1 << 56, Epoch: 12, Timeout: time.Second, Token: 1 << 61,
		Key: []byte("key:000000123456"), Object: make([]byte, 64+24)}
}

func TestCodecAllocatesNothing(t *testing.T) {
	write := wire.Message{Kind: wire.Write, Key: []byte("k"), Op: []byte("set"), Args: [][]byte{[]byte("set"), []byte("k"), make([]byte, 64)}}
	buf := make([]byte, 0, 4096)
	var got wire.Message
	if n := testing.AllocsPerRun(100, func() {
		buf = wire.Append(buf[:0], &write)
		if _, err := got.Decode(buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 50 {
		m := randomMessage(r)
		f.Add(wire.Append(nil, &m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again wire.Message
		n, err := m.Decode(b)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if n <= 0 || n > len(b) {
			t.Fatalf("took %d of %d bytes", n, len(b))
		}
		if _, err := again.Decode(wire.Append(nil, &m)); err != nil || !same(m, again) {
			t.Fatalf("%+v became %+v: %v", m, again, err)
		}
	})
}

func BenchmarkAppendReplicate(b *testing.B) {
	m := replicate()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.Append(buf[:0], &m)
	}
}

func BenchmarkDecodeReplicate(b *testing.B) {
	m := replicate()
	buf := wire.Append(nil, &m)
	var got wire.Message
	b.ReportAllocs()
	for b.Loop() {
		if _, err := got.Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleMessage() {
	b := wire.Append(nil, &wire.Message{Kind: wire.ReadReply, ID: 7, Status: wire.Absent})
	var m wire.Message
	_, err := m.Decode(b)
	fmt.Println(m.Kind, m.ID, m.Status, err)
	// Output: read reply 7 absent <nil>
}
