package coordinator

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// journey is the rings of one partition's transfer, with a key of it: planned,
// copying, switched, done; and who is who.
type journey struct {
	*talk
	rings    [4]*ring.Ring
	key      string
	part     ring.Partition
	from, to *talker
	stays    []*talker // replicas all the time
	outside  *talker   // holds nothing of it, ever
}

// newJourney starts five nodes, of which each key has three, and plans to move the
// place of a partition's list. Whoever hears of a newer ring fetches it when nothing
// else is under way.
func newJourney(t *testing.T, place int, more ...func(*Options)) *journey {
	j := &journey{}
	t.Helper()
	j.talk = newTalkOf(t, 5, 3, append(more, func(o *Options) {
		o.WriteTimeout, o.ReadTimeout = time.Minute, time.Minute // the machine may be busy
		self := o.Self
		o.NewerRing = func(id ring.NodeID, _ ring.Epoch) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.behind = append(j.behind, [2]ring.NodeID{self, id})
		}
	})...)
	for leaver := ring.NodeID(1); leaver <= 5 && j.from == nil; leaver++ {
		planned, _, err := ring.Replan(j.ring, ring.Decommission{ID: leaver})
		if err != nil {
			t.Fatal(err)
		}
		for p := range ring.Partition(j.ring.Q) {
			tr, ok := planned.TransferOf(p)
			if ok && tr.From == leaver && tr.To != 0 && j.ring.Replicas(p)[place] == leaver {
				j.rings[0], j.part, j.from, j.to = planned, p, j.nodes[leaver], j.nodes[tr.To]
				break
			}
		}
	}
	for i, step := range []func(*ring.Ring, ring.NodeID, []ring.Partition) (*ring.Ring, error){ring.Begin, ring.Switch, ring.Finish} {
		next, err := step(j.rings[i], j.to.id, []ring.Partition{j.part})
		if err != nil {
			t.Fatal(err)
		}
		j.rings[i+1] = next
	}
	for _, id := range j.ring.Replicas(j.part) {
		if id != j.from.id {
			j.stays = append(j.stays, j.nodes[id])
		}
	}
	for id, n := range j.nodes {
		if id != j.to.id && !j.ring.Holds(j.part, id) {
			j.outside = n
		}
	}
	for i := 0; j.ring.PartitionOf(ring.TokenOf(0, []byte(j.key))) != j.part; i++ {
		j.key = fmt.Sprint("key", i)
	}
	return j
}

// adopt gives nodes a ring they have not got yet.
func (j *journey) adopt(r *ring.Ring, nodes ...*talker) {
	for _, n := range nodes {
		if r.Epoch > n.view.Load().epoch {
			n.SetRing(r, false)
		}
	}
}

// all are the nodes in the order of their ids.
func (j *journey) all() (list []*talker) {
	for id := range ring.NodeID(5) {
		list = append(list, j.nodes[id+1])
	}
	return list
}

// without are all nodes but some.
func (j *journey) without(some ...*talker) (list []*talker) {
	for _, n := range j.all() {
		others := true
		for _, s := range some {
			others = others && n != s
		}
		if others {
			list = append(list, n)
		}
	}
	return list
}

// fetch lets one node that has heard of a newer ring have it.
func (j *journey) fetch() bool {
	j.mu.Lock()
	if len(j.behind) == 0 {
		j.mu.Unlock()
		return false
	}
	b := j.behind[0]
	j.behind = j.behind[1:]
	j.mu.Unlock()
	j.adopt(j.nodes[b[1]].view.Load().ring, j.nodes[b[0]])
	return true
}

// finish delivers, and lets nodes fetch rings, until a request has ended.
func (j *journey) finish(a *outcome) {
	j.t.Helper()
	for end := time.Now().Add(10 * time.Second); !a.finished(); {
		j.deliverAll()
		if !j.fetch() && !a.finished() {
			time.Sleep(time.Millisecond)
		}
		if time.Now().After(end) {
			j.t.Fatal("it does not end")
		}
	}
	for j.deliverAll(); j.fetch(); {
		j.deliverAll()
	}
}

// caughtUp is what the driver of a transfer does before reads go to the new node: it
// has what the old one has.
func (j *journey) caughtUp() {
	from, to := j.from.store, j.to.store
	from.mu.Lock()
	defer from.mu.Unlock()
	to.mu.Lock()
	maps.Copy(to.records, from.records)
	to.mu.Unlock()
	j.to.CaughtUp(j.part)
}

