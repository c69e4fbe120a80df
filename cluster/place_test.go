package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hint"
	"kvstore/cluster/membership"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// A node whose directory was emptied takes its old place in the ring, in a new
// incarnation, and the others fill it; it answers no reads of its own before.
func TestAnEmptiedDirectoryTakesItsOldPlace(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	put := &coordinator.Op{Name: "put", Write: true, Depends: coordinator.Never, Run: func(c *coordinator.Call) { c.Put(c.Args[0], 0) }}
	get := &coordinator.Op{Name: "get", Run: func(c *coordinator.Call) { c.Out = append(c.Out, c.Value...) }}
	o := Options{
		Dir: "data", Storage: storage.Options{FS: vfs.NewMem(), Logger: zerolog.Nop()}, Name: "beside",
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: "127.0.0.1:2", Join: []string{n.gossip.Self().Gossip},
		BootID: "boot", Ops: map[string]*coordinator.Op{"put": put}, Logger: zerolog.Nop(),
	}
	open := func() *Node {
		m, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	shut := func(m *Node) {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	m := open()
	soon(t, "both to be connected", func() bool { return m.epoch() != 0 && m.epoch() == n.epoch() && m.rpc.Connected(n.id.Node) })
	const keys = 200
	key := func(i int) []byte { return fmt.Appendf(nil, "key%d", i) }
	for i := range keys {
		soon(t, "a write", func() bool {
			return n.Do(t.Context(), &coordinator.Request{Op: put, Key: key(i), Args: [][]byte{key(i)}, Levels: coordinator.Levels{W: coordinator.All, Timeout: time.Second}}) == nil
		})
	}
	id, incarnation := m.id.Node, m.id.Incarnation
	o.RPC, o.Gossip = m.o.RPC, m.gossip.Self().Gossip
	shut(m)
	oldDisk := o.Storage.FS

	o.Storage.FS = vfs.NewMem()
	m = open()
	ends(t, m, ErrOldPlace)
	shut(m)
	m = open()
	defer shut(m)
	if m.id.Node != id || m.id.Incarnation == incarnation {
		t.Fatalf("it is %v in incarnation %x, and was %v in %x", m.id.Node, m.id.Incarnation, id, incarnation)
	}
	if m.Entropy().Filling.Load() == 0 {
		t.Error("nothing is to be filled")
	}
	soon(t, "filling", func() bool { return m.Entropy().Filling.Load() == 0 })
	if f := m.LastRefill(); f.Done != f.Partitions || f.Partitions == 0 || f.Keys < keys || f.Bytes == 0 || f.Ended.Before(f.Began) {
		t.Errorf("the refill of %d keys was %+v", keys, f)
	}
	for i := range keys {
		r := &coordinator.Request{Op: get, Key: key(i), Levels: coordinator.Levels{R: coordinator.One, Timeout: time.Second}}
		if err := m.Do(t.Context(), r); err != nil || string(r.Out) != string(key(i)) {
			t.Fatalf("key %d is %q, %v", i, r.Out, err)
		}
	}

	// The old disk is found, and started as what it was.
	o.Storage.FS, o.RPC, o.Gossip = oldDisk, "127.0.0.1:0", "127.0.0.1:0"
	old := open()
	defer shut(old)
	if err := ends(t, old, ErrPlaceTaken); !strings.Contains(err.Error(), "this directory is old") {
		t.Error(err)
	}
	if old.rpc.Connected(n.id.Node) {
		t.Error("the old disk has its place again")
	}
	soon(t, "the node to be connected", func() bool { return m.rpc.Connected(n.id.Node) && n.rpc.Connected(id) })
}

// ends waits until a node gives up, as it must.
func ends(t *testing.T, n *Node, why error) error {
	t.Helper()
	select {
	case err := <-n.Refused():
		if !errors.Is(err, why) {
			t.Fatal(err)
		}
		return err
	case <-time.After(30 * time.Second):
		t.Fatalf("it goes on, in spite of %v", why)
	}
	return nil
}

// A copy of a running node's directory does not get the node's place while that lives,
// and gives up.
func TestACopyIsKeptOut(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	disk := vfs.NewMem()
	o := Options{
		Dir: "data", Storage: storage.Options{FS: disk, Logger: zerolog.Nop()}, Name: "beside",
		Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: "127.0.0.1:2", Join: []string{n.gossip.Self().Gossip},
		BootID: "boot", Ops: map[string]*coordinator.Op{}, Logger: zerolog.Nop(),
	}
	open := func() *Node {
		m, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return m
	}
	m := open()
	soon(t, "both to be connected", func() bool { return n.rpc.Connected(m.id.Node) && m.rpc.Connected(n.id.Node) })
	o.Storage.FS, o.BootID = disk.Clone(), "another machine"
	c := open()
	if c.id.Node != m.id.Node || c.id.Incarnation == m.id.Incarnation || c.id.Since <= m.id.Since {
		t.Fatalf("the copy is %+v, of %+v", c.id, m.id)
	}
	soon(t, "the copy to be refused", func() bool {
		c.lives.heldMu.Lock()
		defer c.lives.heldMu.Unlock()
		h, held := c.lives.held[n.id.Node]
		if held && time.Since(h.since) < heldFor {
			c.lives.held[n.id.Node] = holding{h.since.Add(-heldFor), h.last}
		}
		return held
	})
	if err := ends(t, c, ErrPlaceTaken); !strings.Contains(err.Error(), "is there, or may be, with another directory") {
		t.Error(err)
	}
	if !n.rpc.Connected(m.id.Node) || c.rpc.Connected(n.id.Node) {
		t.Error("the copy was let in")
	}
}

// Of the lives that claim a place the latest has it, once its forerunner is dead, and
// that is remembered.
func TestWhoseThePlaceIs(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	r := withAnother(t, n)
	if err := n.adopt(r); err != nil {
		t.Fatal(err)
	}
	id := n.id.Node + 1
	for i, c := range []struct {
		before func()
		life   rpc.Life
		want   error
	}{
		{nil, rpc.Life{Incarnation: 1, Since: 10}, nil}, // the first is not known
		{nil, rpc.Life{Incarnation: 1, Since: 10}, nil},
		{nil, rpc.Life{Incarnation: 2, Since: 5}, rpc.ErrDisplaced},
		{nil, rpc.Life{Incarnation: 3, Since: 20}, rpc.ErrHeld}, // this node is new itself
		{func() { n.began = n.began.Add(-time.Hour); n.observe(id, membership.Connected) }, rpc.Life{Incarnation: 3, Since: 20}, rpc.ErrHeld},
		{func() { n.observe(id, membership.Disconnected) }, rpc.Life{Incarnation: 3, Since: 20}, rpc.ErrHeld}, // suspect
		{func() { n.observe(id, membership.GossipDead) }, rpc.Life{Incarnation: 1, Since: 10}, nil},
		{nil, rpc.Life{Incarnation: 3, Since: 20}, nil},
		{nil, rpc.Life{Incarnation: 1, Since: 10}, rpc.ErrDisplaced},
		{func() { n.observe(id, membership.GossipAlive) }, rpc.Life{Incarnation: 4, Since: 30}, rpc.ErrHeld},
		{func() { n.lives.promised = map[ring.NodeID]bool{id: true} }, rpc.Life{Incarnation: 4, Since: 30}, nil},
		{nil, rpc.Life{Incarnation: 5, Since: 40}, rpc.ErrHeld},                                // a promise is kept once
		{func() { clear(n.lives.met) }, rpc.Life{Incarnation: 1, Since: 10}, rpc.ErrDisplaced}, // as after a restart
		{nil, rpc.Life{Incarnation: 4, Since: 30}, nil},
	} {
		if c.before != nil {
			c.before()
		}
		if err := n.admit(id, c.life, 1); !errors.Is(err, c.want) {
			t.Errorf("%d: %+v: %v, want %v", i, c.life, err, c.want)
		}
	}
	stranger := rpc.Life{Incarnation: 1, Since: 1}
	if err := n.admit(99, stranger, r.Epoch); !errors.Is(err, rpc.ErrNoPart) {
		t.Errorf("who is not in the ring has no part: %v", err)
	}
	if err := n.admit(99, stranger, r.Epoch+1); err != nil {
		t.Errorf("who comes of a newer ring may be in that: %v", err)
	}
}

// A node that ends between taking the ring of its old place and becoming that member is
// a stranger as before; one of which only the identity is left is filled, too.
func TestWhatIsLeftOfADirectory(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	disk := vfs.NewMem()
	o := aloneOptions(disk)
	o.Name, o.Join = "beside", []string{n.gossip.Self().Gossip}
	if err := disk.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	if err := writeDurably(disk, "data", ringName, withAnother(t, n).Encode()); err != nil {
		t.Fatal(err)
	}
	open := func() *Node {
		m, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		soon(t, "it to be in the ring", func() bool { return m.epoch() != 0 && m.epoch() == n.epoch() && m.rpc.Connected(n.id.Node) })
		return m
	}
	m := open()
	before := m.id
	if err := m.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	o.Storage.FS = vfs.NewMem()
	if err := o.Storage.FS.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	if err := before.save(o.Storage.FS, "data"); err != nil {
		t.Fatal(err)
	}
	m = open()
	defer func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if m.id.Node != before.Node || m.id.Incarnation == before.Incarnation {
		t.Errorf("it was %+v and is %+v", before, m.id)
	}
	soon(t, "filling", func() bool { return m.Entropy().Filled.Load() > 0 && m.Entropy().Filling.Load() == 0 })
}

// A copy of a directory that is put in the place of its node is level with the others
// before it answers reads: writes may have been acknowledged with the help of what is
// lost.
func TestAnOldCopyIsFilled(t *testing.T) {
	for name, c := range map[string]struct {
		boot, file string
		old        bool
	}{
		"the same":                     {"a", "1:2", false},
		"another boot":                 {"b", "1:2", false},
		"disks are numbered otherwise": {"b", "9:2", false},
		"copied":                       {"a", "1:3", true},
		"copied to another disk":       {"a", "9:2", true},
		"copied to another machine":    {"b", "1:3", true},
		"nothing is known":             {"b", "", false},
	} {
		id := identity{Node: 1, Incarnation: 1, Boot: "a", File: "1:2"}
		if got := isOld(&id, c.boot, c.file); got != c.old {
			t.Errorf("%s: %v", name, got)
		}
	}
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	disk := m.fs.(*vfs.Mem).Clone()
	if err := m.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	id := m.id
	id.File, id.Clean = "1:2", true
	if err := id.save(disk, "data"); err != nil {
		t.Fatal(err)
	}
	o := m.o
	o.Storage.FS = disk
	c := &Node{o: o, fs: disk, log: o.Logger}
	db, err := storage.Open(o.Dir, o.Storage)
	if err != nil {
		t.Fatal(err)
	}
	c.db = db
	owed := hint.AppendKey(nil, n.id.Node, replica.Key{Token: ring.TokenOf(0, []byte("k")), Name: []byte("k")})
	if _, err := db.Set(owed, make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	err = c.markOld("boot", "1:3")
	// What the other lacked then may have been deleted since, and its tombstone be gone.
	_, owes, errHint := db.Get(nil, owed)
	if err := errors.Join(err, errHint, db.Close()); err != nil || owes {
		t.Fatalf("it owes the other what that lacked when the copy was made: %v, %v", owes, err)
	}
	m, err = Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if m.id.Node != id.Node || m.id.Incarnation == id.Incarnation || m.Entropy().Filling.Load() == 0 {
		t.Errorf("it was %+v, is %+v, and %d partitions are filled", id, m.id, m.Entropy().Filling.Load())
	}
	soon(t, "filling", func() bool { return m.Entropy().Filling.Load() == 0 })
}

// A node is kept out for good only by a member that says so all the time: one that was
// away meanwhile does not know yet who lives.
func TestHowLongAPlaceIsHeld(t *testing.T) {
	now := time.Now()
	var h holding
	for i, c := range []struct {
		after time.Duration
		want  bool
	}{
		{0, false}, {time.Second, false}, {2 * time.Second, false}, {heldFor, false}, {4 * time.Second, false}, {4 * time.Second, false},
		{4 * time.Second, false}, {4 * time.Second, false}, {4 * time.Second, true}, {time.Second, true}, {heldAnew + 1, false},
	} {
		now = now.Add(c.after)
		if got := h.goesOn(now); got != c.want {
			t.Errorf("answer %d, %v after the one before: %v, want %v", i, c.after, got, c.want)
		}
	}
}
