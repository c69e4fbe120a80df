package coordinator

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/cluster/wire"
)

// freeze makes a node's disk hang until the returned function is called.
func (n *talker) freeze() (release func()) {
	gate := make(chan struct{})
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	n.store.cold, n.store.gate = true, gate
	return func() {
		n.store.mu.Lock()
		n.store.cold = false
		n.store.mu.Unlock()
		close(gate)
	}
}

func (a *outcome) await(t *testing.T) {
	t.Helper()
	select {
	case <-a.done:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
}

// deliverUntil brings what comes under way until a request has ended.
func (k *talk) deliverUntil(a *outcome) {
	k.t.Helper()
	for end := time.Now().Add(10 * time.Second); !a.finished(); time.Sleep(time.Millisecond) {
		k.deliverAll()
		if time.Now().After(end) {
			k.t.Fatal("it does not end")
		}
	}
}

func TestAReadGoesOnWithoutASlowDisk(t *testing.T) {
	for level := Level(1); level <= 2; level++ {
		k := newTalk(t, 3)
		slow := k.roles("k")[0]
		slow.run("set", "k", "v")
		k.deliverAll()
		release := slow.freeze()
		began := time.Now()
		r := slow.runAt(Levels{R: level, Timeout: time.Minute}, "get", "k")
		k.deliverUntil(r)
		if r.Err != nil || string(r.Out) != "v" || time.Since(began) > 5*time.Second {
			t.Errorf("R=%d: %q, %v after %v", level, r.Out, r.Err, time.Since(began))
		}
		release()
	}
}

func TestASlowDiskTimesOut(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	primary, entry := list[0], list[2]
	primary.run("set", "k", "before")
	k.deliverAll()
	short := Levels{W: Two, R: All, Timeout: 20 * time.Millisecond}
	release := primary.freeze()
	read := primary.runAt(short, "get", "k")
	read.await(t)
	if !errors.Is(read.Err, ErrTimeout) {
		t.Errorf("the read: %v", read.Err)
	}
	own := primary.runAt(short, "set", "k", "own")
	entry.runAt(short, "set", "k", "forwarded")
	k.deliver(entry, primary, wire.Write)
	entry.runAt(short, "get", "k")
	k.deliver(entry, primary, wire.Read)
	time.Sleep(2 * short.Timeout) // all of them are late when the disk is there again
	release()
	own.await(t)
	if !errors.Is(own.Err, ErrTimeout) {
		t.Errorf("the write: %v", own.Err)
	}
	for _, kind := range []wire.Kind{wire.WriteReply, wire.ReadReply} {
		var m wire.Message
		for e, ok := (envelope{}), false; !ok; time.Sleep(time.Millisecond) {
			if e, ok = k.take(primary, entry, kind); ok {
				if _, err := m.Decode(e.bytes); err != nil {
					t.Fatal(err)
				}
			}
		}
		if m.Status != wire.Expired {
			t.Errorf("%v: %v", kind, m.Status)
		}
	}
	k.deliverAll()
	if got := k.get(primary, "k"); got != "before" {
		t.Errorf("the key holds %q", got)
	}
}

// A copy that cannot be read is answered by others, and replaced by what they hold.
func TestADamagedCopyIsReplaced(t *testing.T) {
	for _, level := range []Level{One, Quorum} {
		k := newTalk(t, 3)
		n := k.roles("k")[0]
		n.run("set", "k", "v")
		k.deliverAll()
		n.damage()
		repairs := n.Metrics.Repairs.Load()
		r := n.runAt(Levels{R: level}, "get", "k")
		k.deliverUntil(r)
		if r.Err != nil || string(r.Out) != "v" {
			t.Fatalf("R=%v: %q, %v", level, r.Out, r.Err)
		}
		k.deliverAll() // one other replica is not enough to replace a record by
		if n.Metrics.CorruptReads.Load() != 1 || n.Metrics.Repairs.Load() != repairs+1 {
			t.Errorf("counted %d and %d", n.Metrics.CorruptReads.Load(), n.Metrics.Repairs.Load()-repairs)
		}
		var o version.Object
		for name, record := range n.store.records {
			if err := o.Decode(record); err != nil {
				t.Errorf("%q is damaged still: %v", name, err)
			}
		}
		if total, err := n.o.Replica.Count(t.Context(), 0, 0, ring.Slots-1); err != nil || total != 1 {
			t.Errorf("%d keys, %v", total, err)
		}
	}
}

// Who is told how long an answer took may submit and look around.
func TestAnswersAreToldOfWithoutALock(t *testing.T) {
	var k *talk
	told := false
	k = newTalk(t, 3, func(o *Options) {
		o.Answered = func(ring.NodeID, time.Duration) {
			told = true
			for _, n := range k.nodes {
				ids, ws := n.pending.all()
				for i, w := range ws {
					if r, ok := w.(*readOp); ok && !r.mu.TryLock() {
						panic(fmt.Sprintf("read %x is locked", ids[i]))
					} else if ok {
						r.mu.Unlock()
					}
				}
			}
		}
	})
	k.roles("k")[0].runAt(Levels{R: All}, "get", "k")
	k.deliverAll()
	if !told {
		t.Fatal("nobody was told")
	}
}
