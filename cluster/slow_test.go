package cluster

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// hung is a file system whose flushes of one file wait until they are let through.
type hung struct {
	mu   sync.Mutex
	name string
	free chan struct{} // closed by release; nil while nothing hangs
}

func (h *hung) inject(op vfs.Op, name string) error {
	h.mu.Lock()
	free, hangs := h.free, h.name
	h.mu.Unlock()
	if op == vfs.OpSync && free != nil && strings.HasPrefix(filepath.Base(name), hangs) {
		<-free
	}
	return nil
}

func (h *hung) hang(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.name, h.free = name, make(chan struct{})
}

func (h *hung) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free != nil {
		close(h.free)
		h.free = nil
	}
}

// A disk that does not take the clock's bound keeps a node from making write events of
// its own, and from nothing else: it answers pings, reads, and writes that others make;
// its clients' writes are made by them, and are taken again when the disk is back.
func TestASlowFlushOfTheClockHoldsUpNobody(t *testing.T) {
	t.Parallel()
	put := &coordinator.Op{Name: "put", Write: true, Depends: coordinator.Never, Run: func(c *coordinator.Call) { c.Put(c.Args[0], 0) }}
	get := &coordinator.Op{Name: "get", Run: func(c *coordinator.Call) { c.Out = append(c.Out, c.Value...) }}
	open := func(disk *hung, name string, join ...string) *Node {
		n, err := Open(Options{
			Dir: "data", Storage: storage.Options{FS: &vfs.Faulty{FS: vfs.NewMem(), Inject: disk.inject}, Logger: zerolog.Nop()}, Name: name,
			Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: "127.0.0.1:2", Join: join, Partitions: 16,
			BootID: "boot", Ops: map[string]*coordinator.Op{"put": put, "get": get}, Logger: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			disk.release()
			if err := n.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	disk := &hung{}
	n := open(&hung{}, "alone")
	m := open(disk, "beside", n.gossip.Self().Gossip)
	soon(t, "both to be connected", func() bool { return m.epoch() != 0 && m.epoch() == n.epoch() && m.rpc.Connected(n.id.Node) })
	key := []byte("key")
	write := func(at *Node) error {
		return at.Do(t.Context(), &coordinator.Request{Op: put, Key: key, Args: [][]byte{key}, Levels: coordinator.Levels{W: coordinator.One, Timeout: 5 * time.Second}})
	}
	soon(t, "a write", func() bool { return write(m) == nil })

	disk.hang(clockName)
	refused := false
	for end := time.Now().Add(time.Minute); !refused && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, err := m.clock.Now()
		refused = err != nil
	}
	if !refused {
		t.Fatal("the clock goes on without its bound")
	}
	for range 20 {
		r := &coordinator.Request{Op: get, Key: key, Levels: coordinator.Levels{R: coordinator.All, Timeout: 5 * time.Second}}
		if err := n.Do(t.Context(), r); err != nil || string(r.Out) != "key" {
			t.Fatalf("a read that needs it: %q, %v", r.Out, err)
		}
		if err := write(m); err != nil && !errors.Is(err, coordinator.ErrSlow) {
			t.Fatalf("a write of its clients: %v", err)
		}
	}
	if _, err := m.clock.Now(); err == nil {
		t.Error("the bound was written meanwhile")
	}
	disk.release()
	soon(t, "writes", func() bool { _, err := m.clock.Now(); return err == nil && write(m) == nil })
}
