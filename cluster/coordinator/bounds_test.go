package coordinator

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What waits is bounded in bytes; a request that has begun goes on over the bound.
func TestPendingIsBoundedInBytes(t *testing.T) {
	var p pending
	w := &readOp{}
	large, ok := p.add(w, 2*maxPendingBytes)
	if !ok {
		t.Fatal("one large request is refused though nothing waits")
	}
	if _, ok := p.add(w, 0); ok || !p.full.Load() {
		t.Error("another one is let in")
	}
	begun, ok := p.must(w, 10)
	if !ok {
		t.Error("one that has begun is refused")
	}
	p.remove(large)
	small, ok := p.add(w, 5)
	if !ok || p.full.Load() || p.bytes != 15 {
		t.Errorf("then: ok %v, full %v, %d bytes", ok, p.full.Load(), p.bytes)
	}
	p.grow(small, maxPendingBytes)
	p.grow(large, 1) // long gone
	if !p.full.Load() || p.bytes != maxPendingBytes+15 {
		t.Errorf("grown: full %v, %d bytes", p.full.Load(), p.bytes)
	}
	p.remove(small)
	p.remove(small)
	p.remove(begun)
	if p.full.Load() || p.bytes != 0 {
		t.Errorf("at the end: full %v, %d bytes", p.full.Load(), p.bytes)
	}
}

// A full table refuses writes before anything is written, and lets them in again.
func TestAFullTableRefusesAtOnce(t *testing.T) {
	k := newTalk(t, 3)
	n := k.roles("k")[0]
	id, ok := n.Coordinator.pending.add(&readOp{}, maxPendingBytes)
	if !ok {
		t.Fatal("refused")
	}
	if r := n.run("set", "k", "v"); !r.finished() || !errors.Is(r.Err, ErrOverloaded) {
		t.Errorf("finished %v, %v", r.finished(), r.Err)
	}
	n.Coordinator.pending.remove(id)
	r := n.run("set", "k", "w")
	k.deliverAll()
	if !r.finished() || r.Err != nil {
		t.Errorf("afterwards: finished %v, %v", r.finished(), r.Err)
	}
}

// Alarms far ahead of requests that are long over do not pile up.
func TestAlarmsOfEndedRequestsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fired := 0
		a := newAlarms(func(uint64, alarm) { fired++ }, func(id uint64) bool { return id == 1 }, func() {})
		defer a.close()
		for id := range uint64(1000) {
			a.set(id, alarmTimeout, time.Hour)
		}
		time.Sleep(2 * spokes * tick)
		synctest.Wait()
		a.mu.Lock()
		waiting := a.waiting
		a.mu.Unlock()
		if waiting != 1 {
			t.Errorf("%d alarms wait for one request", waiting)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if fired != 1 {
			t.Errorf("%d alarms rang", fired)
		}
	})
}

// When many requests are under way and late, new ones of clients are refused at
// once; those that other nodes let in are not, and it ends when the load does.
func TestLateRequestsCloseTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pending
		var ids []uint64
		begin := func(n int) {
			for range n {
				id, ok := p.add(&readOp{}, 10)
				if !ok {
					t.Fatal("refused")
				}
				ids = append(ids, id)
			}
		}
		end := func(n int) {
			for range n {
				p.remove(ids[0])
				ids = ids[1:]
			}
		}
		begin(4 * lateAbove)
		if p.late.Load() {
			t.Error("many requests that are not late")
		}
		time.Sleep(4 * lateAfter)
		end(lateAbove)
		if !p.late.Load() || p.full.Load() {
			t.Errorf("late requests: late %v, full %v", p.late.Load(), p.full.Load())
		}
		end(2 * lateAbove)
		if p.late.Load() {
			t.Error("few enough requests, and the door is closed")
		}
		for range 100 { // the load has ended
			begin(lateAbove)
			end(lateAbove)
		}
		begin(lateAbove)
		if p.late.Load() {
			t.Error("late for ever")
		}
	})
}
