package coordinator

import (
	"sync"
	"sync/atomic"
	"time"
)

// alarm says what a waiter wanted to be woken for.
type alarm uint8

const (
	alarmTimeout alarm = iota // its time is over
	alarmHedge                // an answer is late
	alarmSilent               // an answer is so late that its node may be gone
	alarmRing                 // there is a new ring, or another node may have got it
)

const (
	// tick is the wheel's resolution: requests are late by at most two of it.
	tick = 4 * time.Millisecond
	// spokes times tick is the longest time that needs no second round.
	spokes = 512
)

// alarms is a timing wheel (Varghese and Lauck, 1987) of request ids. An alarm
// is never taken back: whoever is woken looks whether it still matters. One that is
// more than a round away is dropped when the wheel has come round and its request
// is gone; so what is on the wheel is what was set within a round, about two
// seconds, and what waits.
type alarms struct {
	fire func(id uint64, why alarm)
	live func(id uint64) bool // whether the request still waits
	turn func()               // called after all that were due together have fired
	idle chan struct{}        // one token when alarms were set while none was; sent by set, never closed
	quit chan struct{}        // closed by Close
	wg   sync.WaitGroup
	// behind is how late the last alarms were, in nanoseconds: more than a few ticks
	// means that this node was not run.
	behind atomic.Int64

	mu      sync.Mutex
	wheel   [spokes][]entry // guarded by mu
	spoke   int             // guarded by mu: the next to fire
	at      time.Time       // guarded by mu: when the next spoke fires
	waiting int             // guarded by mu: entries in the wheel
}

type entry struct {
	id     uint64
	why    alarm
	rounds uint32
}

// newAlarms starts the wheel's goroutine, which close ends.
func newAlarms(fire func(id uint64, why alarm), live func(id uint64) bool, endTurn func()) *alarms {
	a := &alarms{fire: fire, live: live, turn: endTurn, idle: make(chan struct{}, 1), quit: make(chan struct{})}
	a.wg.Go(a.run)
	return a
}

// close ends the wheel; alarms that were set do not fire.
func (a *alarms) close() {
	close(a.quit)
	a.wg.Wait()
}

// set fires an alarm d from now, the soonest when that time is over.
func (a *alarms) set(id uint64, why alarm, d time.Duration) {
	a.mu.Lock()
	if a.waiting == 0 {
		a.at = time.Now().Add(tick)
		select {
		case a.idle <- struct{}{}:
		default:
		}
	}
	// The spoke that a points at fires within a tick, so one more is added.
	ticks := int(max(d, 0)/tick) + 1
	i := (a.spoke + ticks) % spokes
	a.wheel[i] = append(a.wheel[i], entry{id, why, uint32(ticks / spokes)})
	a.waiting++
	a.mu.Unlock()
}

// run turns the wheel while there is anything on it.
func (a *alarms) run() {
	var due []entry
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-a.quit:
			return
		case <-a.idle:
		}
		for {
			wait, more := a.next()
			if !more {
				break
			}
			timer.Reset(wait)
			select {
			case <-a.quit:
				return
			case <-timer.C:
			}
			due = a.due(due[:0])
			for _, e := range due {
				a.fire(e.id, e.why)
			}
			if len(due) > 0 {
				a.turn()
			}
		}
	}
}

// next returns how long until the next spoke, and whether anything waits.
func (a *alarms) next() (wait time.Duration, more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Until(a.at), a.waiting > 0
}

// due takes what is due from the spokes whose time has come.
func (a *alarms) due(due []entry) []entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.behind.Store(int64(now.Sub(a.at)))
	for ; !a.at.After(now) && a.waiting > 0; a.at = a.at.Add(tick) {
		list := a.wheel[a.spoke]
		later := list[:0]
		for _, e := range list {
			if e.rounds == 0 {
				due = append(due, e)
				continue
			}
			if !a.live(e.id) {
				continue
			}
			e.rounds--
			later = append(later, e)
		}
		a.waiting -= len(list) - len(later)
		a.wheel[a.spoke] = later
		a.spoke = (a.spoke + 1) % spokes
	}
	return due
}
