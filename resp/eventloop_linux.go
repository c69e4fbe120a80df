package resp

import (
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// socket is what an event loop watches.
type socket interface {
	// ready is told what epoll has reported.
	ready(events uint32)
	// descriptor is what epoll is to watch.
	descriptor() int
	// open is told, on the loop, that it does.
	open()
	// end closes the descriptor, and tells whose it was.
	end(err error)
}

// eventLoop is a goroutine that serves many sockets: it waits until some are
// ready, reads once from each, does the work that was posted, and ends the turn
// for all of them together. epoll is asked level-triggered, so what one read
// leaves is there in the next turn, and no client keeps the others waiting.
type eventLoop struct {
	turn
	epoll    int
	bell     int           // an eventfd, edge-triggered, so that nobody has to read it
	patience time.Duration // Options.Stuck; with events it comes and goes with the clients

	// asleep is true while the loop waits for events. Whoever schedules a turn
	// then, and finds it so, rings; a loop that is awake looks at scheduled
	// before it sleeps.
	asleep atomic.Bool
	gate   sync.Mutex // held to ring, and to close the descriptors
	ended  bool       // guarded by gate

	done    chan struct{} // closed when the goroutine ends
	over    bool          // it is to end
	sockets []socket      // by descriptor
	buffer  []byte        // what is read, until it is handed on
	share   int           // how much of it each client may fill in this turn
	heard   int           // bytes read in this turn, and of those written that had waited
	vain    int           // how many turns are not to be made longer
	reports [maxReady]unix.EpollEvent
	timed   []*loopConn // to be closed if nothing happens for too long
	holding []*loopConn // those that hold replies back, and some that did
	checked time.Time   // when timed was last looked through
	yielded time.Time   // when others last had the processor
}

const (
	// loopBuffer is how much is read from a socket at once.
	loopBuffer = 256 << 10
	// turnBuffer is about how much is read in a turn from all clients, leastShare
	// what each gets at least: thousands of small commands are milliseconds of
	// work, and what has begun waits for the turn's end. What nodes send is that,
	// and is not held up.
	turnBuffer = 512 << 10
	leastShare = 16 << 10
	// littleWork is how many bytes were read in a turn that is made longer: some
	// fifty small commands, which take about as long as the turn's end. vainTurns
	// is how many turns pass after one that could not be.
	littleWork = 8 << 10
	vainTurns  = 3
	// maxReady is how many sockets are served in a turn: a turn must end, even
	// when ten thousand clients speak at once.
	maxReady = 512
	// yieldEvery is less than the 10 ms after which Go's scheduler takes a
	// goroutine for one that hogs its processor; it is looked at each few turns.
	yieldEvery = 4 * time.Millisecond
	yieldTurns = 4
	// checkEvery bounds the time between looks at connections that have a time
	// limit.
	checkEvery = 500 * time.Millisecond
)

func newEventLoop() (*eventLoop, error) {
	e := &eventLoop{buffer: make([]byte, loopBuffer), done: make(chan struct{})}
	e.wake = e.ring
	var err error
	if e.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if e.bell, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		unix.Close(e.epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := e.control(unix.EPOLL_CTL_ADD, e.bell, unix.EPOLLIN|unix.EPOLLET); err != nil {
		e.free()
		return nil, err
	}
	return e, nil
}

// free closes the descriptors of a loop that does not run.
func (e *eventLoop) free() {
	unix.Close(e.epoll)
	unix.Close(e.bell)
}

func (e *eventLoop) control(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.epoll, op, fd, &unix.EpollEvent{Fd: int32(fd), Events: events}))
}

