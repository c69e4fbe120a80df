package coordinator

import (
	"sync"
	"testing"

	"kvstore/cluster/wire"
)

// Alarms, new rings, losses and answers come for a request that is just ending, and whose
// memory serves the next one: they leave it alone. The race detector is who sees it.
func TestWhatComesLateTouchesNothing(t *testing.T) {
	late := map[string]func(w waiter, id uint64, from *talker){
		"ring":    func(w waiter, id uint64, _ *talker) { w.wake(id, alarmRing) },
		"silence": func(w waiter, id uint64, _ *talker) { w.wake(id, alarmSilent) },
		"hedge":   func(w waiter, id uint64, _ *talker) { w.wake(id, alarmHedge) },
		"time":    func(w waiter, id uint64, _ *talker) { w.wake(id, alarmTimeout) },
		"loss":    func(w waiter, id uint64, from *talker) { w.lost(id, from.id) },
		"ack": func(w waiter, id uint64, from *talker) {
			w.receive(id, from.id, &wire.Message{Kind: wire.ReplicateAck, ID: id})
		},
		"refusal": func(w waiter, id uint64, from *talker) {
			w.receive(id, from.id, &wire.Message{Kind: wire.WriteReply, ID: id, Status: wire.WrongEpoch})
		},
	}
	for what, come := range late {
		for _, op := range []string{"set", "setnx", "get"} {
			t.Run(what+" of "+op, func(t *testing.T) {
				k := newTalk(t, 3)
				list := k.roles("k")
				for i := range 300 {
					entry, other := list[0], list[1]
					if i%2 == 1 {
						entry, other = list[2], list[0]
					}
					r := entry.run(op, "k", "v")
					ids, ws := entry.pending.all()
					var events sync.WaitGroup
					for j, w := range ws {
						events.Go(func() { come(w, ids[j], other) })
					}
					k.deliverAll()
					events.Wait()
					k.deliverAll()
					<-r.done
				}
			})
		}
	}
}
