package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hlc"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

func aloneOptions(fs vfs.FS) Options {
	return Options{
		Dir: "data", Storage: storage.Options{FS: fs, Logger: zerolog.Nop()}, Name: "alone",
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: "127.0.0.1:1", Partitions: 16,
		BootID: "boot", Ops: map[string]*coordinator.Op{}, Logger: zerolog.Nop(),
	}
}

// What arrives while the transport is being made waits for it.
func TestMessagesDuringTheStartWait(t *testing.T) {
	t.Parallel()
	received := make(chan struct{})
	o := aloneOptions(vfs.NewMem())
	o.Transport = func(h rpc.Handler, o rpc.Options) (Transport, error) {
		go func() {
			defer close(received)
			h.Receive(1<<63+1, &wire.Message{Kind: wire.Control, ID: 1, Method: methodRing})
		}()
		select {
		case <-received:
			t.Error("served without a transport to answer by")
		case <-time.After(50 * time.Millisecond):
		}
		return rpc.New(o)
	}
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	<-received
	if err := n.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// An Open that fails leaves nothing behind, however far it got. It is not
// parallel: it counts goroutines.
func TestAFailedOpenEndsWhatItBegan(t *testing.T) {
	o := aloneOptions(vfs.NewMem())
	o.ensureDefaults()
	o.Storage.EnsureDefaults()
	before := goleak.IgnoreCurrent()
	n := &Node{o: o, fs: o.Storage.FS, log: o.Logger, joined: make(chan struct{}), wired: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(); err != nil {
		t.Fatal(err)
	}
	if err := n.abandon(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)

	fs := vfs.NewMem()
	if err := fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	if err := saveClock(fs, "data", hlc.FromTime(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	_, err := Open(aloneOptions(fs))
	if err == nil || !strings.Contains(err.Error(), "data/clock") {
		t.Errorf("a clock that was set back by an hour: %v", err)
	}
	goleak.VerifyNone(t, before)
}

func TestDoKeepsToItsContext(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	for _, c := range []struct{ own, ctx, want time.Duration }{
		{time.Minute, time.Second, time.Second},
		{time.Second, time.Minute, time.Second},
		{0, time.Hour, time.Second}, // the write timeout as it comes
		{0, 900 * time.Millisecond, 900 * time.Millisecond},
	} {
		var r *coordinator.Request
		seen := time.Duration(0)
		r = &coordinator.Request{
			Op:  &coordinator.Op{Name: "look", Write: true, Run: func(*coordinator.Call) { seen = r.Levels.Timeout }},
			Key: []byte("k"), Levels: coordinator.Levels{Timeout: c.own},
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), c.ctx)
		err := n.Do(ctx, r)
		cancel()
		if err != nil || seen > c.want || seen < c.want-time.Since(began) || r.Levels.Timeout != c.own {
			t.Errorf("%+v: ran with %v, then has %v, %v", c, seen, r.Levels.Timeout, err)
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	ran := false
	r := &coordinator.Request{Op: &coordinator.Op{Name: "look", Write: true, Run: func(*coordinator.Call) { ran = true }}, Key: []byte("k")}
	if err := n.Do(ctx, r); err != coordinator.ErrTimeout || ran {
		t.Errorf("its time was over: ran %v, %v", ran, err)
	}
}
