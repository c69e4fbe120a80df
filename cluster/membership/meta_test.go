package membership_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"kvstore/cluster/membership"
)

func sampleMeta() membership.Meta {
	return membership.Meta{NodeID: 1, Incarnation: 2, ClusterID: 3, Generation: 6, Epoch: 4, RingHash: 5, Weight: 1.5, Name: "n1", DC: "dc1", Rack: "r1",
		RPC: "127.0.0.1:7947", Client: "127.0.0.1:6379", Gossip: "127.0.0.1:7946"}
}

func TestMetaRoundTrips(t *testing.T) {
	for _, want := range []membership.Meta{{}, sampleMeta(), {Name: strings.Repeat("n", 300)}} {
		b, err := want.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got membership.Meta
		if err := got.Decode(b); err != nil || got != want {
			t.Errorf("got %+v, want %+v (%v)", got, want, err)
		}
		for n := range b {
			if err := got.Decode(b[:n]); !errors.Is(err, membership.ErrMeta) {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
		if err := got.Decode(append(b, 0)); !errors.Is(err, membership.ErrMeta) {
			t.Errorf("a byte too many: %v", err)
		}
	}
}

func TestMetaIsBounded(t *testing.T) {
	m := sampleMeta()
	m.Name = strings.Repeat("n", membership.MaxMeta)
	if b, err := m.Append([]byte("x")); err == nil || string(b) != "x" {
		t.Errorf("%d bytes, error %v", len(b), err)
	}
}

func FuzzMeta(f *testing.F) {
	m := sampleMeta()
	b, err := m.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again membership.Meta
		if err := m.Decode(b); err != nil {
			if !errors.Is(err, membership.ErrMeta) {
				t.Fatal(err)
			}
			return
		}
		// Lengths may be written longer than need be, so the bytes may differ, but what they say may not.
		out, err := m.Append(nil)
		if err != nil || len(out) > len(b) {
			t.Fatalf("%d bytes from %d: %v", len(out), len(b), err)
		}
		if err := again.Decode(out); err != nil || again != m {
			t.Fatalf("%+v became %+v: %v", m, again, err)
		}
		if len(out) == len(b) && !bytes.Equal(out, b) {
			t.Fatalf("%x became %x", b, out)
		}
	})
}
