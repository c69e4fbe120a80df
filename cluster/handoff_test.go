package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hint"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// amongFive gives a node a ring of five members, three of which hold each key, and
// returns a key that it is no replica of.
func amongFive(t *testing.T, n *Node) (*ring.Ring, replica.Key) {
	t.Helper()
	members := []ring.Member{n.member()}
	for i := range 4 {
		m := n.member()
		m.ID, m.Name, m.Incarnation = m.ID+ring.NodeID(i)+1, fmt.Sprint("other", i), uint64(i+100)
		members = append(members, m)
	}
	r, _, err := ring.Build(nil, members, ring.Options{ClusterID: 1, ClusterName: "kvstore", Partitions: 16, N: 3})
	if err != nil {
		t.Fatal(err)
	}
	n.ring.Store(r)
	n.coord.SetRing(r, true)
	for i := 0; ; i++ {
		name := fmt.Appendf(nil, "key%d", i)
		if k := (replica.Key{Token: ring.TokenOf(0, name), Name: name}); !r.Holds(r.PartitionOf(k.Token), n.id.Node) {
			return r, k
		}
	}
}

// standIn has a node take an object in place of a target.
func (n *Node) standIn(t *testing.T, r *ring.Ring, k replica.Key, target ring.NodeID, object []byte) {
	t.Helper()
	n.coord.Receive(target, &wire.Message{
		Kind: wire.Replicate, Flags: wire.StandIn | wire.NoAck, ID: 1, Now: int64(n.clock.Last()), Epoch: r.Epoch,
		Token: k.Token, DB: k.DB, Key: k.Name, Object: object, Target: target,
	})
}

