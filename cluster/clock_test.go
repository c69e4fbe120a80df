package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hlc"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// skewed is a node whose physical clock a test may shift.
type skewed struct {
	*Node
	shift atomic.Int64
	set   *coordinator.Op
}

func openSkewed(t *testing.T, i int, join ...string) *skewed {
	t.Helper()
	s := &skewed{set: &coordinator.Op{Name: "set", Write: true, Depends: coordinator.Never, Run: func(c *coordinator.Call) { c.Put(c.Args[0], 0) }}}
	n, err := Open(Options{
		Dir: "data", Storage: storage.Options{FS: vfs.NewMem(), Logger: zerolog.Nop()}, Name: fmt.Sprintf("n%d", i),
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: fmt.Sprintf("127.0.0.1:%d", i), Partitions: 16, Join: join,
		BootID: "boot", Ops: map[string]*coordinator.Op{"set": s.set}, Logger: zerolog.Nop(),
		Now: func() time.Time { return time.Now().Add(time.Duration(s.shift.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.Node = n
	select {
	case <-n.Joined():
	case <-time.After(time.Minute):
		t.Fatal("the node was not taken in")
	}
	return s
}

// write writes one key; what becomes of it is not the matter here.
func (s *skewed) write(i int) {
	key := fmt.Appendf(nil, "key%d", i)
	_ = s.Do(context.Background(), &coordinator.Request{Op: s.set, Key: key, Args: [][]byte{key}, Levels: coordinator.Levels{Timeout: 200 * time.Millisecond}})
}

// A node whose clock is set ten minutes wrong finds out that it is the one, and
// the others do not doubt theirs.
func TestAWrongClockIsNoticedByItsNode(t *testing.T) {
	for name, shift := range map[string]time.Duration{"ahead of": 10 * time.Minute, "behind": -10 * time.Minute} {
		t.Run(strings.Fields(name)[0], func(t *testing.T) {
			t.Parallel()
			first := openSkewed(t, 1)
			nodes := []*skewed{first, openSkewed(t, 2, first.gossip.Self().Gossip), openSkewed(t, 3, first.gossip.Self().Gossip)}
			nodes[2].shift.Store(int64(shift))
			i := 0
			for end := time.Now().Add(time.Minute); !strings.Contains(nodes[2].ClockDoubt(), name); i++ {
				if time.Now().After(end) {
					t.Fatalf("after %d writes the node says %q of its clock", i, nodes[2].ClockDoubt())
				}
				nodes[i%3].write(i)
			}
			for _, n := range nodes[:2] {
				if doubt := n.ClockDoubt(); doubt != "" {
					t.Errorf("%s says %q", n.o.Name, doubt)
				}
			}
		})
	}
}

// A node that joins with a wrong clock is told so.
func TestAWrongClockIsRefused(t *testing.T) {
	t.Parallel()
	first := openSkewed(t, 1)
	n, err := Open(Options{
		Dir: "data", Storage: storage.Options{FS: vfs.NewMem(), Logger: zerolog.Nop()}, Name: "n2",
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Join: []string{first.gossip.Self().Gossip}, BootID: "boot", Logger: zerolog.Nop(),
		Now: func() time.Time { return time.Now().Add(10 * time.Minute) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	select {
	case err := <-n.Refused():
		if !strings.Contains(err.Error(), "the node's clock is ahead of the cluster's, check its time (NTP)") {
			t.Error(err)
		}
	case <-n.Joined():
		t.Error("it was taken in")
	case <-time.After(time.Minute):
		t.Error("no answer")
	}
}

// With a full disk the clock cannot be carried on: writes are refused as those of a
// full disk are, so that a coordinator brings them to another replica, and the node
// writes again when there is room.
func TestAFullDiskStopsTheClock(t *testing.T) {
	disk := vfs.NewMem()
	set := &coordinator.Op{Name: "set", Write: true, Depends: coordinator.Never, Run: func(c *coordinator.Call) { c.Put(c.Args[0], 0) }}
	n, err := Open(Options{
		Dir: "data", Storage: storage.Options{FS: disk, Logger: zerolog.Nop()}, Name: "n1",
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: "127.0.0.1:1", Partitions: 16,
		BootID: "boot", Ops: map[string]*coordinator.Op{"set": set}, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	<-n.Joined()
	write := func() error {
		return n.Do(context.Background(), &coordinator.Request{Op: set, Key: []byte("key"), Args: [][]byte{[]byte("value")}})
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	disk.SetCapacity(1) // the log has room of its own for a while
	for end := time.Now().Add(time.Minute); !errors.Is(err, coordinator.ErrFull) && time.Now().Before(end); {
		// A write that the log could not take any more is unknown.
		if err = write(); err != nil && !errors.Is(err, coordinator.ErrFull) && !errors.Is(err, coordinator.ErrTimeout) {
			t.Fatalf("a full disk: %v", err)
		}
	}
	// Until all that was reserved is used up, and the engine has found room or not.
	for end := time.Now().Add(2 * hlc.DefaultWindow); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = write(); !errors.Is(err, coordinator.ErrFull) {
			t.Fatalf("a full disk: %v", err)
		}
	}
	disk.SetCapacity(-1)
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); {
		err = write()
	}
	if err != nil {
		t.Errorf("there is room again: %v", err)
	}
}