// Whatever a client asks for while the ring changes is done, once, and its answer is
// what it would have been. No node need know the ring before it is asked.
func TestRequestsWhileTheRingChanges(t *testing.T) {
	kinds := []string{"set", "append", "setnx", "get"}
	steps := []string{"copying", "switched", "done"}
	for place := range 2 {
		for s, step := range steps {
			for _, kind := range kinds {
				for entry := range 5 {
					for know := 1; know < 7; know++ {
						for _, moment := range [][]int{{0, 2}, {1}}[place] {
							name := fmt.Sprintf("place %d, %s, %s at %d, known to %d, after %d messages", place, step, kind, entry, know, moment)
							oneRequest(t, name, place, s, kind, entry, know, moment)
						}
					}
				}
			}
		}
	}
}

func oneRequest(t *testing.T, name string, place, step int, kind string, entry, know, moment int) {
	j := newJourney(t, place)
	defer func() {
		for _, n := range j.all() {
			n.stop()
			n.o.Replica.Close()
		}
	}()
	before, after := j.rings[step], j.rings[step+1]
	j.adopt(before, j.all()...)
	primary := j.nodes[before.Replicas(j.part)[0]]
	value := "v"
	w := primary.runAt(Levels{W: All}, "set", j.key, "v")
	j.finish(w)
	j.caughtUp()
	at := []*talker{j.from, j.to, j.stays[0], j.stays[1], j.outside}[entry]
	first := [][]*talker{nil, {at}, {j.from}, {j.to}, j.without(at), j.without(j.from, j.to), j.all()}[know]
	a := at.run(kind, j.key, "x")
	for range moment {
		if e, ok := j.take(nil, nil, 0); ok {
			j.hand(e)
		}
	}
	j.adopt(after, first...)
	j.finish(a)
	if a.Err != nil {
		t.Fatalf("%s: %v", name, a.Err)
	}
	want := map[string]string{"set": "OK", "append": "", "setnx": "0", "get": value}[kind]
	if string(a.Out) != want {
		t.Errorf("%s: answered %q", name, a.Out)
	}
	j.adopt(after, j.all()...)
	j.caughtUp()
	want = map[string]string{"set": "x", "append": "vx", "setnx": "v", "get": "v"}[kind]
	for _, n := range j.without() {
		r := n.run("get", j.key)
		j.finish(r)
		if r.Err != nil || string(r.Out) != want {
			t.Errorf("%s: %v reads %q, %v", name, n.id, r.Out, r.Err)
		}
	}
	for _, n := range j.all() {
		if n.Waiting() > 0 {
			t.Errorf("%s: %d requests wait at %v", name, n.Waiting(), n.id)
		}
	}
}

// A request that nobody can place before its time is over was not done, and says so.
func TestARefusedRequestSaysThatNothingWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // what is on its way at that moment may be done
		j := newJourney(t, 0)
		j.adopt(j.rings[0], j.all()...)
		j.adopt(j.rings[3], j.without(j.outside)...)
		a := j.outside.runAt(Levels{Timeout: time.Second}, "set", j.key, "v")
		for ; !a.finished(); time.Sleep(time.Millisecond / 8) {
			j.deliverAll() // and nobody fetches a ring
		}
		if a.Err != ErrNotReady {
			t.Fatal(a.Err)
		}
		for _, n := range j.all() {
			if n.holds(j.key) {
				t.Errorf("%v has it", n.id)
			}
		}
	})
}

// What is refused for its ring is told of, so that the ring is fetched.
func TestWhoIsBehindHearsOfIt(t *testing.T) {
	j := newJourney(t, 0)
	j.adopt(j.rings[1], j.without(j.outside)...)
	a := j.outside.run("set", j.key, "v")
	j.deliver(j.outside, j.from, wire.Write)
	j.deliver(j.from, j.outside, wire.WriteReply)
	if len(j.behind) != 1 || j.behind[0] != [2]ring.NodeID{j.outside.id, j.from.id} {
		t.Fatalf("heard: %v", j.behind)
	}
	if j.finish(a); a.Err != nil || !j.to.holds(j.key) {
		t.Fatalf("%v, and the partner has it: %v", a.Err, j.to.holds(j.key))
	}
}
