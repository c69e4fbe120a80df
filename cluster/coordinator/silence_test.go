package coordinator

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// What alarms send leaves at once, and not with whatever is sent next.
func TestAHedgedReadLeaves(t *testing.T) {
	turns := make(chan struct{}, 64)
	k := newTalk(t, 3, func(o *Options) {
		o.EndTurn = func() {
			select {
			case turns <- struct{}{}:
			default:
			}
		}
	})
	list := k.roles("k")
	r := list[0].run("get", "k")
	for end := time.After(5 * time.Second); ; {
		select {
		case <-turns:
		case <-end:
			t.Fatal("no turn ended with a second read under way")
		}
		if _, ok := k.take(list[0], list[2], wire.Read); ok {
			break
		}
	}
	k.deliverAll()
	if !r.finished() || r.Err != nil {
		t.Fatal(r.Err)
	}
}

// A node that leaves a request unanswered is told of long before that times out,
// and as often as it takes to be suspect: there may be no other request.
func TestSilenceIsTold(t *testing.T) {
	told := make(chan ring.NodeID, 16)
	k := newTalk(t, 3, func(o *Options) { o.TimedOut = func(id ring.NodeID) time.Duration { told <- id; return 0 } })
	list := k.roles("k")
	primary, entry := list[0], list[2]
	began := time.Now()
	entry.runAt(Levels{Timeout: time.Minute}, "set", "k", "v")
	for times := range time.Duration(3) {
		if id := <-told; id != primary.id || time.Since(began) < silence+times*silenceAgain {
			t.Fatalf("%v was told of after %v", id, time.Since(began))
		}
	}
	r := entry.runAt(Levels{Timeout: time.Minute}, "get", "k")
	k.drop(entry, primary, wire.Read)
	if id := <-told; id != primary.id {
		t.Fatalf("%v was told of", id)
	}
	k.deliverAll()
	if !r.finished() || r.Err != nil {
		t.Fatal("no other replica was asked")
	}
}

// A write that waits for a node without any sign of life ends long before its time:
// its client is served elsewhere when it asks again. Where there is life, it waits.
func TestAMuteSoftPrimaryIsNotWaitedFor(t *testing.T) {
	var quiet atomic.Int64
	asked := make(chan struct{}, 16)
	k := newTalk(t, 3, func(o *Options) {
		o.TimedOut = func(ring.NodeID) time.Duration { asked <- struct{}{}; return time.Duration(quiet.Load()) }
	})
	entry := k.roles("k")[2]
	r := entry.runAt(Levels{Timeout: time.Minute}, "set", "k", "v")
	<-asked
	if <-asked; r.finished() {
		t.Fatal("given up though the node lives")
	}
	quiet.Store(int64(mute))
	<-r.done
	if !errors.Is(r.Err, ErrTimeout) || entry.Metrics.Mute.Load() != 1 {
		t.Fatalf("ended with %v", r.Err)
	}
}

// A node that was not run itself for a while takes nobody for silent before it has
// looked at what they sent.
func TestWhoWasNotRunJudgesNobody(t *testing.T) {
	told := make(chan struct{}, 16)
	k := newTalk(t, 3, func(o *Options) {
		o.TimedOut = func(ring.NodeID) time.Duration { told <- struct{}{}; return time.Hour }
	})
	entry := k.roles("k")[2]
	r := entry.runAt(Levels{Timeout: time.Minute}, "set", "k", "v")
	ids, _ := entry.pending.all()
	entry.alarms.behind.Store(int64(time.Second))
	entry.wake(ids[0], alarmSilent)
	if len(told) != 0 || r.finished() {
		t.Fatal("it judged by its own absence")
	}
	<-r.done // by the alarm that comes in time
	if len(told) != 1 || !errors.Is(r.Err, ErrTimeout) {
		t.Fatalf("told %d times, ended with %v", len(told), r.Err)
	}
}

// A write that lay in the socket of a stopped node until its client had given
// up does not run: it would come after whatever was written meanwhile.
func TestAnExpiredWriteDoesNotRun(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	k := newTalk(t, 3, func(o *Options) { o.Clock = hlc.New(hlc.Options{Now: func() time.Time { return now }}) })
	list := k.roles("k")
	primary, entry := list[0], list[2]
	now = now.Add(time.Hour) // nothing has happened for long: that does not count
	entry.run("set", "k", "early")
	k.deliver(entry, primary, wire.Write)
	k.deliverAll()
	if got := k.get(primary, "k"); got != "early" {
		t.Fatalf("%q", got)
	}
	entry.run("set", "k", "late")
	now = now.Add(5 * time.Second)
	k.deliver(entry, primary, wire.Write)
	k.deliverAll()
	if got := k.get(primary, "k"); got != "early" {
		t.Fatalf("the key holds %q", got)
	}
}
