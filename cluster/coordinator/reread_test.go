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