func (n *Node) holds(t *testing.T, k replica.Key) bool {
	t.Helper()
	_, found, err := n.db.Get(nil, key.AppendUser(nil, uint64(k.Token), k.DB, k.Name))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// done is a hint of a key whose object has arrived.
func (n *Node) done(t *testing.T, k replica.Key, target ring.NodeID) hint.Done {
	t.Helper()
	page, _, err := n.hints.Page(target, nil, 10)
	if err != nil || len(page) != 1 {
		t.Fatalf("%d hints for %v, %v", len(page), target, err)
	}
	object, err := n.replica.Load(k)
	if err != nil {
		t.Fatal(err)
	}
	return hint.Done{Hint: page[0], Object: object, Adds: n.hints.Adds(target)}
}

// A copy that is none of the node's own goes with its last hint, unless it was
// written since.
func TestACopyGoesWithItsLastHint(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	<-n.handoff.counted
	r, k := amongFive(t, n)
	targets := r.Replicas(r.PartitionOf(k.Token))
	first, second := n.object(t, "one"), n.object(t, "two")
	n.standIn(t, r, k, targets[0], first)
	n.standIn(t, r, k, targets[1], first)
	n.standIn(t, r, k, targets[1], first) // once more: it is one hint
	p := r.PartitionOf(k.Token)
	if out, err := n.HintsOutstanding(p); err != nil || !out {
		t.Errorf("outstanding: %v, %v", out, err)
	}
	if on, err := n.serveHints(append([]byte{0}, k.Name...)); err != nil || len(on) != 16 {
		t.Errorf("hints of the key: %x, %v", on, err)
	}
	late := n.done(t, k, targets[0])
	n.standIn(t, r, k, targets[0], second)
	host := hintHost{n}
	if ended, err := host.End([]hint.Done{late}); ended != 0 || err != nil {
		t.Errorf("it was written since: %d ended, %v", ended, err)
	}
	for i, target := range targets[:2] {
		if ended, err := host.End([]hint.Done{n.done(t, k, target)}); ended != 1 || err != nil {
			t.Fatalf("%d ended, %v", ended, err)
		}
		if holds := n.holds(t, k); holds != (i == 0) {
			t.Errorf("after %d hints ended it holds the key: %v", i+1, holds)
		}
	}
	if out, err := n.HintsOutstanding(p); err != nil || out {
		t.Errorf("outstanding: %v, %v", out, err)
	}
	if left := n.hints.Targets(); len(left) != 0 {
		t.Errorf("hints for %v", left)
	}
}

// The hint of a copy that does not decode, of a key that is none of the node's own, ends: the partition is marked for
// comparison, and the copy goes.
func TestAHintOfADamagedCopyEnds(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	<-n.handoff.counted
	r, k := amongFive(t, n)
	p := r.PartitionOf(k.Token)
	target := r.Replicas(p)[0]
	n.standIn(t, r, k, target, n.object(t, "one"))
	if _, err := n.db.Set(key.AppendUser(nil, uint64(k.Token), k.DB, k.Name), []byte("no object")); err != nil {
		t.Fatal(err)
	}
	n.TakeMarked()
	page, _, err := n.hints.Page(target, nil, 10)
	if err != nil || len(page) != 1 {
		t.Fatalf("%d hints, %v", len(page), err)
	}
	host := hintHost{n}
	if _, err := host.Read(&page[0]); !errors.Is(err, hint.ErrLost) {
		t.Fatalf("read: %v", err)
	}
	if ended, err := host.End([]hint.Done{{Hint: page[0], Gone: true, Lost: true}}); ended != 1 || err != nil {
		t.Fatalf("%d ended, %v", ended, err)
	}
	if marked := n.TakeMarked(); !slices.Contains(marked, p) || n.holds(t, k) || len(n.hints.Targets()) != 0 {
		t.Errorf("marked %v, holds %v, hints for %v", marked, n.holds(t, k), n.hints.Targets())
	}
}

// object encodes a value as a write event of its own.
func (n *Node) object(t *testing.T, name string) []byte {
	t.Helper()
	n.put(t, 15, name, nil)
	object, err := n.replica.Load(replica.Key{Token: ring.TokenOf(15, []byte(name)), DB: 15, Name: []byte(name)})
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// Whoever misses an object holds it after a batch; what is none of the node's own
// is not taken.
func TestABatchOfHintsIsMerged(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	r, foreign := amongFive(t, n)
	object := n.object(t, "v")
	own := replica.Key{}
	for i := 0; own.Name == nil; i++ {
		name := fmt.Appendf(nil, "own%d", i)
		if token := ring.TokenOf(0, name); r.Holds(r.PartitionOf(token), n.id.Node) {
			own = replica.Key{Token: token, Name: name}
		}
	}
	var body []byte
	for _, it := range []hint.Item{{Key: foreign, Object: object}, {Key: own, Object: object}, {Key: own, Object: []byte{0xff}}} {
		body = hint.AppendItem(body, &it)
	}
	answer, err := n.serveHandoff(body)
	if err != nil {
		t.Fatal(err)
	}
	a, err := hint.DecodeAnswer(answer, 3)
	if err != nil || !slices.Equal(a.Held, []bool{false, true, false}) || a.Grant.Window < 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if n.holds(t, foreign) || !n.holds(t, own) {
		t.Error("what is held is not what was said")
	}
}

// Replicas are being brought hints that can be reached and take some.
func TestHanding(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	<-n.handoff.counted
	r, foreign := amongFive(t, n)
	object := n.object(t, "v")
	own := replica.Key{}
	for i := 0; own.Name == nil; i++ {
		name := fmt.Appendf(nil, "own%d", i)
		if token := ring.TokenOf(0, name); r.Holds(r.PartitionOf(token), n.id.Node) && r.PartitionOf(token) != r.PartitionOf(foreign.Token) {
			own = replica.Key{Token: token, Name: name}
		}
	}
	n.handoff.mu.Lock()
	n.handoff.running[n.id.Node] = true // no pass begins
	n.handoff.mu.Unlock()
	n.standIn(t, r, foreign, r.Replicas(r.PartitionOf(foreign.Token))[0], object)
	if n.handing(r.PartitionOf(foreign.Token)) {
		t.Error("to a node that cannot be reached")
	}
	p := r.PartitionOf(own.Token)
	if n.handing(p) {
		t.Error("without hints")
	}
	n.standIn(t, r, own, n.id.Node, object)
	if !n.handing(p) || n.handing(r.PartitionOf(foreign.Token)) || n.handing(ring.Partition(r.Q)) {
		t.Errorf("its own %v, another one %v", n.handing(p), n.handing(r.PartitionOf(foreign.Token)))
	}
	n.handoff.mu.Lock()
	n.handoff.stuck[n.id.Node] = true
	n.handoff.mu.Unlock()
	if n.handing(p) {
		t.Error("to a node that takes none")
	}
}

// An old copy of a directory, put back where it was, brings hints of keys that have been deleted since: what all replicas
// held before their horizon, and this one holds no more, is not stored again, alone or beside what was written since.
func TestAnOldHintBringsNothingBack(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	r, _ := amongFive(t, n)
	var k, other replica.Key
	for i := 0; other.Name == nil; i++ {
		name := fmt.Appendf(nil, "own%d", i)
		if token := ring.TokenOf(0, name); r.Holds(r.PartitionOf(token), n.id.Node) {
			k, other = replica.Key{Token: token, Name: name}, k
		}
	}
	event := func(on *version.Object, node version.Incarnation, value string) []byte {
		t.Helper()
		at, err := n.clock.Now()
		if err == nil {
			_, err = on.Update(version.Dot{Node: node, Time: at}, &version.Context{}, version.Sibling{Kind: version.String, Value: []byte(value)})
		}
		if err != nil {
			t.Fatal(err)
		}
		return on.Append(nil)
	}
	var kept, written version.Object
	old := event(&kept, 7, "old")
	horizon := n.clock.Last()
	partly := event(&kept, 8, "beside") // what it was concurrent with is still there
	beside := event(new(version.Object), 8, "beside")
	late := event(&written, 9, "new")
	n.replica.SetDeathHorizon(k.Token.Slot(), k.Token.Slot(), horizon)
	deliver := func(object []byte) {
		t.Helper()
		answer, err := n.serveHandoff(hint.AppendItem(nil, &hint.Item{Key: k, Object: object}))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := hint.DecodeAnswer(answer, 1); err != nil || !a.Held[0] {
			t.Errorf("the hint stays: %+v, %v", a, err)
		}
	}
	siblings := func() (values []string) {
		t.Helper()
		var o version.Object
		if object, err := n.replica.Load(k); err != nil || len(object) > 0 && o.Decode(object) != nil {
			t.Fatalf("%x, %v", object, err)
		}
		for i := range o.Siblings {
			values = append(values, string(o.Siblings[i].Value))
		}
		return values
	}
	deliver(old)
	if got := siblings(); got != nil {
		t.Errorf("a deleted key is back with %q", got)
	}
	for _, object := range [][]byte{late, old, beside} {
		deliver(object)
	}
	if got := siblings(); !slices.Equal(got, []string{"beside", "new"}) {
		t.Errorf("what stands there is %q", got)
	}
	// What is held stays, however old it is.
	n.replica.SetDeathHorizon(k.Token.Slot(), k.Token.Slot(), n.clock.Last())
	for _, object := range [][]byte{late, old, beside} {
		deliver(object)
	}
	if got := siblings(); !slices.Equal(got, []string{"beside", "new"}) {
		t.Errorf("what stands there is %q", got)
	}
	// A value that stands beside a younger one is not lost with it.
	n.replica.SetDeathHorizon(other.Token.Slot(), other.Token.Slot(), horizon)
	k = other
	deliver(partly)
	if got := siblings(); !slices.Equal(got, []string{"old", "beside"}) {
		t.Errorf("of two values there is %q", got)
	}
}

// Object and hint are recovered together or not at all, wherever power is lost,
// and what is kept is counted as before.
func TestObjectAndHintAreOneBatch(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	db, err := storage.Open("data", storage.Options{FS: disk, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	hints := hint.New(store{db}, hint.Options{})
	rep := replica.New(store{db}, replica.Options{Workers: 1})
	const keys = 200
	for i := range keys {
		task := &hinted{hints: hints, key: replica.Key{Token: ring.TokenOf(0, fmt.Append(nil, i)), Name: fmt.Append(nil, i)}}
		rep.Do(task)
		if i%7 == 0 {
			if err := db.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	disk.Kill()
	rep.Close()
	_ = db.Close() // whatever it still tries fails
	db, err = storage.Open("data", storage.Options{FS: disk.View(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found := 0
	for i := range keys {
		k := replica.Key{Token: ring.TokenOf(0, fmt.Append(nil, i)), Name: fmt.Append(nil, i)}
		_, object, err := db.Get(nil, key.AppendUser(nil, uint64(k.Token), k.DB, k.Name))
		_, kept, errHint := db.Get(nil, hint.AppendKey(nil, 9, k))
		if object != kept || err != nil || errHint != nil {
			t.Errorf("key %d: the object is there: %v, its hint: %v; %v %v", i, object, kept, err, errHint)
		}
		if kept {
			found++
		}
	}
	if found < keys-7 {
		t.Errorf("%d of %d are left", found, keys)
	}
}

// hinted stores something and a hint of it.
type hinted struct {
	hints *hint.Store
	key   replica.Key
}

func (h *hinted) Key() replica.Key { return h.key }
func (h *hinted) Keep()            {}
func (h *hinted) Done(error)       {}
func (h *hinted) Apply(s *replica.Scratch) (write []byte, err error) {
	var ok bool
	if s.Beside, ok = h.hints.Add(s.Beside, 9, h.key, 1); !ok {
		err = coordinator.ErrOverloaded
	}
	return []byte{1}, err
}

// A node that comes back gets what it missed, from a node that was started anew in
// between.
func TestAReturningNodeIsBroughtLevel(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	id := m.id.Node
	if err := m.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	soon(t, "it to be gone", func() bool { return !n.rpc.Connected(id) })
	var stored sync.WaitGroup
	const keys = 500
	for i := range keys {
		k := replica.Key{Token: ring.TokenOf(0, fmt.Append(nil, i)), Name: fmt.Append(nil, i)}
		object := n.object(t, fmt.Sprint("v", i))
		stored.Add(1)
		n.coord.Merge(k, object, func(error) { stored.Done() })
		beside, _ := n.hints.Add(nil, id, k, len(object))
		for _, r := range beside {
			if _, err := n.db.Set(r.Key, r.Value); err != nil {
				t.Fatal(err)
			}
		}
	}
	stored.Wait()
	if s := n.Hints(); len(s) != 1 || s[0].Count != keys {
		t.Fatalf("kept is %+v", s)
	}
	o := m.o
	o.Join = nil
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := again.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(30 * time.Second); n.Hints()[0].Count > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left is %+v", n.Hints())
		}
	}
	soon(t, "it to be asked first again", func() bool { return n.coord.ReachOf(id) == coordinator.Up })
	for i := range keys {
		k := replica.Key{Token: ring.TokenOf(0, fmt.Append(nil, i)), Name: fmt.Append(nil, i)}
		if !again.holds(t, k) || !n.holds(t, k) {
			t.Errorf("key %d is not at both", i)
		}
	}
	if _, err := n.serveHandoff([]byte{1}); !errors.Is(err, hint.ErrBatch) {
		t.Errorf("a damaged batch: %v", err)
	}
}
