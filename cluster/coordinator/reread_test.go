package coordinator

import (
	"sync/atomic"
	"testing"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/wire"
)

// A read hears of a copy, and waits for another. Meanwhile two replicas acknowledge a write;
// then the third, which knows nothing of that and whose clock is slow, writes too. What it
// tells the reader was never in force: who reads later sees the first of the two. So does
// this read, because who is brought what it lacks says what else it holds. Found by seed
// 2744 of the simulator.
func TestAReadSeesWhatCopiesHaveGotMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name   string
		reader int
		level  Level
	}{{"its own copy", 0, Quorum}, {"copies of others", 2, All}} {
		t.Run(c.name, func(t *testing.T) {
			var slow atomic.Uint64 // whose clock it is
			k := newTalk(t, 3, func(o *Options) {
				self := o.Self
				o.Clock = hlc.New(hlc.Options{Now: func() time.Time {
					if slow.Load() == uint64(self) {
						return time.Now().Add(-400 * time.Millisecond)
					}
					return time.Now()
				}})
			})
			list := k.roles("k")
			first, other := list[0], list[1]
			slow.Store(uint64(other.id))
			read := list[c.reader].runAt(Levels{R: c.level}, "get", "k")
			late, _ := k.take(list[c.reader], other, wire.Read)
			k.deliverAll() // the others have answered, that they hold nothing
			write := first.run("set", "k", "in force")
			k.drop(first, other, wire.Replicate)
			k.deliverAll()
			k.alone(other, func() { k.strand(other, "k", "never in force") })
			k.hand(late)
			k.deliverAll()
			if !write.finished() || write.Err != nil || !read.finished() || read.Err != nil {
				t.Fatalf("the write: finished %v, %v; the read: finished %v, %v", write.finished(), write.Err, read.finished(), read.Err)
			}
			if late := k.get(list[c.reader], "k"); string(read.Out) != late {
				t.Errorf("it read %q, and a later read %q", read.Out, late)
			}
		})
	}
}

// wakeReads lets the alarms of reads come.
func (n *talker) wakeReads(why alarm) {
	ids, ws := n.pending.all()
	for i, w := range ws {
		if _, ok := w.(*readOp); ok {
			w.wake(ids[i], why)
		}
	}
}

// A replica that was asked beside the others answers while copies are brought level. When one
// of those takes nothing, it is asked again: its answer was not for later.
func TestWhoAnsweredBesideARepairIsAskedAgain(t *testing.T) {
	k := newTalk(t, 3)
	list := k.roles("k")
	k.strand(list[0], "k", "v")
	r := list[0].runAt(Levels{Timeout: time.Minute}, "get", "k")
	list[0].wakeReads(alarmHedge)
	k.deliver(list[0], list[1], wire.Read)
	k.deliver(list[1], list[0], wire.ReadReply)
	k.deliver(list[0], list[2], wire.Read)
	k.deliver(list[2], list[0], wire.ReadReply)
	list[1].store.fail(ErrFull)
	k.deliverAll()
	if !r.finished() || r.Err != nil || string(r.Out) != "v" {
		t.Fatalf("finished %v, %q, %v", r.finished(), r.Out, r.Err)
	}
	if !list[2].holds("k") {
		t.Error("one replica holds what was read")
	}
}

// A replica says that it holds the same as the reader's node did when it asked. That is not
// what this node holds since it was brought level.
func TestTheSameIsWhatItWasWhenItWasAsked(t *testing.T) {
	k := newTalk(t, 5)
	list := k.roles("k")
	first := list[0].run("set", "k", "old")
	k.deliverAll()
	k.alone(list[1], func() { k.strand(list[1], "k", "new") })
	r := list[0].runAt(Levels{Timeout: time.Minute}, "get", "k")
	list[0].wakeReads(alarmHedge)
	late, ok := k.take(list[0], list[3], wire.Read)
	if !ok || first.Err != nil {
		t.Fatal("nobody was asked beside the others")
	}
	k.hand(late)
	late, _ = k.take(list[3], list[0], wire.ReadReply)
	for _, other := range list[1:3] {
		k.deliver(list[0], other, wire.Read)
		k.deliver(other, list[0], wire.ReadReply)
	}
	list[2].store.fail(ErrFull)
	k.deliver(list[0], list[2], wire.Replicate)
	k.deliver(list[2], list[0], wire.ReplicateAck)
	k.hand(late)
	k.deliverAll()
	if !r.finished() || r.Err != nil || string(r.Out) != "new" {
		t.Fatalf("finished %v, %q, %v", r.finished(), r.Out, r.Err)
	}
	// Another quorum.
	list[2].store.fail(nil)
	k.gone(list[:2]...)
	again := list[3].run("get", "k")
	if k.deliverAll(); !again.finished() || string(again.Out) != "new" {
		t.Errorf("a later read: finished %v, %q, %v", again.finished(), again.Out, again.Err)
	}
}