// ring makes sure that the loop soon looks at what is scheduled.
func (e *eventLoop) ring() {
	if !e.asleep.Load() {
		return
	}
	e.gate.Lock()
	defer e.gate.Unlock()
	if !e.ended && e.asleep.CompareAndSwap(true, false) {
		// The counter of an eventfd takes more rings than a process can make.
		_, _ = unix.Write(e.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// serve is the loop's goroutine.
func (e *eventLoop) serve() {
	defer close(e.done)
	for turns := 0; !e.over; turns++ {
		if turns%yieldTurns == 0 {
			e.yield()
		}
		some := e.gather(e.wait())
		if len(e.timed) > 0 {
			e.check()
		}
		if len(e.holding) > 0 && e.endHolds() {
			some = true
		}
		if some || e.scheduled.Load() {
			e.run()
		}
	}
	for _, s := range e.sockets {
		if s != nil {
			s.end(nil)
		}
	}
	e.gate.Lock()
	defer e.gate.Unlock()
	e.ended = true
	e.free()
}

// gather serves the sockets that are ready, and in the same turn those that
// became so meanwhile; it reports whether there were any. The end of a turn
// costs several system calls, so one of little work is made longer as long as
// there is more of it. A look that finds nothing is in vain: then the next few
// turns do without.
func (e *eventLoop) gather(n int) bool {
	some := n > 0
	for e.heard = 0; n > 0; {
		e.share = min(max(turnBuffer/n, leastShare), loopBuffer)
		for i := range n {
			if s := e.socketOf(e.reports[i].Fd); s != nil {
				s.ready(e.reports[i].Events)
			}
		}
		switch {
		case e.vain > 0:
			e.vain--
			return some
		case e.heard > littleWork || e.over:
			return some
		}
		if n = pollNow(e.epoll, e.reports[:]); n == 0 {
			e.vain = vainTurns
		}
	}
	return some
}

// yield shows the scheduler that the goroutine is not stuck. To Go's monitor
// thread one that never leaves its processor but for system calls looks like one
// call of ever growing length: it then wakes every 20 µs to take the processor
// away, which cost a tenth of the CPU of three nodes under load.
func (e *eventLoop) yield() {
	if now := time.Now(); now.Sub(e.yielded) > yieldEvery {
		e.yielded = now
		runtime.Gosched()
	}
}

// wait returns how many sockets are ready. It sleeps unless there is work.
func (e *eventLoop) wait() int {
	if e.scheduled.Load() {
		return pollNow(e.epoll, e.reports[:])
	}
	e.asleep.Store(true)
	defer e.asleep.Store(false)
	if e.scheduled.Load() { // by one who found the loop awake
		return pollNow(e.epoll, e.reports[:])
	}
	limit := -1
	if len(e.timed) > 0 {
		limit = int(e.checkTime().Milliseconds())
	}
	if len(e.holding) > 0 {
		limit = int(holdTime.Milliseconds())
	}
	n, err := unix.EpollWait(e.epoll, e.reports[:], limit)
	if err != nil && err != unix.EINTR {
		panic("resp: epoll_wait: " + err.Error()) // a descriptor of the loop was closed by somebody else
	}
	return max(n, 0)
}

func (e *eventLoop) socketOf(fd int32) socket {
	if int(fd) < len(e.sockets) {
		return e.sockets[fd]
	}
	return nil // the bell
}

// forget closes a watched descriptor, which ends the watch.
func (e *eventLoop) forget(fd int) {
	e.sockets[fd] = nil
	unix.Close(fd)
}

// take makes a socket one of the loop's and waits until it is. Sockets come by
// posted work: so an event that epoll_wait has returned for a descriptor is
// never taken for one of the socket that got the descriptor's number since.
func (e *eventLoop) take(s socket) error {
	var err error
	w := &onLoop{run: func() { err = e.watch(s) }, done: make(chan struct{})}
	e.post(w)
	select {
	case <-w.done:
	case <-e.done:
		err = net.ErrClosed
	}
	if err != nil {
		unix.Close(s.descriptor())
	}
	return err
}

// watch begins to report what can be read from a socket.
func (e *eventLoop) watch(s socket) error {
	fd := s.descriptor()
	if err := e.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
		return err
	}
	for len(e.sockets) <= fd {
		e.sockets = append(e.sockets, nil)
	}
	e.sockets[fd] = s
	s.open()
	return nil
}

// endHolds touches the connections that have held replies back for long enough,
// and reports whether there are any.
func (e *eventLoop) endHolds() (some bool) {
	now := time.Now()
	before := e.holding
	e.holding = e.holding[:0]
	for _, c := range before {
		if c.closed || c.holding.IsZero() {
			c.holds = false
			continue
		}
		if now.Sub(c.holding) >= holdTime {
			c.Touch()
			some = true
		}
		e.holding = append(e.holding, c)
	}
	clear(before[len(e.holding):])
	return some
}

// checkTime is how often timed is looked through: often enough for the shortest
// limit to be kept within an eighth.
func (e *eventLoop) checkTime() time.Duration {
	return max(min(e.patience/8, checkEvery), time.Millisecond)
}

// check closes connections whose time is over.
func (e *eventLoop) check() {
	now := time.Now()
	if now.Sub(e.checked) < e.checkTime() {
		return
	}
	e.checked = now
	before := e.timed
	e.timed = e.timed[:0]
	for _, c := range before {
		if c.inTime(now) {
			e.timed = append(e.timed, c)
		}
	}
	clear(before[len(e.timed):])
}

// endLoop ends a loop and its connections.
type endLoop eventLoop

func (w *endLoop) Run() { w.over = true }
